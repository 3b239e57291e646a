"""Unsafe methods invalidate what they may have changed (RFC 9111 §4.4), and POST may leave something."""

import logging
from typing import TYPE_CHECKING

from ramkit.cache.core.facts import Facts
from ramkit.cache.core.freshness import lifetime
from ramkit.cache.core.groups import groups_of
from ramkit.cache.core.invalidating import invalidated, represents_target
from ramkit.cache.core.keys import Target
from ramkit.cache.errors import PurgeUnconfirmed
from ramkit.cache.exchange import Exchange
from ramkit.cache.flight import Turn
from ramkit.cache.reads import WatchedScope
from ramkit.cache.recorder import Recorder
from ramkit.kernel.asgi import Message, Receive, Scope, Send, raw_headers
from ramkit.kernel.context import RequestContext, Transaction

if TYPE_CHECKING:
    from ramkit.cache.middleware import CacheMiddleware

__all__ = ["forward_unsafe"]

_log = logging.getLogger("ramkit.cache")


async def forward_unsafe(middleware: "CacheMiddleware", scope: Scope, receive: Receive, send: Send) -> None:
    """Passes the request on. A response that is no error starts when its purges are confirmed; one to POST
    that is what GET would give, for as long as it says itself, is stored for GET (RFC 9110 §9.3.3)."""
    context = RequestContext.of(scope)
    watched = WatchedScope(dict(scope), context)
    responder = _Responder(middleware, watched, receive, send)
    with context.active():
        try:
            await middleware.app(watched, receive, responder)
        finally:
            watched.tell(scope)


class _Responder:
    """``send`` for one unsafe request."""

    __slots__ = (
        "_ambiguous",
        "_cache",
        "_most",
        "_parts",
        "_recorder",
        "_scope",
        "_send",
        "_size",
        "_target",
    )

    def __init__(
        self, middleware: "CacheMiddleware", scope: WatchedScope, receive: Receive, send: Send
    ) -> None:
        self._cache, self._scope, self._send = middleware.cache, scope, send
        self._target, self._most = Target(scope, middleware.rules), middleware.max_body
        exchange = Exchange(middleware, scope, receive, send, self._target)
        #: it may stand for another method, or for another host
        self._ambiguous = exchange.ambiguous
        self._recorder = Recorder(exchange, scope, Turn(self._cache.flights, self._target.key))
        #: what came of a body that is to be stored
        self._parts: list[bytes] | None = None
        self._size = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] < 400:
            message = {**message, "headers": raw_headers(message)}
            slots = self._recorder.unpurged() if self._is_storable(message) else ()
            with self._cache.table.watch(slots) as purges:
                confirmed = await self._invalidate(Facts(message["headers"]))
                # It is newer than the purge that it makes itself; one that came in between is newer than it.
                if slots and confirmed and len(purges) == 1:
                    self._recorder.begin_anew()
                    self._parts = []
        elif self._parts is not None:
            await self._collect(message, self._parts)
        await self._send(message)

    async def _invalidate(self, facts: Facts) -> bool:
        """Whether the purges are confirmed."""
        if groups_of(facts.listed.get(b"cache-group-invalidation", ())) is None:
            self._warn("Cache-Group-Invalidation is no list of strings")
        try:
            await self._cache.purge_names(invalidated(self._target, facts))
            if Transaction.current() is not None:  # it answers before COMMIT, and the purge comes after that
                RequestContext.of(self._scope).floor.go_past(self._cache.name)
                return False
        except PurgeUnconfirmed:
            return False  # queued; the floor has this client's next requests go past the cache
        except ValueError as error:
            self._warn(str(error))
            return False
        return True

    def _is_storable(self, message: Message) -> bool:
        """RFC 9110 §9.3.3: explicit freshness, and a Content-Location that is the target."""
        if self._scope["method"] != "POST" or message["status"] != 200 or self._ambiguous:
            return False
        facts = Facts(message["headers"])
        if not represents_target(self._target, facts) or not lifetime(facts, self._cache.clock.time()):
            return False
        trailers = bool(message.get("trailers"))
        return self._recorder.begin(200, list(message["headers"]), trailers=trailers) is None

    async def _collect(self, message: Message, parts: list[bytes]) -> None:
        chunk = bytes(message.get("body", b""))
        self._size += len(chunk)
        parts.append(chunk)
        length = self._recorder.facts.length
        if message["type"] != "http.response.body" or self._size > self._most:
            self._parts = None
        elif not message.get("more_body"):
            self._parts = None
            if length is None or length == self._size:
                await self._recorder.store(b"".join(parts))

    def _warn(self, what: str) -> None:
        _log.warning("%s %s: %s", self._scope["method"], self._scope["path"], what)
