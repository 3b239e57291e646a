"""WebSocket routes, and what clients may send them."""

import pytest
from starlette.exceptions import WebSocketException

from ramkit.router import HTTPError, RamAPI, asgi_middleware
from ramkit.testing.client import drive, http_scope
from ramkit.testing.lint import ASGILint

CONNECT = {"type": "websocket.connect"}
DENIABLE = {"extensions": {"websocket.http.response": {}}}


async def talk(app, path, *frames, raises=None, **scope):
    """The messages that come back, without what is empty."""
    found = {**http_scope("GET", path), "type": "websocket", "scheme": "ws", "subprotocols": [], **scope}
    del found["method"]
    received = [{"type": "websocket.receive", **frame} if "type" not in frame else frame for frame in frames]
    lint, sent = ASGILint(app), []
    if raises is None:
        await drive(lint, found, [CONNECT, *received], sent=sent)
    else:
        with pytest.raises(raises):
            await drive(lint, found, [CONNECT, *received], sent=sent)
    lint.check()
    return [
        (each["type"].removeprefix("websocket."), each.get("code") or each.get("status") or each.get("text"))
        for each in sent
    ]


@pytest.fixture
def app():
    app = RamAPI()

    @app.websocket("/echo/{number:int}")
    async def echo(ctx):
        await ctx.websocket.accept()
        async for text in ctx.websocket.iter_text():
            await ctx.websocket.send_text(
                f"{ctx.params['number']} {ctx.query['q']} {ctx.cookies['c']} {text}"
            )

    @app.websocket("/json")
    async def json(ctx):
        await ctx.websocket.accept()
        await ctx.websocket.send_json(await ctx.websocket.receive_json(mode=ctx.query.get("mode", "text")))

    @app.websocket("/bytes")
    async def received(ctx):
        await ctx.websocket.accept()
        await ctx.websocket.receive_bytes()

    return app


async def test_a_conversation_with_all_of_the_request(app):
    frames = {"text": "hello"}, {"type": "websocket.disconnect", "code": 1001}
    asked = {"query_string": b"q=1", "headers": [(b"host", b"x"), (b"cookie", b"c=2")]}
    assert await talk(app, "/echo/7", *frames, **asked) == [("accept", None), ("send", "7 1 2 hello")]
    assert await talk(app, "/echo/x", **DENIABLE) == [
        ("http.response.start", 404),
        ("http.response.body", None),
    ]
    assert await talk(app, "/echo/x") == [("close", 1008)]


@pytest.mark.parametrize(
    ("path", "frame", "code"),
    [
        ("/json", {"text": '{"a":'}, 1007),
        ("/json", {"text": "[" * 100_000}, 1007),
        ("/json", {"bytes": b"{}"}, 1003),
        ("/json", {"text": None, "bytes": b"{}"}, 1003),
        ("/json?mode=binary", {"text": "{}"}, 1003),
        ("/json?mode=binary", {"bytes": b"\xff"}, 1007),
        ("/bytes", {"text": "a"}, 1003),
        ("/bytes", {"bytes": b""}, 1000),
    ],
)
async def test_a_frame_that_is_not_expected_is_the_clients_mistake(app, path, frame, code):
    path, _, query = path.partition("?")
    got = await talk(app, path, frame, query_string=query.encode())
    assert got == [("accept", None), ("close", code)]


async def test_a_client_that_leaves_is_no_error(app):
    assert await talk(app, "/json", {"type": "websocket.disconnect", "code": 1001}) == [("accept", None)]


async def test_http_and_websocket_routes_of_one_path(app):
    @app.get("/json")
    async def page(ctx):
        ctx.text("page")

    @app.post("/http")
    async def http(ctx): ...

    assert (await drive(ASGILint(app), http_scope("GET", "/json")))[1]["body"] == b"page"
    assert (await drive(ASGILint(app), http_scope("GET", "/bytes")))[0]["status"] == 404
    assert await talk(app, "/http") == [("close", 1008)]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(HTTPError(401), 401, 1008), (WebSocketException(4001, "go"), None, 4001), (ValueError("x"), 500, None)],
    ids=["http", "websocket", "bug"],
)
async def test_what_a_handler_raises(error, status, code, accepted, wrapped):
    app = RamAPI()
    if wrapped:
        app.use(asgi_middleware(lambda inner: inner))

    @app.websocket("/")
    async def fails(ctx):
        if accepted:
            await ctx.websocket.accept()
        raise error

    got = await talk(app, "/", raises=ValueError if isinstance(error, ValueError) else None, **DENIABLE)
    closed = [] if code is None else [("close", code)]
    if accepted:
        assert got == [("accept", None), *closed]
    elif status is None:
        assert got == closed
    else:
        assert got == [("http.response.start", status), ("http.response.body", None)]


async def test_a_reply_refuses_and_silence_is_403():
    app = RamAPI()

    @app.websocket("/told")
    async def told(ctx):
        ctx.status(429).header("retry-after", "3").json({"later": True})

    @app.websocket("/silent")
    async def silent(ctx): ...

    async def refuse(ctx, next):
        ctx.status(403).text("no")

    app.websocket("/guarded", refuse, silent)
    for path, status in (("/told", 429), ("/silent", 403), ("/guarded", 403)):
        assert (await talk(app, path, **DENIABLE))[0] == ("http.response.start", status)
        assert await talk(app, path) == [("close", 1008)]


async def test_what_is_no_websocket_has_none():
    app = RamAPI()

    @app.get("/")
    async def page(ctx):
        with pytest.raises(RuntimeError, match="no WebSocket"):
            _ = ctx.websocket
        ctx.text("")

    assert (await drive(ASGILint(app), http_scope()))[0]["status"] == 200
