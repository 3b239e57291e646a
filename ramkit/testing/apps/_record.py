"""One app of the gallery, and what must become of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ramkit.kernel.asgi import ASGIApp

__all__ = ["AppError", "Awkward"]


class AppError(Exception):
    """What the gallery's apps raise."""


@dataclass(frozen=True, kw_only=True)
class Awkward:
    """An app, how its client behaves, and what the client must get.

    ``protocol``: the scope's type: ``http``, ``websocket``, ``lifespan``, or one of nobody's.
    ``sends``: the chunks of the request's body, or the frames that a WebSocket's client sends.
    ``status``, ``headers``, ``body`` and ``trailers``: the response; status None means that none
    arrives. With ``leaves_after``, ``body`` is what must at least have arrived.
    ``events``: for what is no http: the messages that the app sends, in order, by these keys.
    ``raises``: what leaves the app, after what is described here has been sent.
    """

    name: str
    app: ASGIApp
    protocol: str = "http"
    method: str = "GET"
    sends: Sequence[bytes | str] = ()
    status: int | None = 200
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    trailers: Sequence[tuple[bytes, bytes]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    raises: type[Exception] | None = None
    #: the client leaves when so many bytes of body have arrived; 0: as soon as it has asked
    leaves_after: int | None = None
    #: the client leaves before the last chunk of its request
    breaks_off: bool = False
    #: an older server: sends to a client that has left are ignored instead of raising OSError
    forgiving: bool = False
    #: each piece must reach the client before the app makes the next
    live: bool = False

    def __str__(self) -> str:
        return self.name
