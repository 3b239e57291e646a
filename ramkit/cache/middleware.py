"""Serves HTTP from a cache: the hit that this process can answer by itself, and the way to the rest."""

from collections.abc import Iterable

from ramkit.cache.cache import Cache
from ramkit.cache.core.entry import VARIANTS, Entry
from ramkit.cache.core.keys import Target, variant
from ramkit.cache.core.serving import age_of, head_of
from ramkit.cache.exchange import WATCHED
from ramkit.cache.policy import Rule, check_seconds
from ramkit.cache.ranges import exchange_of
from ramkit.cache.unsafe import forward_unsafe
from ramkit.kernel.asgi import ASGIApp, RawHeaders, Receive, Scope, Send
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.lifespan import follow_lifespan

__all__ = ["CacheMiddleware"]

_ANSWERED = frozenset({"GET", "HEAD"})
#: neither answered here nor a reason to purge (RFC 9110 §9.2.1)
_SAFE = frozenset({"OPTIONS", "TRACE"})
#: Targets remembered, and the longest path with its query that is worth it.
_TARGETS, _LONGEST = 4096, 512


class CacheMiddleware:
    """A shared HTTP cache (RFC 9111) in front of an ASGI app.

    ``cache``: where responses are kept. ``rules``: the first that matches a path says more about its
    responses. ``default_ttl``: seconds, for responses that no rule is about and that say nothing
    themselves; None leaves them uncached. ``max_body``: bytes, larger responses are passed on and not
    kept. ``max_wait``: seconds that a request waits for another one's render of the same response
    before it makes its own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        cache: Cache,
        rules: Iterable[Rule] = (),
        default_ttl: float | None = None,
        max_body: int = 2**20,
        max_wait: float = 10.0,
    ) -> None:
        if not isinstance(cache, Cache):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without types
            raise ConfigurationError("cache", f"{cache!r} is not a ramkit.cache.Cache")
        self.rules = tuple(rules)
        for rule in self.rules:
            if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without types
                raise ConfigurationError("rules", f"{rule!r} is not a ramkit.cache.Rule")
        if default_ttl is not None:
            self.rules += (Rule("*", ttl=check_seconds("default_ttl", default_ttl)),)
        if max_body < 1:
            raise ConfigurationError("max_body", f"{max_body!r} is no number of bytes")
        self.app, self.cache, self.max_body = app, cache, max_body
        self.max_wait = check_seconds("max_wait", max_wait)
        cache.adopt(self.rules)
        self._targets: dict[tuple[str, bytes | None, str, str, bytes | None, bytes], Target] = {}
        self._table, self._waiting = cache.table, cache.purges.waiting
        self._peek, self._get = cache.store.peek, cache.store.get
        self._log, self._monotonic, self._observers = cache.log, cache.log.clock.monotonic, cache.observers
        #: keys whose response was not to be shared, until when (monotonic): nobody waits for those
        self.unshared: dict[bytes, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (method := scope["method"]) not in _ANSWERED:
            await self._pass_by(scope, receive, send)
            return
        # From here to the answer every step costs each hit; benchmarks/cache.py counts them.
        headers: RawHeaders = scope["headers"]
        if type(headers) is not list:
            headers = scope["headers"] = list(headers)  # any iterable is legal; it is read more than once
        context: RequestContext | None = scope.get("ramkit.context")
        host, plain = None, context is None or context.floor.bare
        for name, value in headers:
            if name in WATCHED:
                if name != b"host" or host is not None:
                    plain = False
                else:
                    host = value
        try:
            path, raw, query = scope["path"], scope["raw_path"], scope["query_string"]
            target = self._targets[scope["scheme"], host, scope["root_path"], path, raw, query]
        except KeyError:
            target = self._target(scope, host)
        missed = False
        if plain and not self._waiting and (tick := self._monotonic()) <= self._log.until:
            known = self._peek(target.key) or await self._fetch(target.key)
            missed = known is None
            if known is not None and (
                (
                    known.checked == self._table.version
                    and known.stored <= tick + self._log.offset < known.head_until
                )
                or (known := self._ready(known, target, headers)) is not None
            ):
                if self._observers or context is not None:
                    self._hit(known, context)
                # A list of its own for each response: what is outside may add headers in place.
                head, body = known.head.copy(), known.body if method == "GET" else b""
                await send({"type": "http.response.start", "status": known.status, "headers": head})
                await send({"type": "http.response.body", "body": body})
                return
        await exchange_of(self, scope, receive, send, target, missed=missed).run()

    def _hit(self, entry: Entry, context: RequestContext | None) -> None:
        self.cache.observed("hit")
        if context is not None:
            context.read_all(entry.positions)

    async def _fetch(self, key: bytes) -> Entry | None:
        """What the store has, judged for a request without a floor."""
        try:
            entry = await self._get(key)
        except Unavailable:
            return None
        if entry is not None and entry.status >= 200:
            self.cache.judge(entry, None)
        return entry

    def _ready(self, entry: Entry, target: Target, headers: RawHeaders) -> Entry | None:
        """The entry, or its variant for this request, if it is a hit with nothing left to ask or to decide;
        its head is made."""
        known = entry if entry.status != VARIANTS else self._variant(entry, target, headers)
        if known is None or known.checked != self._table.version:
            return None
        now = self._log.now()
        # no response; expired, due for a refresh, or from the future
        if known.status < 200 or not known.stored <= now < known.refresh_at:
            return None
        if now >= known.head_until:
            age, status = age_of(known, now), b"hit; ttl=%d" % (known.fresh_until - now)
            known.head = head_of(known, age, target.rule, b"HIT", status)
            known.head_until = min(known.stored - known.age + age + 1, known.refresh_at)
        return known

    def _variant(self, known: Entry, target: Target, headers: RawHeaders) -> Entry | None:
        """The variant for this request, as far as this process has it."""
        for names, _ in known.headers:
            entry = self._peek(variant(target.key, names.split(b","), headers, target.rule))
            if entry is not None:
                return entry
        return None

    async def _pass_by(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, self.cache)
        elif scope["type"] != "http" or scope["method"] in _SAFE:
            await self.app(scope, receive, send)
        else:
            await forward_unsafe(self, scope, receive, send)

    def _target(self, scope: Scope, host: bytes | None) -> Target:
        target = Target(scope, self.rules)
        raw: bytes = scope.get("raw_path") or b""
        query: bytes = scope.get("query_string", b"")
        path: str = scope["path"]
        if host and len(path) + len(raw) + len(query) + len(host) <= _LONGEST:
            if len(self._targets) >= _TARGETS:
                self._targets.clear()
            scheme, root = scope.get("scheme", ""), scope.get("root_path", "")
            self._targets[scheme, host, root, path, scope.get("raw_path"), query] = target
        return target
