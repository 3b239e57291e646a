"""Takes each client's floor to it and back, so that nobody reads older than they wrote."""

import logging
import re
import secrets as random
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

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
#: a cookie of ours, and what stands between it and the one before; never a part of another's value
_PAIR = re.compile(rb"(?:^|;)[ \t]*__Host-floor-([0-9a-f]{8})=([A-Za-z0-9_-]*)[ \t]*(?=;|$)")
#: Cookies that are read of one request, the newest: more are no work of ours. So many can one connection's
#: parallel writes bring (RFC 9113 §6.5.2).
_MOST = 128
#: … beyond which any response merges them, and those that one deletes at most: a proxy in front (nginx, 4 KiB
#: of headers by default) takes more for an answer of a server that is broken.
_FEW, _GONE = 8, 16
_KEPT = b"; Path=/; HttpOnly; Secure; SameSite=Lax"
_SECRET = 32

T = TypeVar("T", bound="Named")


class Named(Protocol):
    """A database, or a cache: whose floor it is."""

    @property
    def name(self) -> str: ...


class Database(Named, Resource, Protocol):
    """``ramkit.db.Database``."""

    def passed(self, lsn: int) -> float | None:
        """For how many seconds every replica has been past that position; None if one is not."""
        ...


class Cache(Named, Protocol):
    """``ramkit.cache.Cache``."""

    def outlived(self, seconds: float) -> bool:
        """Whether nothing can be served any more that was made so long ago."""
        ...


class ConsistencyMiddleware:
    """Goes outside of ``CacheMiddleware``; takes floors to clients in cookies, or in a header.

    ``db``, ``cache``: a ``Database`` and a ``Cache``, or several of each; the databases open and close with
    the app. ``secret``: at least 32 bytes, the same in all processes; of several the first signs.
    ``lifetime``: seconds for which a client's floor is remembered at most. It ends as soon as neither a
    replica nor one of these caches can show anything older.

    ``carrier``: ``"cookie"``, ``"header"`` (``RamKit-Floor``, for services and plain http), or ``"auto"``:
    the header for those who sent it and over plain http. A floor whose signature is bad is ignored.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        db: "Database | Sequence[Database]" = (),
        cache: "Cache | Sequence[Cache]" = (),
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
        self._databases, self._caches = _by_name("db", db), _by_name("cache", cache)
        self._names = self._databases.keys(), self._caches.keys()
        if not any(self._names):
            raise ConfigurationError("db", "neither a database nor a cache is given")
        self._codec = Codec(_secrets(secret))
        self._lifetime, self._carrier = lifetime, carrier
        self._now = (clock if clock is not None else SystemClock()).time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, *self._databases.values())
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
        values = [*((None, each.strip()) for each in fields[:_MOST]), *cookies[-_MOST:]]
        read = [(name, self._codec.decode(value)) for name, value in values]
        found = [(name, said, self._over(said, now)) for name, said in read if said is not None]
        said = known([said for _, said, over in found if not over], *self._names, now)
        _raise(RequestContext.of(scope).floor, said)
        names = [name for name, _, _ in found if name is not None]
        return _Received(said, names, [name for name, _, over in found if over and name], bool(fields))

    def _over(self, said: Said, now: float) -> bool:
        """Whether whatever may be shown is at or past it, for all that is known here."""
        age = now - said.made
        if age >= self._lifetime:
            return True
        if not (
            said.positions.keys() <= self._databases.keys() and said.epochs.keys() <= self._caches.keys()
        ):
            return False
        if any(until > now for until in said.bypass.values()):
            return False
        for name, lsn in said.positions.items():
            passed = self._databases[name].passed(lsn)
            if passed is None:
                return False
            age = min(age, passed)
        return all(cache.outlived(age) for cache in self._caches.values())

    def say(self, scope: Scope, floor: Floor, received: "_Received | None") -> RawHeaders:
        """The fields that tell the client of its floor, unless that is over already."""
        now = self._now()
        until = now + self._lifetime
        bypass = {**received.said.bypass} if received is not None else {}
        bypass |= dict.fromkeys(floor.unconfirmed, until)
        said = Said(
            {name: floor.positions[name] for name in self._names[0] if name in floor.positions},
            {name: floor.epochs[name] for name in self._names[1] if name in floor.epochs},
            {name: bypass.get(name, until) for name in self._names[1] if name in floor.bypass},
            now,
        )
        gone = _forget(received.cookies if received is not None else [])
        if self._over(said, now):
            return gone
        value = self._codec.encode(said)
        if self._by_header(scope, received):
            return [(HEADER, value)]
        kept = b"%b%b=%b; Max-Age=%d" % (_COOKIE, random.token_hex(4).encode(), value, self._lifetime)
        return [(b"set-cookie", kept + _KEPT), *gone]

    def _by_header(self, scope: Scope, received: "_Received | None") -> bool:
        if self._carrier != "auto":
            return self._carrier == "header"
        return (received is not None and received.by_header) or scope.get("scheme", "http") == "http"


class _Received(NamedTuple):
    """``said``: the highest floor that a request brings; ``cookies``: the names of all; ``over``: of those
    that count no more."""

    said: Said
    cookies: list[bytes]
    over: list[bytes]
    by_header: bool


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
            told = self._news()
            if told:
                message = {**message, "headers": [*raw_headers(message), *told]}
        await self._send(message)

    def _news(self) -> RawHeaders:
        context, received = RequestContext.peek(self._scope), self._received
        if context is not None and self._raised(context.floor):
            return self._middleware.say(self._scope, context.floor, received)
        return _forget(received.over) if received is not None else []

    def _raised(self, floor: Floor) -> bool:
        """Or said in too many pieces."""
        received = self._received
        if received is None or floor.unconfirmed:
            return not floor.bare
        said = received.said
        return (
            len(received.cookies) > _FEW
            or floor.positions != said.positions
            or floor.epochs != said.epochs
            or floor.bypass != said.bypass.keys()
        )


def _raise(floor: Floor, said: Said) -> None:
    raise_positions(floor.positions, said.positions)
    for name, (incarnation, epoch) in said.epochs.items():
        floor.raise_epoch(name, incarnation, epoch)
    floor.bypass.update(said.bypass)


def _forget(cookies: Sequence[bytes]) -> RawHeaders:
    """The fields that delete these, or the oldest of them."""
    cookies = cookies[:_GONE]
    return [(b"set-cookie", b"%b%b=; Max-Age=0" % (_COOKIE, name) + _KEPT) for name in cookies]


def _without_ours(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """A header without our cookies; None for one that had no others."""
    name, value = pair
    if name != b"cookie" or _COOKIE not in value:
        return pair
    left = _PAIR.sub(b"", value).strip(b"; \t")
    return (name, left) if left else None


def _by_name(argument: str, given: "T | Sequence[T]") -> dict[str, T]:
    several: Any = given if isinstance(given, (list, tuple)) else [given]
    found: dict[str, T] = {each.name: each for each in several}
    if len(found) < len(several):
        raise ConfigurationError(argument, f"two of {', '.join(found)} have the same name")
    return found


def _secrets(given: str | bytes | Iterable[str | bytes]) -> list[bytes]:
    found = [given] if isinstance(given, (str, bytes)) else list(given)
    secrets = [each.encode() if isinstance(each, str) else bytes(each) for each in found]
    if not secrets or any(len(each) < _SECRET for each in secrets):
        raise ConfigurationError("secret", f"wants at least {_SECRET} bytes")
    return secrets
