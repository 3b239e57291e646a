"""Responses that last: sent as they come, and ended with their client."""

import asyncio

import pytest

from ramkit.router import Event, HTTPError, RamAPI, asgi_middleware
from ramkit.testing.client import ASGIClient, drive, http_scope
from ramkit.testing.lint import ASGILint


class Source:
    """An endless one, that notes what becomes of it."""

    def __init__(self, pieces=None):
        self.closed, self.made = 0, 0
        self._pieces = pieces

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if self._pieces is not None and self.made == self._pieces:
            raise StopAsyncIteration
        self.made += 1
        return "x"

    async def aclose(self):
        self.closed += 1


def streaming(source, way="stream", *middleware):
    app = RamAPI()

    @app.get("/", *middleware)
    async def live(ctx):
        getattr(ctx, way)(source)

    return app


@pytest.mark.parametrize("way", ["stream", "sse"])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_client_that_leaves_ends_the_source(way, wrapped):
    source = Source()
    app = streaming(source, way, *[asgi_middleware(lambda inner: inner)] * wrapped)
    async with ASGIClient(ASGILint(app)) as http, http.stream("GET", "/") as got:
        async for _ in got.aiter_bytes():
            if source.made >= 3:
                break
    assert source.closed == 1


@pytest.mark.parametrize("way", ["stream", "sse"])
async def test_a_client_that_was_never_there(way):
    source, sent = Source(), []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    before = asyncio.all_tasks()
    await ASGILint(streaming(source, way))(http_scope(), receive, send)
    assert source.closed == 1
    assert asyncio.all_tasks() == before


async def test_a_server_that_tells_by_an_error():
    """ASGI, HTTP 2.4: send raises OSError when the client has left."""
    source = Source()

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        if message.get("body"):
            raise OSError("gone")

    before = asyncio.all_tasks()
    await streaming(source)(http_scope(), receive, send)
    assert source.closed == 1
    assert asyncio.all_tasks() == before


async def test_a_request_that_is_cancelled_leaves_nothing():
    source, begun = Source(), asyncio.Event()

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        begun.set()

    before = asyncio.all_tasks()
    serving = asyncio.create_task(streaming(source)(http_scope(), receive, send))
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert source.closed == 1
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("way", ["stream", "sse"])
async def test_head_makes_nothing_and_closes(way):
    source = Source()
    async with ASGIClient(ASGILint(streaming(source, way))) as http:
        got = await http.head("/")
        assert (got.status_code, got.content) == (200, b"")
    assert (source.made, source.closed) == (0, 1)


async def test_a_stream_that_is_not_sent_is_closed():
    source = Source()

    async def instead(ctx, next):
        await next()
        ctx.status(503).text("later")

    async def fails(ctx, next):
        await next()
        raise HTTPError(409)

    for middleware, status in ((instead, 503), (fails, 409)):
        async with ASGIClient(ASGILint(streaming(source, "sse", middleware))) as http:
            assert (await http.get("/")).status_code == status
    assert (source.made, source.closed) == (0, 2)


async def test_all_is_sent_and_then_closed():
    source = Source(pieces=5)
    async with ASGIClient(ASGILint(streaming(source))) as http:
        got = await http.get("/")
    assert (got.text, got.headers["content-type"]) == ("xxxxx", "application/octet-stream")
    assert "content-length" not in got.headers
    assert source.closed == 1


async def test_a_source_that_fails_breaks_off_and_is_raised():
    app, closed = RamAPI(), []

    @app.get("/")
    async def live(ctx):
        async def source():
            try:
                yield "a"
                raise ValueError("in the middle")
            finally:
                closed.append(True)

        ctx.stream(source(), "text/plain")

    sent = []
    with pytest.raises(ValueError, match="in the middle"):
        await drive(ASGILint(app), http_scope(), sent=sent)
    assert [each.get("body") for each in sent] == [None, b"a"]  # no last message: the client sees it broken
    assert closed == [True]


async def test_events_on_the_wire():
    app = RamAPI()

    @app.get("/")
    async def live(ctx):
        async def source():
            yield "one\r\ntwo\rthree\n"
            yield {"a": "é"}
            yield Event("x", event="e", id="1", retry=5)
            yield Event("", event="")
            with pytest.raises(ValueError, match="more than one line"):
                await anext(_events(Event("x", id="a\nb")))

        ctx.sse(source())

    async with ASGIClient(ASGILint(app)) as http:
        got = await http.get("/")
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert got.headers["cache-control"] == "no-store"
    assert got.text == (
        "data: one\ndata: two\ndata: three\ndata: \n\n"
        'data: {"a":"é"}\n\nevent: e\nid: 1\nretry: 5\ndata: x\n\nevent: \ndata: \n\n'
    )


async def test_silence_has_a_heartbeat():
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


def _events(*each):
    from ramkit.router.streaming import events

    async def source():
        for one in each:
            yield one

    return events(source())
