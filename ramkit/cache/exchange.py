"""One GET or HEAD that needs more than a look into this process."""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ramkit.cache.completion import Completion, rest_of
from ramkit.cache.core import directives
from ramkit.cache.core.conditional import Preconditions, evaluate, not_modified_headers
from ramkit.cache.core.entry import BY_RULE, PARTS, SHARED, Entry
from ramkit.cache.core.keys import Target
from ramkit.cache.core.purging import Verdict
from ramkit.cache.core.requesting import wanted
from ramkit.cache.core.serving import State, age_of, head_of
from ramkit.cache.core.storing import Request
from ramkit.cache.core.validating import precondition_of
from ramkit.cache.flight import Turn
from ramkit.cache.lookup import select
from ramkit.cache.parts import newest
from ramkit.cache.reads import OF_A_RENDER, RENDERING, WatchedScope
from ramkit.cache.recorder import Recorder
from ramkit.cache.responder import Responder
from ramkit.kernel.asgi import Message, RawHeaders, Receive, Scope, Send, raw_headers
from ramkit.kernel.context import RequestContext
from ramkit.kernel.headers import find, find_all, scan
from ramkit.kernel.replies import problem

if TYPE_CHECKING:
    from ramkit.cache.cache import Cache
    from ramkit.cache.middleware import CacheMiddleware

__all__ = ["WATCHED", "Exchange"]

_log = logging.getLogger("ramkit.cache")

_CONDITIONAL = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
#: Fields that tell who asks, beside Authorization and Cookie.
_IDENTIFYING = frozenset({b"proxy-authorization", b"x-api-key", b"x-auth-token", b"x-access-token"})
#: Fields by which frameworks make something else of a GET: another method, another path.
_OVERRIDING = frozenset(
    {b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url"}
)
_OTHERS = frozenset(
    {
        b"host",
        b"authorization",
        b"cookie",
        b"cache-control",
        b"content-length",
        b"transfer-encoding",
    }
)
#: Request fields that decide what may answer; a request with none of them but Host takes the short way.
WATCHED = _CONDITIONAL | _IDENTIFYING | _OVERRIDING | _OTHERS
#: Seconds that a refresh in the background has: others may come to wait for it.
_REFRESH = 60.0
#: Seconds for which a response that was not to be shared keeps others from waiting for the next one.
_UNSHARED, _UNSHARED_KEYS = 5.0, 4096


class Exchange:
    """The answer to one request: from the store, from somebody else's render, or from the app.

    ``missed``: the store was just asked, and has nothing under the target's key.
    """

    __slots__ = (
        "_again", "body", "cache", "collapsed", "context", "expired", "key", "method", "middleware", "missed",
        "parts", "preconditions", "receive", "scope", "send", "target", "watched",
    )  # fmt: skip

    recorder: ClassVar[type[Recorder]] = Recorder

    def __init__(
        self,
        middleware: "CacheMiddleware",
        scope: Scope,
        receive: Receive,
        send: Send,
        target: Target,
        *,
        missed: bool = False,
    ) -> None:
        self.middleware, self.cache = middleware, middleware.cache
        self.scope, self.receive, self.send = scope, receive, send
        self.target, self.key = target, target.key
        self.watched = watched = scan(scope["headers"], WATCHED)
        self.method: str = scope["method"]
        self.context = RequestContext.of(scope)
        self.preconditions = Preconditions.of(scope["headers"]) if watched.keys() & _CONDITIONAL else None
        self.missed, self.collapsed = missed, False
        self.expired: Entry | None = None
        #: what is stored of the response, where it is not all
        self.parts: Entry | None = None
        #: whether the app was handed a body with this GET
        self.body = False
        #: the request's end is to be told once more: the app has read it in a render that came to nothing
        self._again = False

    async def run(self) -> None:
        """Answer the request."""
        if self.cache in self.scope.get(RENDERING, ()):
            # This cache renders already, outside: what it would wait for here is itself.
            await self.middleware.app(self.scope, self.receive, self.send)
            return
        with self.context.active():
            cache, floor = self.cache, self.context.floor
            if self._unfit() or not (cache.settled(floor) or await cache.settle(floor)):
                await self._forward()
                return
            entry = await self._find() if not self.missed else None
            if entry is None and self.method == "GET" and self._sociable():
                taken = await cache.flights.take(lambda: self.key, self._find, self.middleware.max_wait)
                if isinstance(taken, Turn):
                    if taken.late:
                        self.no_waiting()
                    await self.render(taken)
                    return
                self.collapsed, entry = True, taken
            if entry is not None:
                await self._serve(entry)
            elif "only-if-cached" in self._asked():
                await problem(504, detail="Not in the cache.")(self.scope, self.receive, self.send)
            elif self.method == "HEAD":
                await self._head()
            else:
                await self.render(Turn(cache.flights, self.key))

    # -- what kind of request it is ------------------------------------------------------------------

    def _unfit(self) -> bool:
        """Requests that the cache has no part in: GET with a body, or an ambiguous one."""
        length = self.watched.get(b"content-length", b"0")
        return b"transfer-encoding" in self.watched or length != b"0" or self.ambiguous

    @property
    def ambiguous(self) -> bool:
        """Whether it may stand for something else: by another method, path or host."""
        return bool(self.watched.keys() & _OVERRIDING) or len(find_all(self.scope["headers"], b"host")) > 1

    def _identified(self) -> bool:
        """Whether it says who asks, and its rule does not say that this is no matter."""
        rule, watched = self.target.rule, self.watched
        if rule is None or not rule.gives_lifetime:
            return False
        if b"cookie" in watched and rule.cookies == "private":
            return True
        return rule.identity == "private" and bool(watched.keys() & _IDENTIFYING)

    def _sociable(self) -> bool:
        """Whether waiting for another request's render is likely to pay."""
        asked = self._asked()
        if b"authorization" in self.watched or self._identified():
            return False
        if "only-if-cached" in asked or "no-store" in asked or (self._followed() and "no-cache" in asked):
            return False
        return self.middleware.unshared.get(self.target.key, 0.0) <= self.cache.clock.monotonic()

    def _followed(self) -> bool:
        """Whether the rule has the request's directives count by which anybody sends load past the cache."""
        return self.target.rule is not None and self.target.rule.client_control == "follow"

    def _asked(self) -> Mapping[str, str]:
        """The request's directives: advisory (RFC 9111 §5.2.1). ``no-store`` and ``only-if-cached`` are
        always followed."""
        value = self.watched.get(b"cache-control")
        return directives.parse((value,)) if value is not None else {}

    # -- from the store ------------------------------------------------------------------------------

    async def _find(self) -> Entry | None:
        """An entry that may answer this request, fresh or stale. One that has expired is remembered: it is
        good for validation, and if the app fails."""
        self.expired = self.parts = None
        self.key, entry = await select(self.cache, self.target, self.scope["headers"], self.context.floor)
        if entry is not None:  # also one that is gone: the next render is to know of its groups
            self.cache.require(self.context, entry.slots, entry.subject)
        if entry is not None and entry.status == PARTS and not self._within(entry):
            entry = await newest(self.cache, self.key)
        if entry is None or not self._may_have(entry):
            return None
        if entry.status == PARTS:
            self.parts = entry if self.cache.judge(entry, self.context.floor) is Verdict.VALID else None
            return None
        state = self.state(entry)
        if state is State.EXPIRED:
            self.expired = entry
        return entry if state in (State.FRESH, State.STALE) else None

    def state(self, entry: Entry) -> State:
        """What an entry is good for to this request."""
        state = self.cache.state(entry, self.context.floor)
        return wanted(self._asked(), entry, state, self.cache.log.now()) if self._followed() else state

    def _within(self, entry: Entry) -> bool:  # noqa: ARG002 - for ranges
        """Whether parts are enough to answer from."""
        return False

    def _may_have(self, entry: Entry) -> bool:
        if b"authorization" in self.watched and not entry.flags & SHARED:
            return False
        return not (entry.flags & BY_RULE and self._identified())

    async def _serve(self, entry: Entry) -> None:
        cache, now = self.cache, self.cache.log.now()
        fresh = cache.state(entry, self.context.floor) is State.FRESH
        if not fresh or now >= entry.refresh_at:
            self._refresh(entry)
        left = b"%d" % (entry.fresh_until - now)
        how = b"fwd=uri-miss; collapsed" if self.collapsed else b"hit"
        cache.observed("hit" if fresh else "stale")
        await self.reply(entry, x_cache=b"HIT" if fresh else b"STALE", cache_status=how + b"; ttl=" + left)

    async def reply(self, entry: Entry, *, x_cache: bytes, cache_status: bytes) -> None:
        """Answer from an entry, its preconditions looked at (RFC 9111 §4.3.2)."""
        self.context.read_all(entry.positions)
        age = age_of(entry, self.cache.log.now())
        headers = head_of(entry, age, self.target.rule, x_cache=x_cache, cache_status=cache_status)
        for message in self.precondition(entry.status, headers) or self._content(entry, headers):
            await self.send(message)

    def _content(self, entry: Entry, headers: RawHeaders) -> list[Message]:
        return [
            {"type": "http.response.start", "status": entry.status, "headers": headers},
            {"type": "http.response.body", "body": b"" if self.method == "HEAD" else entry.body},
        ]

    def precondition(self, status: int, headers: RawHeaders) -> list[Message] | None:
        """What to answer instead, where the request's preconditions ask for 304 or 412."""
        if self.preconditions is None or status != 200:
            return None
        etag, modified = find(headers, b"etag"), find(headers, b"last-modified")
        verdict = evaluate(self.method, self.preconditions, etag=etag, last_modified=modified)
        if verdict == 200:
            return None
        if verdict == 412:
            return problem(412).messages(self.method)
        return [
            {"type": "http.response.start", "status": 304, "headers": not_modified_headers(headers)},
            {"type": "http.response.body", "body": b""},
        ]

    # -- from the app --------------------------------------------------------------------------------

    async def render(self, turn: Turn) -> None:
        """Have the app answer, storing what may be stored."""
        try:
            if not await self._render(turn, self.expired):
                self.parts = None
                self._again = True
                await self._render(turn, None)
        finally:
            turn.abandon()

    async def _render(self, turn: Turn, expired: Entry | None) -> bool:
        """False when the answer is about something else than what the app was to validate or complete."""
        scope = self._render_scope(expired)
        responder = self._responder(scope, turn, expired)
        try:
            await self.middleware.app(scope, self._receive, responder)
            await responder.finish()
        except Exception:
            if not await responder.failed():
                raise
        finally:
            responder.end()
            if not responder.mismatched:  # else the app is asked once more
                scope.tell(self.scope)
        return not responder.mismatched

    def _responder(self, scope: WatchedScope, turn: Turn, expired: Entry | None) -> Responder:
        return (Completion if self._ranged() else Responder)(self, scope, turn, expired)

    def _ranged(self) -> RawHeaders:
        """The fields by which the app is asked for a part only: what is missing of the stored ones."""
        return rest_of(self.parts, self.middleware.max_body) if self.method == "GET" else []

    async def _receive(self) -> Message:
        if self._again:
            self._again = False
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await self.receive()
        if message["type"] == "http.request" and (message.get("body") or message.get("more_body")):
            self.body = True  # HTTP/2 needs no Content-Length for it (RFC 9113 §8.1.1)
        return message

    def _render_scope(self, expired: Entry | None) -> WatchedScope:
        """The request as the app sees it: a full GET, whatever the client has, so that it can be stored; or
        one for what is missing."""
        headers: RawHeaders = [pair for pair in self.scope["headers"] if pair[0] not in _CONDITIONAL]
        asking = precondition_of(expired) if expired is not None else None
        if asking is not None:
            headers.append(asking)
        headers += self._ranged()
        return WatchedScope({**self.scope, "headers": headers, RENDERING: self._rendering()}, self.context)

    def _rendering(self) -> tuple["Cache", ...]:
        return (*self.scope.get(RENDERING, ()), self.cache)

    def _refresh(self, entry: Entry) -> None:
        if not self.cache.flights.flying(self.key):
            self.cache.spawn(self._background(entry))

    async def _background(self, entry: Entry) -> None:
        """Render anew with nobody waiting (RFC 5861 §3)."""
        turn = await self.cache.lead_refresh(self.key, entry)
        if turn is None:
            return
        scope = {name: value for name, value in self.scope.items() if name not in OF_A_RENDER}
        scope |= {
            "method": "GET",
            "headers": [pair for pair in scope["headers"] if pair[0] not in _CONDITIONAL],
        }
        scope["state"] = dict(scope.get("state", ()))
        nobody = _Nobody()
        again = Exchange(self.middleware, scope, nobody.receive, nobody.send, self.target)
        again.key, again.expired = self.key, entry
        with again.context.active():
            try:
                async with asyncio.timeout(_REFRESH):
                    await again.render(turn)
            except TimeoutError:
                _log.warning("%s was not refreshed within %g s", self.target.path, _REFRESH)

    async def _head(self) -> None:
        """HEAD goes to the app as it is; its answer may be news of what is stored for GET."""
        expired = self.expired
        if expired is None:
            await self._forward(x_cache=b"MISS", fwd=b"uri-miss")
            return
        scope = WatchedScope({**self.scope, RENDERING: self._rendering()}, self.context)
        recorder = Recorder(self, scope, Turn(self.cache.flights, self.key))

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": raw_headers(message)}
                await recorder.headed(expired, message["status"], message["headers"])
                message["headers"] += ((b"x-cache", b"MISS"), (b"cache-status", b"ramkit; fwd=stale"))
            await self.send(message)

        self.cache.observed("miss")
        try:
            await self.middleware.app(scope, self.receive, send)
        finally:
            scope.tell(self.scope)

    async def _forward(self, *, x_cache: bytes = b"BYPASS", fwd: bytes = b"bypass") -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = ((b"x-cache", x_cache), (b"cache-status", b"ramkit; fwd=" + fwd))
                message = {**message, "headers": [*message.get("headers", ()), *said]}
            await self.send(message)

        self.cache.observed(x_cache.decode().lower())
        await self.middleware.app(self.scope, self.receive, send)

    def no_waiting(self) -> None:
        """The response was not to be shared: for a while nobody waits for the next one."""
        self._unshare(self.target.key)

    def _unshare(self, key: bytes) -> None:
        unshared, now = self.middleware.unshared, self.cache.clock.monotonic()
        if len(unshared) >= _UNSHARED_KEYS:
            unshared.clear()
        unshared[key] = now + _UNSHARED

    def decision(self) -> Request:
        """What is known of the request when its response begins, and again when it ends."""
        return Request(
            authorized=b"authorization" in self.watched,
            identified=self._identified(),
            body=self.body,
            personal=self.context.personal,
            no_store="no-store" in self._asked(),
            rule=self.target.rule,
        )


class _Nobody:
    """A client that has sent its request, waits, and takes whatever comes."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked = False

    async def receive(self) -> Message:
        if self._asked:
            await asyncio.Event().wait()
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        """Nothing becomes of it."""
