"""HTTP/1.1 to servers: kept connections, handed out one for each exchange."""

import asyncio
import select
import ssl
from collections.abc import Collection

from ramkit.gateway.backends.connection import HTTPConnection
from ramkit.gateway.errors import ConnectFailed, ConnectTimeout
from ramkit.gateway.port import Server
from ramkit.kernel.lifespan import LoopBound

__all__ = ["HTTPTransport"]

#: Seconds that an idle connection is kept: below the 5 s after which uvicorn and Node close theirs, so that
#: a request seldom meets a connection that is just being closed.
_KEPT = 4.0

_Address = tuple[str, str, int]


class HTTPTransport(LoopBound):
    """Fulfils ``Transport``. ``max_head``: bytes of a response's head, and of its trailers.
    ``buffer``: bytes of a response's body that are read ahead of the client."""

    def __init__(self, *, max_head: int = 65536, buffer: int = 65536) -> None:
        super().__init__()
        self._max_head, self._buffer = max_head, buffer
        self._idle: dict[_Address, list[HTTPConnection]] = {}
        self._kept: frozenset[_Address] | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    async def connect(
        self, server: Server, timeout: float, *, idempotent: bool, fresh: bool
    ) -> HTTPConnection:
        self.attach()
        address = (server.scheme, server.host, server.port)
        idle = self._idle.get(address)
        while idle and not fresh:
            # The last first: the others grow old and are closed.
            connection = idle.pop()
            if connection.open and (idempotent or not _readable(connection)):
                connection.reused = True
                return connection
            connection.done(ConnectFailed("was closed while idle"))
        return await self._open(address, timeout)

    async def _open(self, address: _Address, timeout: float) -> HTTPConnection:
        scheme, host, port = address
        loop = asyncio.get_running_loop()
        connection = HTTPConnection(loop, self._give_back, address, self._max_head, self._buffer)
        try:
            async with asyncio.timeout(timeout):
                tls = self._context() if scheme == "https" else None
                await loop.create_connection(lambda: connection, host, port, ssl=tls)
        except TimeoutError:
            raise ConnectTimeout(f"{host}:{port}: no connection within {timeout} s") from None
        except OSError as error:  # ssl.SSLError is one, too
            raise ConnectFailed(f"{host}:{port}: {error}") from error
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _give_back(self, connection: HTTPConnection) -> None:
        """A connection's exchange is over and it can take another."""
        kept = self._kept is None or connection.address in self._kept
        if not kept or self._loop is None or asyncio.get_running_loop() is not self._loop:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.address, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_KEPT, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; again as long as there is anything."""
        if self._loop is None:
            return
        oldest = self._loop.time() - _KEPT
        for address, idle in list(self._idle.items()):
            for connection in idle:
                if connection.idle_since <= oldest:
                    connection.close()
            self._idle[address] = [each for each in idle if each.open]
            if not self._idle[address]:
                del self._idle[address]
        self._sweeper = self._loop.call_later(_KEPT / 2, self._sweep) if self._idle else None

    def keep(self, servers: Collection[Server]) -> None:
        self._kept = frozenset((server.scheme, server.host, server.port) for server in servers)
        for address in self._idle.keys() - self._kept:
            for connection in self._idle.pop(address):
                connection.close()

    def forget(self) -> None:
        self._idle, self._sweeper = {}, None

    async def aclose(self) -> None:
        if self._loop is asyncio.get_running_loop():
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            if self._sweeper is not None:
                self._sweeper.cancel()
        self.forget()
        await super().aclose()


def _readable(connection: HTTPConnection) -> bool:
    """Whether an idle connection has something to read: its end, or what nobody asked for."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
