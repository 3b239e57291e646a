"""Other rooms as middlewares: cors, rate_limit, authenticate, any ASGI middleware; and in which order."""

import asyncio
import json

import pytest
from starlette.middleware.gzip import GZipMiddleware

from ramkit.auth.jwt import JWTService
from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.router import (
    CORS,
    HTTPError,
    RamAPI,
    Router,
    asgi_middleware,
    authenticate,
    cors,
    logger,
    optional_authenticate,
    rate_limit,
)
from ramkit.testing.client import ASGIClient, drive, http_scope
from ramkit.testing.clock import ManualClock
from ramkit.testing.lint import ASGILint

ORIGIN = "https://a.example"
PREFLIGHT = {"origin": ORIGIN, "access-control-request-method": "POST"}


async def user(ctx):
    ctx.json(getattr(ctx.user, "identity", None))


def preflight(**more):
    return {**PREFLIGHT, **{f"access-control-request-{name}": value for name, value in more.items()}}


# -- cors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["app", "group"])
async def test_preflights_and_what_caches_must_know(way):
    policy = CORS([ORIGIN], credentials=True, expose=["x-page"], max_age=60)
    app = RamAPI(cors=policy if way == "app" else None)
    group = app.group("/g")
    if way == "group":
        options = {"credentials": True, "expose": ["x-page"], "max_age": 60}
        group = app.group("/g", cors([ORIGIN], **options))
    group.post("/x", user)
    async with ASGIClient(ASGILint(app)) as http:
        got = await http.options("/g/x", headers=preflight(headers="content-type, authorization"))
        assert got.status_code == 200
        assert got.headers["access-control-allow-origin"] == ORIGIN
        assert got.headers["access-control-allow-credentials"] == "true"
        assert got.headers["access-control-max-age"] == "60"
        assert "POST" in got.headers["access-control-allow-methods"]
        vary = {each.strip().lower() for each in got.headers["vary"].split(",")}
        assert vary >= {"origin", "access-control-request-method", "access-control-request-headers"}
        for asked in (
            preflight() | {"origin": "https://evil.example"},
            preflight() | {"origin": "null"},
            preflight() | {"origin": f"{ORIGIN}.evil.example"},
            preflight(headers="x-other"),
            preflight(method="BREW"),
        ):
            assert (await http.options("/g/x", headers=asked)).status_code == 400
        got = await http.post("/g/x", headers={"origin": ORIGIN})
        assert (got.headers["access-control-allow-origin"], got.headers["vary"]) == (ORIGIN, "Origin")
        assert got.headers["access-control-expose-headers"] == "x-page"
        for headers in ({}, {"origin": "https://evil.example"}):
            got = await http.post("/g/x", headers=headers)
            assert "access-control-allow-origin" not in got.headers
            assert got.headers["vary"] == "Origin"  # or a cache would answer a good origin with this
        assert (await http.options("/g/x", headers={"origin": ORIGIN})).status_code == 204  # no preflight


async def test_every_origin_has_no_credentials():
    app = RamAPI(cors=["*"])
    app.get("/", user)
    async with ASGIClient(ASGILint(app)) as http:
        got = await http.get("/", headers={"origin": "https://any.example", "cookie": "a=1"})
    assert got.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in got.headers


async def test_a_cache_in_front_keeps_origins_apart():
    app = RamAPI(cors=[ORIGIN])
    app.get("/", user)
    wrapped = CacheMiddleware(app, cache=Cache("memory://"), rules=[Rule("/", ttl=60)])
    async with ASGIClient(ASGILint(wrapped)) as http:
        found = [
            (await http.get("/", headers=headers)).headers.get("access-control-allow-origin")
            for headers in ({}, {"origin": ORIGIN}, {}, {"origin": ORIGIN}, {"origin": "https://b.example"})
        ]
    assert found == [None, ORIGIN, None, ORIGIN, None]


# -- rate_limit ------------------------------------------------------------------------------------


async def test_a_limit_of_a_route_of_a_group_and_of_all():
    clock, ran = ManualClock(), []

    async def handler(ctx):
        ran.append(ctx.path)
        ctx.text("")

    app = RamAPI()
    app.use(rate_limit("100/h", name="all", clock=clock))
    group = app.group("/g", rate_limit("3/h", name="group", clock=clock))
    group.get("/tight", rate_limit("1/h", name="route", clock=clock), handler)
    group.get("/loose", handler)
    app.get("/free", handler)
    async with ASGIClient(ASGILint(app)) as http:
        asked = ["/g/tight", "/g/tight", "/g/loose", "/g/loose", "/free", "/g/nope"]
        got = [await http.get(path) for path in asked]
        assert [each.status_code for each in got] == [200, 429, 200, 429, 200, 404]
        assert ran == ["/g/tight", "/g/loose", "/free"]
        refused = got[1]
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0
        assert len(refused.headers.get_list("content-length")) == 1
        clock.advance(3600)
        assert (await http.get("/g/tight")).status_code == 200


async def test_clients_and_keys_are_counted_apart():
    app = RamAPI()
    app.get("/client", rate_limit("1/h"), user)
    app.get("/key", rate_limit("1/h", key=lambda scope: dict(scope["headers"])[b"x-key"].decode()), user)
    async with (
        ASGIClient(ASGILint(app), client=("192.0.2.1", 1)) as one,
        ASGIClient(app, client=("192.0.2.2", 1)) as other,
    ):
        assert [(await each.get("/client")).status_code for each in (one, other, one)] == [200, 200, 429]
        keys = [(await one.get("/key", headers={"x-key": key})).status_code for key in ("a", "b", "a")]
        assert keys == [200, 200, 429]


# -- authenticate ----------------------------------------------------------------------------------


@pytest.fixture
def service():
    return JWTService(secret="s" * 32, issuer="https://e.example", audience="shop")


async def test_who_gets_in(service):
    ran = []

    async def handler(ctx):
        ran.append(ctx.method)
        await user(ctx)

    app = RamAPI()
    group = app.group("/in", authenticate(service))
    group.get("/", handler)
    group.get("/admin", authenticate(service, scopes=["admin"]), handler)
    app.get("/maybe", optional_authenticate(service), handler)
    plain, admin = (service.sign({"sub": "ada", "scope": scope}) for scope in ("read", "read admin"))

    def bearer(token):
        return {"authorization": f"Bearer {token}"}

    async with ASGIClient(ASGILint(app)) as http:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT"):
            got = await http.request(method, "/in")
            assert (got.status_code, "www-authenticate" in got.headers) == (401, True), method
        for token, status in (
            ("", 400),
            ("x", 401),
            (plain[:-4] + "AAAA", 401),
            (plain.split(".")[0] + "..", 401),
        ):
            assert (await http.get("/in", headers=bearer(token))).status_code == status  # RFC 6750 §3.1
            assert (await http.get("/maybe", headers=bearer(token))).status_code == status
        assert ran == []
        assert (await http.get("/in", headers=bearer(plain))).json() == "ada"
        assert (await http.get("/in/admin", headers=bearer(plain))).status_code == 403
        assert (await http.get("/in/admin", headers=bearer(admin))).json() == "ada"
        assert (await http.get("/maybe")).json() == ""
        assert (await http.post("/in", headers=bearer(plain))).status_code == 405
        assert (await http.options("/in", headers=bearer(plain))).status_code == 204


async def test_no_request_sees_anothers_user(service):
    app, everyone = RamAPI(), asyncio.Barrier(10)

    @app.get("/", authenticate(service))
    async def show(ctx):
        before = ctx.user.identity
        await everyone.wait()
        ctx.json([before, ctx.user.identity])

    async with ASGIClient(ASGILint(app)) as http:
        tokens = [service.sign({"sub": str(number)}) for number in range(10)]
        got = await asyncio.gather(
            *(http.get("/", headers={"authorization": f"Bearer {token}"}) for token in tokens)
        )
    assert [each.json() for each in got] == [[str(number)] * 2 for number in range(10)]


async def test_a_websocket_is_guarded_by_the_same(service):
    app = RamAPI()

    @app.websocket("/{room}", authenticate(service), rate_limit("1/h"))
    async def chat(ctx):
        await ctx.websocket.accept()
        await ctx.websocket.send_text(f"{ctx.user.identity} {ctx.params['room']}")

    scope = {**http_scope("GET", "/1"), "type": "websocket", "scheme": "ws", "subprotocols": []}
    del scope["method"]
    bearer = [(b"authorization", f"Bearer {service.sign({'sub': 'ada'})}".encode())]
    found = [await drive(ASGILint(app), {**scope, "headers": headers}) for headers in ([], bearer, bearer)]
    assert [[each["type"].removeprefix("websocket.") for each in sent] for sent in found] == [
        ["close"], ["accept", "send", "close"], ["close"]
    ]  # fmt: skip
    assert found[1][1]["text"] == "ada 1"


# -- in which order --------------------------------------------------------------------------------


async def test_asgi_middlewares_stand_among_the_others():
    order = []

    def noting(name):
        def make(inner):
            async def run(scope, receive, send):
                if scope["type"] == "http":
                    order.append(f"+{name}")
                await inner(scope, receive, send)
                if scope["type"] == "http":
                    order.append(f"-{name}")

            return run

        return make

    def plain(name):
        async def run(ctx, next):
            order.append(f"+{name}")
            await next()
            order.append(f"-{name}")

        return run

    app = RamAPI()
    app.use(plain("1"), asgi_middleware(noting("2")), plain("3"))
    router = Router()
    router.use(asgi_middleware(noting("5")))
    app.group("/g", plain("4")).use("/r", router)
    router.get("/x", asgi_middleware(noting("6")), plain("7"), user)
    app.add_middleware(noting("0"))
    app.add_middleware(noting("outermost"))
    async with ASGIClient(ASGILint(app)) as http:
        assert (await http.get("/g/r/x")).status_code == 200
    names = ["outermost", *"01234567"]
    assert order == [*(f"+{each}" for each in names), *(f"-{each}" for each in reversed(names))]


async def test_what_a_middleware_adds_stays_through_asgi_middlewares():
    app = RamAPI()

    async def outer(ctx, next):
        await next()
        ctx.header("x-outer", "1")

    async def inner(ctx, next):
        ctx.header("x-inner", "1").header("set-cookie", "a=1").header("set-cookie", "b=2")
        await next()

    app.use(outer, asgi_middleware(GZipMiddleware, minimum_size=1), inner)

    @app.get("/{what}")
    async def reply(ctx):
        if ctx.params["what"] == "error":
            raise HTTPError(409, "taken")
        ctx.text("x" * 100)

    async with ASGIClient(ASGILint(app)) as http:
        got = await http.get("/text")
        assert (got.headers["content-encoding"], got.text) == ("gzip", "x" * 100)
        assert (got.headers["x-outer"], got.headers["x-inner"]) == ("1", "1")
        assert got.headers.get_list("set-cookie") == ["a=1", "b=2"]
        got = await http.get("/error")
        assert (got.status_code, got.json()["detail"], got.headers["x-outer"]) == (409, "taken", "1")
        head = await http.head("/text")
        assert (head.content, head.headers["x-outer"]) == (b"", "1")


async def test_a_middleware_around_errors_sees_them_or_what_they_became():
    seen = []

    async def watch(ctx, next):
        try:
            await next()
        except HTTPError as error:
            seen.append(error.status_code)
            raise
        seen.append("replied")

    async def fails(ctx):
        raise HTTPError(409)

    app = RamAPI()
    app.get("/plain", watch, fails)
    app.get("/wrapped", watch, asgi_middleware(lambda inner: inner), fails)
    async with ASGIClient(ASGILint(app)) as http:
        assert [(await http.get(path)).status_code for path in ("/plain", "/wrapped")] == [409, 409]
    assert seen == [409, "replied"]  # an ASGI middleware wants a response, so there the error became one


# -- logger ----------------------------------------------------------------------------------------


async def test_logger(tmp_path):
    app = RamAPI()
    app.use(logger(f"file://{tmp_path}/log"))
    app.get("/:id", user)
    async with ASGIClient(ASGILint(app)) as http:
        answers = [await http.get(path) for path in ("/x", "/no/such")]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [("/:id", 200), ("unmatched", 404)]
    assert [each.headers["x-request-id"] for each in answers] == [line["request_id"] for line in lines]
