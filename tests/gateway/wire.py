"""Real servers and raw sockets around a gateway."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import uvicorn

from ramkit.gateway import Gateway, Upstream
from ramkit.gateway.server import Protocol
from ramkit.kernel.asgi import ASGIApp
from ramkit.testing.client import no_leaks

#: Seconds; only what hangs ever meets it.
PATIENCE = 20.0


@asynccontextmanager
async def serving(app: ASGIApp, **options) -> AsyncIterator[str]:
    """The URL of an app behind uvicorn, as `ramkit gateway` runs it."""
    listener = socket.create_server(("127.0.0.1", 0))
    settings = {
        "lifespan": "off",
        "date_header": False,
        "server_header": False,
        "proxy_headers": False,
        **options,
    }
    config = uvicorn.Config(
        app, http=Protocol, ws="websockets-sansio", log_config=None, timeout_graceful_shutdown=5, **settings
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


class Peer:
    """One connection that a scripted upstream accepted, or that a raw client made."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> bytes:
        """Up to the empty line."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """A head, and a body of its Content-Length."""
        head = await self.head()
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head + await self.reader.readexactly(int(line.partition(b":")[2]))
        return head

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Until the other side closes; a reset is an end, too."""
        data = bytearray()
        with suppress(ConnectionError):
            while piece := await self.reader.read(65536):
                data += piece
        return bytes(data)

    def reset(self) -> None:
        """Close with an RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()


class Script:
    """A scripted upstream: ``url``, and how many connections it got."""

    def __init__(self, handle: Callable[[Peer], Awaitable[None]]) -> None:
        self._handle = handle
        self.connections = 0
        self.url = ""
        self.tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._handle(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()


@asynccontextmanager
async def scripted(handle: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[Script]:
    """A TCP server that does just what ``handle`` does with each connection."""
    script = Script(handle)
    server = await asyncio.start_server(script.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    script.url = f"http://{host}:{port}"
    try:
        yield script
    finally:
        server.close()
        for task in list(script.tasks):
            task.cancel()
        await asyncio.gather(*script.tasks, return_exceptions=True)


@asynccontextmanager
async def answering(*responses: bytes) -> AsyncIterator[Script]:
    """An upstream whose connections each answer their requests with these bytes in turn, then close."""

    async def handle(peer: Peer) -> None:
        for response in responses:
            await peer.request()
            await peer.send(response)

    async with scripted(handle) as script:
        yield script


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Peer]:
    """A raw client connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(url: str, request: bytes) -> bytes:
    """All that comes back, until the server closes."""
    async with asyncio.timeout(PATIENCE), connected(url) as peer:
        await peer.send(request)
        return await peer.rest()


@asynccontextmanager
async def gateway_to(*servers: str, **options) -> AsyncIterator[Gateway]:
    """A gateway to one upstream; closed afterwards, and nothing of it may be left."""
    keys = ("observers", "trusted", "via", "max_message", "clock")
    own = {key: options.pop(key) for key in keys if key in options}
    async with no_leaks():
        gateway = Gateway([Upstream("origin", servers, **options)], **own)
        try:
            yield gateway
        finally:
            await gateway.aclose()
