"""The gateway, an ASGI app: routes requests and WebSockets to upstreams."""

import logging
import re
from collections.abc import Iterable, Sequence

from ramkit.gateway.backends.http import HTTPTransport
from ramkit.gateway.core.forwarding import (
    Forwarding,
    Refusal,
    date,
    last_recipient,
    max_forwards,
    raw_path,
    refusal,
)
from ramkit.gateway.core.members import Group
from ramkit.gateway.core.routing import Routes, stripped
from ramkit.gateway.errors import ClientGone, GatewayError, NoServer
from ramkit.gateway.events import GatewayRequest
from ramkit.gateway.exchange import Exchange, Parts
from ramkit.gateway.policy import Route, Upstream, check_routes
from ramkit.gateway.probing import probe
from ramkit.gateway.tracking import Tracker
from ramkit.gateway.websocket import Socket
from ramkit.kernel.asgi import RawHeaders, Receive, Scope, Send
from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.lifespan import LoopBound, follow_lifespan
from ramkit.kernel.observers import Observer
from ramkit.kernel.replies import Reply, problem

__all__ = ["Gateway"]

_log = logging.getLogger("ramkit")

#: RFC 9110 §7.6.3
_PSEUDONYM = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SUSPECT = frozenset({400, 501, 505})
#: what the log calls a response by its class
_OUTCOMES = {502: "error", 503: "unavailable", 504: "timeout"}


class _Plan:
    """One description of where requests go, with all that is known of its servers."""

    __slots__ = ("groups", "routes")

    def __init__(self, upstreams: Sequence[Upstream], routes: Sequence[Route], now: float) -> None:
        if not routes and len(upstreams) == 1:
            routes = [Route("/*", upstreams[0].name)]
        check_routes(routes, upstreams)
        self.routes = Routes(routes)
        self.groups = {upstream.name: Group(upstream, now) for upstream in upstreams}

    def carry(self, former: "_Plan") -> None:
        """Take over what was known of the same upstreams' servers."""
        for name, group in self.groups.items():
            if name in former.groups:
                group.carry(former.groups[name])


class Gateway(LoopBound):
    """A reverse proxy: ``Gateway([Upstream("users", ["http://10.0.0.7:8000"])])``.

    ``upstreams``: groups of servers, by name. ``routes``: which requests go to which; without any, all go to
    the only upstream. ``trusted``: the peers whose ``Forwarded`` or ``X-Forwarded-*`` are believed and
    continued; what others send of these is replaced. ``via``: the name of this gateway in ``Via``.
    ``max_message``: bytes of one WebSocket message. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        upstreams: Iterable[Upstream],
        routes: Iterable[Route] = (),
        *,
        trusted: TrustedProxies | None = None,
        via: str = "ramkit",
        max_message: int = 2**20,
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        if not _PSEUDONYM.fullmatch(via):
            raise ConfigurationError("via", f"{via!r} is not a token")
        if max_message < 1:
            raise ConfigurationError("max_message", f"{max_message!r} is not a number of bytes")
        self._clock = clock or SystemClock()
        self._plan = _Plan(tuple(upstreams), tuple(routes), self._clock.monotonic())
        self._transport = HTTPTransport()
        self._trusted = trusted or TrustedProxies()
        forwarding = Forwarding(self._trusted, via.encode())
        self._parts = Parts(self._transport, forwarding, Tracker(self._clock, observers))
        self._max_message = max_message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            self._ready()
            await self._http(scope, receive, send)
        elif kind == "websocket":
            self._ready()
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await follow_lifespan(_lifespan, scope, receive, send, self)
        else:
            raise ValueError(f"a gateway knows no {kind!r}")

    # -- life ----------------------------------------------------------------------------------------

    def reload(self, upstreams: Iterable[Upstream], routes: Iterable[Route] = ()) -> None:
        """Another description: for requests from now on. Those under way end as they began.

        What is known of servers that stay is kept; connections to others close when they are free. Raises
        ``ConfigurationError``, and then nothing has changed. A gateway that runs is told on its own loop.
        """
        plan = _Plan(tuple(upstreams), tuple(routes), self._clock.monotonic())
        plan.carry(self._plan)
        self._plan = plan
        self._transport.keep([member for group in plan.groups.values() for member in group.members])
        if self._loop is not None:
            self._probe()

    async def start(self) -> None:
        """Begin to check the servers' health; otherwise the first request does."""
        self._ready()

    async def aclose(self) -> None:
        """Stop what runs in the background and close idle connections. Usable again afterwards."""
        await super().aclose()
        await self._transport.aclose()

    def _ready(self) -> None:
        if self.attach():
            self._probe()

    def _probe(self) -> None:
        """Check the servers of the current plan for as long as it is that."""
        plan = self._plan
        if any(group.upstream.health for group in plan.groups.values()):
            self.spawn(probe(plan.groups.values(), lambda: self._plan is plan, self._parts))

    # -- HTTP ----------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope)
        if isinstance(found, Refusal):
            await self._refuse(found, scope, receive, send)
            return
        group, path, key = found
        exchange = Exchange(self._parts, group, path, scope, receive, send)
        outcome = "abandoned"
        try:
            await exchange.run(key)
            outcome = "answered"
        except ClientGone:
            pass
        except GatewayError as error:
            if exchange.status is not None:
                # The server in front has to break the connection off: nobody may take this for the end.
                outcome = "broken"
                raise
            headers = _closing(scope) if exchange.unread else []
            outcome = await self._failed(error, headers, group, scope, receive, send)
            exchange.status = error.status
        finally:
            self._ended(group.upstream.name, outcome, exchange.status)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope)
        if isinstance(found, Refusal):
            await self._refuse(found, scope, receive, send)
            return
        group, path, key = found
        socket = Socket(self._parts, group, path, self._max_message, scope, receive, send)
        outcome = "abandoned"
        try:
            await socket.run(key)
            outcome = "answered"
        except ClientGone:
            pass
        except GatewayError as error:
            outcome = await self._failed(error, [], group, scope, receive, send)
            socket.status = error.status
        finally:
            self._ended(group.upstream.name, outcome, socket.status)

    def _find(self, scope: Scope) -> "Refusal | tuple[Group, bytes, bytes]":
        """The group, the path that its servers see, and the key that chooses among them."""
        refused = refusal(scope)
        if refused is not None:
            return refused
        headers: RawHeaders = scope["headers"]
        if scope.get("method") in ("TRACE", "OPTIONS") and max_forwards(headers) == 0:
            return last_recipient(scope["method"])
        path = raw_path(scope)
        host = next((value for name, value in headers if name == b"host"), b"").decode()
        text = path.decode()
        route = self._plan.routes.match(host, "/" if text == "*" else text)
        if route is None:
            return Refusal(404, "Nothing is routed here.")
        group = self._plan.groups[route.upstream]
        if route.strip_prefix and text != "*":
            path = stripped(route, text).encode()
        return group, path, self._key(group.upstream, path, scope)

    def _key(self, upstream: Upstream, path: bytes, scope: Scope) -> bytes:
        """What ``hash_on`` names."""
        if upstream.balance != "consistent_hash":
            return b""
        if upstream.hash_on == "path":
            return path
        if upstream.hash_on == "client":
            return str(self._trusted.client_address(scope)).encode()
        wanted = upstream.hash_on.partition(":")[2].lower().encode()
        return next((value for name, value in scope["headers"] if name == wanted), b"")

    async def _failed(
        self,
        error: GatewayError,
        headers: RawHeaders,
        group: Group,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> str:
        """Answer with the error, told apart by its status; the outcome's name."""
        _log.warning("%s %s: %s", group.upstream.name, type(error).__name__, error)
        if error.status == NoServer.status:
            headers = [*headers, (b"retry-after", b"1")]
        await self._reply(error.status, error.detail, headers, scope, receive, send)
        return _OUTCOMES.get(error.status, "refused")

    async def _refuse(self, refused: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        # Of a request that was misread, what follows may be no request either.
        headers = refused.headers + (_closing(scope) if refused.status in _SUSPECT else [])
        await self._reply(refused.status, refused.detail, headers, scope, receive, send)
        self._ended("", "refused", refused.status)

    async def _reply(
        self, status: int, detail: str, headers: RawHeaders, scope: Scope, receive: Receive, send: Send
    ) -> None:
        dated = [*headers, (b"date", date(self._clock.time()))]
        answer = problem(status, detail=detail, headers=dated) if status >= 400 else Reply(status, dated)
        await answer(scope, receive, send)

    def _ended(self, upstream: str, outcome: str, status: int | None) -> None:
        given = "none" if status is None else f"{status // 100}xx"
        self._parts.tracker.tell(GatewayRequest(upstream, outcome, given))


def _closing(scope: Scope) -> RawHeaders:
    """Ends the connection, where connections are HTTP/1's (RFC 9112 §9.6)."""
    return [(b"connection", b"close")] if scope["http_version"] < "2" else []


async def _lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
