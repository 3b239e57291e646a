"""Serves HTTP from a cache: the hit that this process can answer by itself, and the way to the rest."""

from collections.abc import Iterable

from ramkit.cache.cache import Cache
from ramkit.cache.core.entry import Entry
from ramkit.cache.core.keys import Target, target_of
from ramkit.cache.core.serving import age_of, head_of
from ramkit.cache.exchange import Exchange
from ramkit.cache.policy import Rule, check_seconds
from ramkit.cache.unsafe import forward_unsafe
from ramkit.kernel.asgi import ASGIApp, RawHeaders, Receive, Scope, Send
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.lifespan import follow_lifespan

__all__ = ["CacheMiddleware"]

#: Request fields that decide about caching; a request with none but Host takes the short way.
_WATCHED = frozenset(
    {b"host", b"authorization", b"cookie", b"cache-control", b"pragma", b"range", b"content-length",
     b"transfer-encoding", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",
     b"if-range"}
)  # fmt: skip
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
        self._targets: dict[tuple[str, bytes, str, bytes | None, bytes], Target] = {}
        self._table, self._peek, self._waiting = cache.table, cache.store.peek, cache.purges.waiting
        self._now, self._current, self._observers = cache.log.now, cache.log.current, cache.observers
        #: keys whose response was not to be shared, until when (monotonic): nobody waits for those
        self.unshared: dict[bytes, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _ANSWERED:
            await self._pass_by(scope, receive, send)
            return
        # From here to the answer every step costs each hit; benchmarks/cache.py counts them.
        headers: RawHeaders = scope["headers"]
        if type(headers) is not list:
            headers = scope["headers"] = list(headers)  # any iterable is legal; it is read more than once
        host, plain = b"", "ramkit.context" not in scope
        for name, value in headers:
            if name in _WATCHED:
                if name != b"host" or host:
                    plain = False
                else:
                    host = value
        try:
            target = self._targets[
                scope["scheme"], host, scope["path"], scope["raw_path"], scope["query_string"]
            ]
        except KeyError:
            target = self._target(scope, host)
        if plain:
            entry = self._peek(target.key)
            if entry is not None and entry.checked == self._table.version and self._current():
                now = self._now()
                # What was found valid has refresh_at; what is due, or no response, goes the long way.
                if now < entry.refresh_at and entry.status >= 200 and not self._waiting:
                    if now >= entry.head_until:
                        self._make_head(entry, now, target)
                    if self._observers:
                        self.cache.observed("hit")
                    body = entry.body if scope["method"] == "GET" else b""
                    # A list of its own for each response: what is outside may add headers in place.
                    head = entry.head.copy()
                    await send({"type": "http.response.start", "status": entry.status, "headers": head})
                    await send({"type": "http.response.body", "body": body})
                    return
        await Exchange(self, scope, receive, send, target).run()

    async def _pass_by(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, self.cache)
        elif scope["type"] != "http" or scope["method"] in _SAFE:
            await self.app(scope, receive, send)
        else:
            await forward_unsafe(self.app, self.cache, scope, receive, send)

    def _make_head(self, entry: Entry, now: float, target: Target) -> None:
        """The headers of a hit are good until the entry's age is a second more."""
        status = b"hit; ttl=%d" % (entry.fresh_until - now)
        entry.head = head_of(entry, now, target.rule, x_cache=b"HIT", cache_status=status)
        entry.head_until = entry.stored - entry.age + age_of(entry, now) + 1

    def _target(self, scope: Scope, host: bytes) -> Target:
        raw: bytes | None = scope.get("raw_path")
        path: str = scope["path"]
        query: bytes = scope.get("query_string", b"")
        target = target_of(scope, host or _server(scope), self.rules)
        if len(path) + len(query) + len(host) <= _LONGEST:
            if len(self._targets) >= _TARGETS:
                self._targets.clear()
            self._targets[scope.get("scheme", ""), host, path, raw, query] = target
        return target


def _server(scope: Scope) -> bytes:
    """HTTP/1.0 without Host: the server's own address."""
    server = scope.get("server")
    return f"{server[0]}:{server[1]}".encode("latin-1", "replace") if server else b""
