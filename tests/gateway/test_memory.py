"""A gateway's memory stays flat, whatever streams through it and however slow one side is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psutil
import pytest

from tests.gateway.test_command import running
from tests.gateway.wire import Peer, connected, scripted

MIB = 2**20
SIZES = [64 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.soak)]
#: What one stream may cost: 64 KiB and a read of 256 KiB on each side, and what the allocator keeps of it.
GROWTH = 16 * MIB
PIECE = b"x" * 65536


@asynccontextmanager
async def behind(handle: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[tuple[Peer, psutil.Process]]:
    """A client of a gateway in a process of its own, warmed up, in front of that upstream."""
    async with (
        scripted(handle) as up,
        running("--upstream", up.url) as (url, process),
        connected(url) as peer,
    ):
        await peer.send(b"GET /warm HTTP/1.1\r\nHost: a\r\n\r\n")
        await peer.reader.readuntil(b"warm!")
        yield peer, psutil.Process(process.pid)


async def warmed(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwarm!")


async def stalled(count: Callable[[], int]) -> None:
    """Until nothing moves any more."""
    before = -1
    while count() != before:
        before = count()
        await asyncio.sleep(0.2)


async def swallow(peer: Peer, size: int, process: psutil.Process) -> int:
    """Read so much, slower than it could come; the most memory that the gateway had meanwhile."""
    left, peak = size, 0
    while left:
        left -= len(await peer.reader.read(min(left, 65536)))
        if left % (4 * MIB) < 65536:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.001)
    return peak


@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", SIZES)
async def test_a_download_by_a_slow_client(size: int) -> None:
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await warmed(peer)
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.send(PIECE)
            sent += len(PIECE)

    async with behind(handle) as (peer, process):
        before = process.memory_info().rss
        await peer.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await peer.reader.readuntil(b"\r\n\r\n")
        await stalled(lambda: sent)
        assert sent < size
        assert await swallow(peer, size, process) - before < GROWTH


@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", SIZES)
async def test_an_upload_to_a_slow_server(size: int) -> None:
    go, sent, peaks = asyncio.Event(), 0, list[int]()

    async def handle(peer: Peer) -> None:
        await warmed(peer)
        await peer.head()
        await go.wait()
        peaks.append(await swallow(peer, size, process))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone!")

    async def upload(peer: Peer) -> None:
        nonlocal sent
        await peer.send(b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.send(PIECE)
            sent += len(PIECE)

    async with behind(handle) as (peer, process):
        before = process.memory_info().rss
        uploading = asyncio.create_task(upload(peer))
        await stalled(lambda: sent)
        assert sent < size
        go.set()
        await uploading
        await peer.reader.readuntil(b"done!")
        assert peaks[0] - before < GROWTH
