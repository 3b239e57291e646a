"""Bodies, streams, files, WebSockets, authentication, the description, and listening."""

import asyncio
import json

import httpx
import msgspec
import pytest
from openapi_spec_validator import validate as validate_openapi

from ramkit.auth.jwt import JWTService
from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.router import RamAPI, authenticate, logger, optional_authenticate, rate_limit, validate
from ramkit.testing.client import ASGIClient, drive, http_scope
from ramkit.testing.lint import ASGILint


class Item(msgspec.Struct):
    name: str
    count: int


class Order(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Item]


class Page(msgspec.Struct):
    limit: int = 10
    tag: list[str] = []


async def user(ctx):
    ctx.json(getattr(ctx.user, "identity", None))


async def test_every_fault_is_told_with_its_path():
    app = RamAPI()

    @app.post("/", validate(body=Order, query=Page))
    async def create(ctx):
        ctx.json([ctx.valid.query, len(ctx.valid.body.items)])

    async with ASGIClient(ASGILint(app)) as http:
        good = await http.post("/?limit=3&tag=a&tag=b", json={"items": []})
        assert good.json() == [{"limit": 3, "tag": ["a", "b"]}, 0]
        bad = await http.post(
            "/?limit=x", json={"items": [{"name": 1}, {"name": "a", "count": 1}], "more": 1}
        )
        found = [(each["in"], each["pointer"]) for each in bad.json()["errors"]]
        assert bad.status_code == 422
        assert found == [
            ("query", "#/limit"), ("body", "#/items/0/name"), ("body", "#/items/0/count"), ("body", "#/more")
        ]  # fmt: skip
        assert (
            await http.post("/", content=b"{", headers={"content-type": "application/json"})
        ).status_code == 400
        assert (await http.post("/", content=b"{}")).status_code == 415
        document = (await http.get("/openapi.json")).json()
    validate_openapi(document)
    assert document["openapi"].startswith("3.1")


async def test_bodies_are_bounded_and_forms_are_read():
    app = RamAPI(max_body=100)

    @app.post("/")
    async def take(ctx):
        form = await ctx.form()
        ctx.json(dict(form))

    async with ASGIClient(ASGILint(app)) as http:
        assert (await http.post("/", data={"a": "1"})).json() == {"a": "1"}
        assert (await http.post("/", data={"a": "1" * 200})).status_code == 413


@pytest.mark.parametrize("pair", [("x", "a\r\nb: c"), ("x\n", "a"), ("content-length", "1"), ("x", "\0")])
async def test_headers_that_would_split_are_refused(pair):
    app = RamAPI()

    @app.get("/")
    async def inject(ctx):
        with pytest.raises(ValueError, match="no header field"):
            ctx.header(*pair)
        with pytest.raises(ValueError, match="no URL"):
            ctx.redirect("/a\r\nb: c")
        ctx.text("ok")

    sent = await drive(ASGILint(app), http_scope())
    assert sent[1]["body"] == b"ok"


async def test_a_stream_is_closed_when_the_client_leaves_and_silence_has_a_heartbeat():
    app, closed, beaten = RamAPI(), [], asyncio.Event()

    @app.get("/")
    async def live(ctx):
        async def source():
            try:
                yield {"a": 1}
                await beaten.wait()
                yield "b\rdata: c"
                await asyncio.Event().wait()
            finally:
                closed.append(True)

        ctx.sse(source(), heartbeat=0.001)

    async with ASGIClient(app) as http, http.stream("GET", "/") as got:
        seen = b""
        async for piece in got.aiter_bytes():
            seen += piece
            if b":\n\n" in seen:
                beaten.set()
            if b"data: c" in seen:
                break
    assert b'data: {"a":1}\n\n' in seen
    assert b"data: b\ndata: data: c\n\n" in seen
    assert closed == [True]


async def test_a_file_cannot_leave_its_root(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.txt").write_text("hello")
    (tmp_path / "secret").write_text("s")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    app = RamAPI()

    @app.get("/*")
    async def send(ctx):
        ctx.file(ctx.params["path"], root=tmp_path / "root")

    async with ASGIClient(ASGILint(app)) as http:
        got = await http.get("/a.txt")
        assert got.text == "hello"
        assert (await http.get("/a.txt", headers={"range": "bytes=1-2"})).text == "el"
        assert (await http.get("/a.txt", headers={"if-none-match": got.headers["etag"]})).status_code == 304
        for path in ("/..%2Fsecret", "/link", "/%2Fetc%2Fpasswd", "/a%00b", "/nope", "/"):
            assert (await http.get(path)).status_code == 404, path


async def test_authentication_guards_routes_and_websockets():
    service = JWTService(secret="s" * 32, issuer="https://e.example", audience="shop")
    token = service.sign({"sub": "ada"})
    app = RamAPI()
    app.group("/in", authenticate(service)).get("/", user)
    app.group("/maybe", optional_authenticate(service)).get("/", user)

    async def chat(ctx):
        await ctx.websocket.accept()
        await ctx.websocket.send_text(ctx.user.identity + ctx.params["room"])

    app.websocket("/ws/:room", authenticate(service), chat)
    bearer = {"authorization": f"Bearer {token}"}
    async with ASGIClient(ASGILint(app)) as http:
        assert (await http.get("/in")).status_code == 401
        assert (await http.get("/in", headers=bearer)).json() == "ada"
        assert (await http.get("/maybe")).json() == ""
        document = (await http.get("/openapi.json")).json()
    validate_openapi(document)
    scope = {**http_scope("GET", "/ws/1"), "type": "websocket", "scheme": "ws", "subprotocols": []}
    scope.pop("method")
    sent = await drive(app, dict(scope))
    assert sent[0]["type"] == "websocket.close"
    sent = await drive(app, {**scope, "headers": [(b"authorization", bearer["authorization"].encode())]})
    assert [each["type"] for each in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[1]["text"] == "ada1"


async def test_rate_limit_and_the_cache_around_the_app():
    app = RamAPI()
    app.get("/limited", rate_limit("1/h"), user)
    calls = []

    @app.get("/cached")
    async def cached(ctx):
        calls.append(1)
        ctx.text("x")

    wrapped = CacheMiddleware(app, cache=Cache("memory://"), rules=[Rule("/cached", ttl=60)])
    async with ASGIClient(ASGILint(wrapped)) as http:
        assert [(await http.get("/limited")).status_code for _ in "ab"] == [200, 429]
        assert [(await http.get("/cached")).text for _ in "ab"] == ["x", "x"]
    assert calls == [1]


async def test_logger(tmp_path):
    app = RamAPI()
    app.use(logger(f"file://{tmp_path}/log"))
    app.get("/:id", user)
    async with ASGIClient(ASGILint(app)) as http:
        answers = [await http.get(path) for path in ("/x", "/no/such")]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [("/:id", 200), ("unmatched", 404)]
    assert [each.headers["x-request-id"] for each in answers] == [line["request_id"] for line in lines]


async def test_listening():
    app = RamAPI()
    app.get("/:id", user)
    port = await app.listen(0)
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"http://127.0.0.1:{port}/x")).status_code == 200
    await app.close()
