"""What requests wait for, told by the rooms that wait."""

import asyncio

from ramkit.db import Database
from ramkit.gateway import Gateway, Upstream
from ramkit.logs import AccessLogMiddleware, Sink
from ramkit.testing.client import drive, http_scope
from tests.gateway.wire import serving
from tests.logs.reading import Kept, answering, flushed


async def test_for_a_connection_of_the_pool(postgres_dsn):
    db = Database(postgres_dsn, min_size=1, max_size=1, max_lag=None)
    inside = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/waits":
            await inside.wait()
        async with db.read() as connection:
            inside.set()
            for _ in range(3):
                await connection.fetchval("SELECT 1")
        await answering()(scope, receive, send)

    kept = Kept()
    sink = Sink(kept)
    wrapped = AccessLogMiddleware(app, sink=sink)
    await db.fetchval("SELECT 1")
    await asyncio.gather(*(drive(wrapped, http_scope(path=path)) for path in ("/first", "/waits")))
    await db.aclose()
    flushed(sink)
    waits = {line["path"]: line.get("waits_ms") for line in kept.read()}
    assert list(waits["/waits"]) == ["pool"]
    assert waits["/waits"]["pool"] > 0


async def test_for_an_upstream():
    async with serving(answering(b"x")) as url:
        kept = Kept()
        sink = Sink(kept)
        gateway = Gateway([Upstream("origin", [url])])
        messages = await drive(AccessLogMiddleware(gateway, sink=sink), http_scope())
        assert messages[0]["status"] == 200
        await drive(gateway, http_scope())  # where nobody asks, nothing is told
        await gateway.aclose()
        flushed(sink)
    (line,) = kept.read()
    assert list(line["waits_ms"]) == ["upstream"]
    assert 0 < line["waits_ms"]["upstream"] <= line["first_byte_ms"]
