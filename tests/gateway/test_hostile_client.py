"""A client that sends more than one request at a time: nothing gets into another's response or is left."""

import asyncio
from contextlib import suppress

import pytest

from tests.gateway.wire import PATIENCE, Peer, connected, gateway_to, scripted, serving

GET = b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADE = (
    b"GET /second HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SECOND = {
    "no request": b"\x00no request\r\n\r\n",
    "both lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "too large": b"GET /second HTTP/1.1\r\nX: " + b"x" * 600_000,
    "upgrade": UPGRADE,
}


@pytest.mark.parametrize("second", SECOND.values(), ids=SECOND)
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 70_000])
async def test_what_is_behind_a_request_that_is_being_answered(second: bytes, begun: bytes) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.send(begun)
        asked.set()
        await peer.rest()
        left.set()

    async with scripted(handle) as up, gateway_to(up.url) as gateway, serving(gateway) as url:
        async with asyncio.timeout(PATIENCE), connected(url) as peer:
            await peer.send(GET)
            await asked.wait()
            head = await peer.head() if begun else b""
            body = await peer.reader.readexactly(70_000) if begun else b""
            with suppress(ConnectionError):
                await peer.send(second)
            assert await peer.rest() == b""
            assert (head[:12], body) == (begun[:12], begun[-70_000:])
            # the upstream's work for the first request ends with it
            await left.wait()
        assert up.connections == 1
