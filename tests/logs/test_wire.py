"""Behind a real server."""

import asyncio

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from ramkit.logs import AccessLogMiddleware, Sink
from tests.gateway.wire import PATIENCE, ask, connected, serving
from tests.logs.reading import Kept, flushed


async def test_streams_arrive_at_once_and_leaving_is_told():
    more, ended = asyncio.Event(), asyncio.Event()

    async def events():
        try:
            yield b"data: 1\n\n"
            await more.wait()
            yield b"data: 2\n\n"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def stream(request):
        return StreamingResponse(events(), media_type="text/event-stream")

    async def plain(request):
        return PlainTextResponse("x" * 100)

    kept = Kept()
    sink = Sink(kept)
    app = Starlette(routes=[Route("/stream", stream), Route("/plain", plain)])
    async with serving(AccessLogMiddleware(app, sink=sink)) as url, asyncio.timeout(PATIENCE):
        answer = await ask(url, b"GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with connected(url) as peer:
            await peer.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            await peer.reader.readuntil(b"data: 1\n\n")
            more.set()
            await peer.reader.readuntil(b"data: 2\n\n")
        await ended.wait()
    flushed(sink)
    plain_line, stream_line = kept.read()
    assert b"x-request-id: " + plain_line["request_id"].encode() + b"\r\n" in answer
    assert (plain_line["outcome"], plain_line["bytes_sent"]) == ("complete", 100)
    assert (stream_line["route"], stream_line["status"]) == ("/stream", 200)
    assert (stream_line["outcome"], stream_line["bytes_sent"]) == ("disconnected", 18)
