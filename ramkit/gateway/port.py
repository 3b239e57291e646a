"""How the gateway reaches servers: a transport hands out connections, one for each exchange."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from ramkit.kernel.asgi import RawHeaders

__all__ = ["Connection", "Head", "Request", "Server", "Transport"]


class Server(Protocol):
    """Where a server listens."""

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        ...

    @property
    def host(self) -> str:
        """A name or an address, IPv6 without brackets."""
        ...

    @property
    def port(self) -> int:
        """Its TCP port."""
        ...


@dataclass(slots=True)
class Request:
    """A request as it goes out. ``headers`` say nothing of its framing.

    ``length``: of its body in bytes, None if only its end will tell. ``body`` is what is there of it,
    ``more`` whether there is more to come.
    """

    method: bytes
    target: bytes
    headers: RawHeaders
    length: int | None = 0
    body: bytes = b""
    more: bool = False


@dataclass(slots=True)
class Head:
    """A response's head, names in lower case. ``status`` below 200 is an interim one: another will follow."""

    status: int
    headers: RawHeaders


class Connection(Protocol):
    """A connection for one exchange. Every method but ``done`` raises the error of ``abort`` after that."""

    #: it has served an exchange before: the server may be about to close it
    reused: bool
    #: sent after the body, complete when ``ended``
    trailers: RawHeaders

    @property
    def ended(self) -> bool:
        """Whether all of the response's body has been read."""
        ...

    async def send(self, request: Request) -> None:
        """Send the request as far as it is there. Returns when the server takes more."""
        ...

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send more of its body. Returns when the server takes more. Raises ``BadRequest`` if the
        body is not of the announced length, ``UpstreamReset`` if the server is gone."""
        ...

    async def head(self) -> Head:
        """The next head. Raises ``BadResponse``, ``UpstreamReset``."""
        ...

    async def read(self) -> bytes:
        """What has arrived of the body since; empty at its end. Raises as ``head`` does."""
        ...

    def limit(self, seconds: float | None, error: Exception) -> None:
        """``abort(error)`` after so many seconds unless called again; None waits without end."""
        ...

    def done(self, error: Exception | None = None) -> None:
        """The exchange is over: kept for the next if both messages are complete, else closed.

        With an ``error``, at any time: closed at once, and who still waits gets that error.
        """
        ...


class Transport(Protocol):
    """Connections to servers."""

    async def connect(self, server: Server, timeout: float, *, idempotent: bool, fresh: bool) -> Connection:
        """A kept connection, or a new one: surely if ``fresh``; one that the server has closed, as far
        as can be seen, is not used unless ``idempotent``. Raises ``ConnectFailed``, ``ConnectTimeout``."""
        ...

    def keep(self, servers: Collection[Server]) -> None:
        """Close idle connections to all others, now or when their exchange is over."""
        ...

    async def aclose(self) -> None:
        """Close what is idle; what is lent, when it is done. Usable again afterwards."""
        ...
