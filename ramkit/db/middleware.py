"""Takes each client's floor to it and back, so that nobody reads older than they wrote."""

import logging
import re
import secrets as random
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypeVar

from ramkit.db.core.floors import Codec, Said, known
from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send, raw_headers
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.context import Floor, RequestContext, Transaction, raise_positions
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.lifespan import Resource, follow_lifespan

__all__ = ["ConsistencyMiddleware", "Named"]

_log = logging.getLogger("ramkit.db")

HEADER = b"ramkit-floor"
_COOKIE = b"__Host-floor-"
#: a cookie of ours, and what stands between it and the next
_PAIR = re.compile(rb"__Host-floor-([0-9a-f]{8})=([A-Za-z0-9_-]*)(?:;[ \t]*|$)")
#: Cookies that are read of one request: more are no work of ours.
_MOST = 32
_KEPT = b"; Path=/; HttpOnly; Secure; SameSite=Lax"
_SECRET = 32

T = TypeVar("T")


class Named(Protocol):
    """A database, or a cache: whose floor it is."""

    @property
    def name(self) -> str: ...


class Database(Named, Resource, Protocol):
    """``ramkit.db.Database``."""


class ConsistencyMiddleware:
    """Goes outside of ``CacheMiddleware``; takes floors to clients in cookies, or in a header.

    ``db``, ``cache``: a ``Database`` and a ``Cache``, or several of each; the databases open and close with
    the app. ``secret``: at least 32 bytes, the same in all processes; of several the first signs.
    ``lifetime``: seconds for which a client's floor is remembered: no less than the longest time for which
    a response is stored that the client's writes do not purge.

    ``carrier``: ``"cookie"``, ``"header"`` (``RamKit-Floor``, for services and plain http), or ``"auto"``:
    the header for those who sent it and over plain http. A floor whose signature is bad is ignored.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        db: "Database | Sequence[Database]" = (),
        cache: Named | Sequence[Named] = (),
        secret: str | bytes | Sequence[str | bytes],
        lifetime: float = 86_400,
        carrier: Literal["auto", "cookie", "header"] = "auto",
        clock: Clock | None = None,
    ) -> None:
        if not 0 < lifetime < float("inf"):
            raise ConfigurationError("lifetime", f"{lifetime!r} is no number of seconds")
        if carrier not in ("auto", "cookie", "header"):
            raise ConfigurationError("carrier", f"{carrier!r} is none of auto, cookie, header")
        self.app = app
        self._databases, self._caches = _several(db), _several(cache)
        self._names = [each.name for each in self._databases], [each.name for each in self._caches]
        for argument, names in zip(("db", "cache"), self._names, strict=True):
            if len(set(names)) < len(names):
                raise ConfigurationError(argument, f"two of {', '.join(names)} have the same name")
        if not any(self._names):
            raise ConfigurationError("db", "neither a database nor a cache is given")
        self._codec = Codec(_secrets(secret))
        self._lifetime, self._carrier = lifetime, carrier
        self._now = (clock if clock is not None else SystemClock()).time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, *self._databases)
            return
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        received = self._received(scope)
        if kind == "http":
            send = _Told(self, scope, send, received).send
        with RequestContext.of(scope).active():
            await self.app(scope, receive, send)

    def _received(self, scope: Scope) -> "_Received | None":
        """What the request brings, in its context. The app sees no cookie of ours: a request with cookies is
        somebody's, and answers to it are not shared."""
        fields: list[bytes] = []
        cookies: list[tuple[bytes, bytes]] = []
        headers: RawHeaders = [*scope["headers"]]
        for name, value in headers:
            if name == HEADER:
                fields += value.split(b",")
            elif name == b"cookie" and _COOKIE in value:
                cookies += _PAIR.findall(value)
        if not fields and not cookies:
            return None
        if cookies:
            headers = [pair for pair in map(_without_ours, headers) if pair is not None]
        scope["headers"] = headers
        now = self._now()
        values = [*((None, each.strip()) for each in fields[:_MOST]), *cookies[:_MOST]]
        read = [(name, self._codec.decode(value, now)) for name, value in values]
        found = [(name, said) for name, said in read if said is not None]
        said = known([said for _, said in found], *self._names, now)
        _raise(RequestContext.of(scope).floor, said)
        return _Received(said, [name for name, _ in found if name is not None], by_header=bool(fields))

    def say(self, scope: Scope, floor: Floor, received: "_Received | None") -> RawHeaders:
        """The fields that tell the client of its floor."""
        now = self._now()
        until = now + self._lifetime
        bypass = {**received.said.bypass} if received is not None else {}
        bypass |= dict.fromkeys(floor.unconfirmed, until)
        said = Said(
            {name: floor.positions[name] for name in self._names[0] if name in floor.positions},
            {name: floor.epochs[name] for name in self._names[1] if name in floor.epochs},
            {name: bypass.get(name, until) for name in self._names[1] if name in floor.bypass},
            until,
        )
        value = self._codec.encode(said)
        if self._by_header(scope, received):
            return [(HEADER, value)]
        gone = received.cookies if received is not None else []
        kept = b"%b%b=%b; Max-Age=%d" % (_COOKIE, random.token_hex(4).encode(), value, self._lifetime)
        lines = [kept, *(b"%b%b=; Max-Age=0" % (_COOKIE, name) for name in gone)]
        return [(b"set-cookie", line + _KEPT) for line in lines]

    def _by_header(self, scope: Scope, received: "_Received | None") -> bool:
        if self._carrier != "auto":
            return self._carrier == "header"
        return (received is not None and received.by_header) or scope.get("scheme", "http") == "http"


class _Received:
    """``said``: the highest floor that a request brings; ``cookies``: the names of those it is made of."""

    __slots__ = ("by_header", "cookies", "said")

    def __init__(self, said: Said, cookies: list[bytes], *, by_header: bool) -> None:
        self.said, self.cookies, self.by_header = said, cookies, by_header


class _Told:
    """``send`` for one request: its response says what the floor is now, if that was raised."""

    __slots__ = ("_middleware", "_received", "_scope", "_send")

    def __init__(
        self, middleware: ConsistencyMiddleware, scope: Scope, send: Send, received: _Received | None
    ) -> None:
        self._middleware, self._scope, self._send, self._received = middleware, scope, send, received

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if Transaction.current() is not None:
                _log.warning(
                    "%s answers before its transaction is committed: its client may read older than it wrote",
                    self._scope["path"],
                )
            context = RequestContext.peek(self._scope)
            if context is not None and self._raised(context.floor):
                told = self._middleware.say(self._scope, context.floor, self._received)
                message = {**message, "headers": [*raw_headers(message), *told]}
        await self._send(message)

    def _raised(self, floor: Floor) -> bool:
        received = self._received
        if received is None or floor.unconfirmed:
            return not floor.bare
        said = received.said
        return (
            floor.positions != said.positions
            or floor.epochs != said.epochs
            or floor.bypass != said.bypass.keys()
        )


def _raise(floor: Floor, said: Said) -> None:
    raise_positions(floor.positions, said.positions)
    for name, (incarnation, epoch) in said.epochs.items():
        floor.raise_epoch(name, incarnation, epoch)
    floor.bypass.update(said.bypass)


def _without_ours(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """A header without our cookies; None for one that had no others."""
    name, value = pair
    if name != b"cookie" or _COOKIE not in value:
        return pair
    left = _PAIR.sub(b"", value).rstrip(b"; \t")
    return (name, left) if left else None


def _several(given: "T | Sequence[T]") -> list[T]:
    return [*given] if isinstance(given, (list, tuple)) else [given]  # type: ignore[list-item]  # one of T


def _secrets(given: str | bytes | Iterable[str | bytes]) -> list[bytes]:
    found = [given] if isinstance(given, (str, bytes)) else list(given)
    secrets = [each.encode() if isinstance(each, str) else bytes(each) for each in found]
    if not secrets or any(len(each) < _SECRET for each in secrets):
        raise ConfigurationError("secret", f"wants at least {_SECRET} bytes")
    return secrets
