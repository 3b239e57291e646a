"""Rate limits for HTTP and WebSockets."""

from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from inspect import isawaitable
from typing import Any

from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send
from ramkit.kernel.clock import Clock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.lifespan import follow_lifespan
from ramkit.kernel.observers import Observer
from ramkit.limits.core import Decision
from ramkit.limits.fields import Fields, unavailable
from ramkit.limits.keys import by_client
from ramkit.limits.limiter import Asked, Limiter, passes
from ramkit.limits.policy import Exempt, Policy, exemption
from ramkit.limits.port import LimitStore

__all__ = ["RateLimitMiddleware"]

_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
#: WebSocket: policy violation (RFC 6455 §7.4.1)
_VIOLATION = 1008
_EXCEEDED = {"type": "websocket.disconnect", "code": _VIOLATION, "reason": "rate limit exceeded"}
#: of one middleware: a batch of requests with so many keys each is what a script in Redis can unpack at once
_POLICIES = 32


class RateLimitMiddleware:
    """Refuses what exceeds one of the policies: 429 with Retry-After.

    ``store``: ``"memory://"``, a Redis URL, a ``LimitStore``, or a ``Limiter`` that is used elsewhere, too.
    ``exempt``: paths, or a function of the scope, that no policy is about. ``legacy_headers``:
    X-RateLimit-* besides the draft's fields. ``processes``, ``prefix``, ``clock`` and ``observers`` as for
    ``Limiter``.

    A WebSocket's handshake counts as a request, and is refused before it is accepted. A message that
    exceeds a policy with ``on="message"`` does not reach the app: both sides see the connection closed with
    1008.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: str | LimitStore | Limiter = "memory://",
        policies: Iterable[Policy],
        exempt: Exempt = (),
        legacy_headers: bool = False,
        prefix: str = "rk:",
        processes: int = 1,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self.app = app
        self.limiter = Limiter(
            store, policies, prefix=prefix, processes=processes, clock=clock, observers=observers
        )
        found = tuple(self.limiter.policies.values())
        if not 0 < len(found) <= _POLICIES:
            raise ConfigurationError("policies", f"{len(found)} are given, not 1 to {_POLICIES}")
        self._requests = tuple(policy for policy in found if policy.on == "request")
        self._messages = tuple(policy for policy in found if policy.on == "message")
        self._is_exempt = exemption(exempt)
        self._fields = Fields(found, legacy=legacy_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, self.limiter)
            return
        if kind not in ("http", "websocket") or (self._is_exempt is not None and self._is_exempt(scope)):
            await self.app(scope, receive, send)
            return
        asked = await _ask(self._requests, scope) if self._requests else ()
        if asked:
            decisions = await self.limiter.decide(asked)
            if not passes(decisions):
                await self._refusal(decisions)(scope, receive, send)
                return
            headers = self._fields.of(decisions)
            if headers and (kind == "http" or _takes_headers(scope)):
                send = _telling(send, headers)
        if kind == "websocket" and self._messages and (counted := await _ask(self._messages, scope)):
            socket = _Counted(self.limiter, counted, receive, send)
            receive, send = socket.receive, socket.send
        await self.app(scope, receive, send)

    def _refusal(self, decisions: Sequence[Decision]) -> ASGIApp:
        if any(each.source == "closed" and not each.policy.dry_run for each in decisions):
            return unavailable()
        return self._fields.refusal(decisions)


async def _ask(policies: Iterable[Policy], scope: Scope) -> list[Asked]:
    """What these policies have to decide of a request."""
    asked: list[Asked] = []
    for policy in policies:
        if policy.is_exempt is not None and policy.is_exempt(scope):
            continue
        key: Any = (policy.key or by_client)(scope)
        if type(key) is not str:
            key = await _key(policy, key)
        cost: Any = policy.cost
        if callable(cost):
            cost = await _cost(policy, cost(scope))
        asked.append(Asked(policy, key, cost))
    return asked


async def _key(policy: Policy, key: Any) -> str | bytes | None:
    if isawaitable(key):
        key = await key
    if not isinstance(key, (str, bytes, type(None))):
        raise TypeError(f"policy {policy.name!r}: {type(key).__name__} is no key")
    return key


async def _cost(policy: Policy, cost: Any) -> int:
    if isawaitable(cost):
        cost = await cost
    if not isinstance(cost, int) or cost < 0:
        raise TypeError(f"policy {policy.name!r}: {cost!r} is no cost")
    return cost


def _takes_headers(scope: Scope) -> bool:
    """Whether websocket.accept may carry headers (ASGI, WebSocket 2.1)."""
    spec: str = scope.get("asgi", {}).get("spec_version", "2.0")
    return [int(part) for part in spec.split(".")] >= [2, 1]


def _telling(send: Send, headers: RawHeaders) -> Send:
    """Sends on, with these headers in the response's first message."""

    def tell(message: Message) -> Awaitable[None]:
        if message["type"] in _STARTS:
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        return send(message)

    return tell


class _Counted:
    """A WebSocket whose messages are counted."""

    __slots__ = ("_asked", "_closed", "_exceeded", "_limiter", "_message", "_receive", "_send")

    def __init__(self, limiter: Limiter, asked: Sequence[Asked], receive: Receive, send: Send) -> None:
        self._limiter, self._asked = limiter, asked
        self._receive, self._send = receive, send
        self._closed = self._exceeded = False
        #: came, and is not decided yet: who stops waiting for it, and asks again, must not have lost it
        self._message: Message | None = None

    async def receive(self) -> Message:
        if self._exceeded:
            return dict(_EXCEEDED)
        message = self._message = self._message or await self._receive()
        admitted = message["type"] != "websocket.receive" or passes(await self._limiter.decide(self._asked))
        self._message = None
        if admitted:
            return message
        self._exceeded = True
        if not self._closed:
            self._closed = True
            with suppress(OSError):  # the client has left
                await self._send(
                    {"type": "websocket.close", "code": _VIOLATION, "reason": "rate limit exceeded"}
                )
        return dict(_EXCEEDED)

    async def send(self, message: Message) -> None:
        """What the app still has to say goes nowhere, as after any disconnect."""
        if not self._closed:
            self._closed = message["type"] == "websocket.close"
            await self._send(message)
