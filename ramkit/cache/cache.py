"""The cache itself: a store, its log of purges, and what both say of an entry."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from ramkit.cache.core import purging
from ramkit.cache.core.entry import VARIANTS, Entry
from ramkit.cache.core.keys import host_of, select_query
from ramkit.cache.core.purging import PurgeTable, Verdict
from ramkit.cache.core.serving import State, state_of
from ramkit.cache.core.validating import can_be_validated
from ramkit.cache.events import CacheLookup, CachePurge
from ramkit.cache.flight import Flights, Turn
from ramkit.cache.memoize import Memoized, MemoizePolicy
from ramkit.cache.policy import Rule
from ramkit.cache.port import Store
from ramkit.cache.purges import Purges
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.context import Floor, RequestContext, Transaction
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.lifespan import LoopBound
from ramkit.kernel.observers import Observer, notify, observers_of

__all__ = ["Cache"]

_log = logging.getLogger("ramkit.cache")

F = TypeVar("F", bound=Callable[..., Any])


class Cache:
    """Owns the store and the purging; ``CacheMiddleware`` and ``memoize`` stand on it.

    ``store``: ``"memory://"``, a Redis URL (the in-process tier over Redis), or a store.
    ``name`` tells caches of one application apart. ``prefix`` begins all keys in Redis.
    ``max_bytes`` bounds what this process keeps. Starts with its first use; ``aclose`` ends it.
    """

    def __init__(
        self,
        store: str | Store = "memory://",
        *,
        name: str = "cache",
        prefix: str = "rk:",
        max_bytes: int = 64 * 2**20,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if not name or not name.isidentifier():
            raise ConfigurationError("name", f"{name!r} is no identifier")
        self.name = name
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.observers = observers_of(observers)
        self._tasks = LoopBound()
        self.store = _store_of(store, name, prefix, max_bytes, self.clock, self.observers)
        self.table = PurgeTable()
        self.log = self.store.log(self.table)
        self.spawn = self._tasks.spawn
        self.flights: Flights[Entry] = Flights(self.store.leases(), self.clock, self.spawn)
        self.purges = Purges(self.log, self.spawn)
        #: the furthest floor ahead of the log after which everything was purged
        self._repaired = (0, 0)
        self._repairing = False
        self._rules: list[tuple[Rule, ...]] = []
        #: the names of memoized functions, as they are in keys
        self.memoized: set[str] = set()

    async def start(self) -> None:
        """Begin to follow the log. Does not fail because Redis is away."""
        await self.log.start()

    async def aclose(self) -> None:
        """Send the purges that wait, end what runs in the background and close what this cache opened.
        Usable again afterwards."""
        if self.purges.waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_TRY):
                    await self.purges.flush()
        if self.purges.waiting:
            _log.error(
                "%d purges were never confirmed: what they are of may be served", len(self.purges.waiting)
            )
        await self._tasks.aclose()
        await self.store.aclose()

    # -- purging ------------------------------------------------------------------------------------

    async def purge(self, url: str, *urls: str, soft: bool = False, replicas: int = 0) -> None:
        """Purge URLs with all their variants and methods: ``https://host/path?query`` just that one,
        ``/path`` for every host, scheme and query.

        When it returns, this process serves nothing of it, nor does any process to whoever carries this
        request's floor, nor any process at all that has read the log. ``soft``: what is there counts as
        stale and may be served while it is refreshed. ``replicas``: wait until so many replicas of Redis
        have it. Raises ``PurgeUnconfirmed`` when the log does not confirm it within the deadline.

        In a transaction (``db.write()``) all purges wait for COMMIT, go out before the ``async with`` is
        left, which then is what raises ``PurgeUnconfirmed``, and vanish with a rollback.
        """
        names = [name for each in (url, *urls) for name in self._names_of_url(each)]
        await self._purge(names, (), soft=soft, replicas=replicas)

    async def purge_groups(self, group: str, *groups: str, soft: bool = False, replicas: int = 0) -> None:
        """Purge whatever was stored in any of these groups. Costs the same whatever their size."""
        await self._purge(
            [purging.group_name(each) for each in (group, *groups)], (), soft=soft, replicas=replicas
        )

    async def purge_prefix(self, path: str, *, soft: bool = False, replicas: int = 0) -> None:
        """Purge a path and all below it, by whole segments: ``/posts`` is not ``/postscript``. As in a URL,
        what is not ASCII may be percent-encoded."""
        _check_path("path", path)
        await self._purge([purging.prefix_name(unquote(path))], (), soft=soft, replicas=replicas)

    async def purge_matching(self, pattern: str, *, soft: bool = False, replicas: int = 0) -> None:
        """Purge the decoded paths that match: ``*`` any run of characters, also over ``/``, ``?`` any one.

        A pattern is looked at with each entry that is older than it; 64 are kept, beyond that the
        oldest becomes a purge of everything that is older than it.
        """
        _check_path("pattern", pattern.replace("*", "/", 1) if pattern.startswith("*") else pattern)
        await self._purge((), [pattern], soft=soft, replicas=replicas)

    async def purge_names(self, names: Iterable[str]) -> None:
        """Purge by names of ``ramkit.cache.core.purging``."""
        await self._purge(names, (), soft=False, replicas=0)

    async def _purge(
        self, names: Iterable[str], patterns: Iterable[str], *, soft: bool, replicas: int
    ) -> None:
        transaction = Transaction.current()
        names, patterns = list(names), list(patterns)
        if transaction is None:
            await self._send(names, patterns, soft=soft, replicas=replicas)
            return
        # A mistake is told here. The purge follows the COMMIT, if there is one.
        purging.message(names, patterns=patterns, soft=soft)
        transaction.defer(lambda: self._send(names, patterns, soft=soft, replicas=replicas))

    async def _send(
        self, names: Iterable[str], patterns: Iterable[str], *, soft: bool, replicas: int
    ) -> None:
        context = RequestContext.current()
        positions = context.floor.positions if context is not None else None
        message = purging.message(names, patterns=patterns, soft=soft, positions=positions)
        confirmed = False
        try:
            incarnation, epoch = await self.purges.send(message, replicas=replicas)
            confirmed = True
            if context is not None:
                context.floor.raise_epoch(self.name, incarnation, epoch)
        finally:
            if not confirmed and context is not None:
                context.floor.go_past(self.name)
            if self.observers:
                notify(self.observers, CachePurge(self.name, "confirmed" if confirmed else "unconfirmed"))

    def adopt(self, rules: Iterable[Rule]) -> None:
        """A middleware's rules, by which the query of a URL that is purged is read."""
        self._rules.append(tuple(rules))

    def _names_of_url(self, url: str) -> list[str]:
        """The purge names of a URL, or of a path alone."""
        if url.startswith("/") and not url.startswith("//"):
            if "?" in url:
                raise ValueError(
                    f"url: {url!r} has a query but no host; a path alone is purged with every query"
                )
            return [purging.path_name(unquote(url))]
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"url: {url!r} is neither a path nor an http(s) URL")
        authority = parts.netloc.rpartition("@")[2]
        host = host_of(parts.scheme, authority.encode("ascii" if authority.isascii() else "idna"))
        path, query = unquote(parts.path) or "/", parts.query.encode()
        ruled = [next((rule for rule in rules if rule.matches(path)), None) for rules in self._rules]
        queries = {query, *(select_query(query, rule) for rule in ruled if rule is not None)}
        return [purging.url_name(parts.scheme, host, path, each.decode()) for each in sorted(queries)]

    # -- memoizing ----------------------------------------------------------------------------------

    def memoize(
        self,
        *,
        ttl: float,
        key: Callable[..., str] | None = None,
        groups: Iterable[str] | Callable[..., Iterable[str]] = (),
        stale_while_revalidate: float = 0,
        stale_if_error: float = 0,
    ) -> Callable[[F], F]:
        """Cache what an async function returns, with the same stores, groups, locks and guarantees.

        ``ttl`` and the two windows in seconds. ``key`` makes a string of the arguments; without it they
        are encoded by msgspec. ``groups``: names, or a function of the arguments that gives them.
        Values are encoded by msgspec and decoded as the function's return annotation says; ``None`` is a
        value. The wrapped function has ``purge(*args, **kwargs)`` for one call's value.
        """
        policy = MemoizePolicy(ttl, key, groups, stale_while_revalidate, stale_if_error)

        def decorate(function: F) -> F:
            wrapped: Any = Memoized(self, function, policy)
            return wrapped  # type: ignore[no-any-return]  # a callable of the same signature

        return decorate

    # -- for the middleware and memoize -----------------------------------------------------------

    def settled(self, floor: Floor | None) -> bool:
        """Whether this process can judge entries for that floor now, without I/O."""
        if self.purges.waiting or not self.log.current():
            return False
        return floor is None or (self.name not in floor.bypass and not self._below(floor))

    async def settle(self, floor: Floor | None) -> bool:
        """Make this process able to judge entries for that floor; False when it cannot be done."""
        if floor is not None and self.name in floor.bypass:
            return False
        try:
            async with asyncio.timeout(_SETTLE):
                if self.purges.waiting and not await self.purges.flush():
                    return False
                if not self.log.current() or (floor is not None and self._below(floor)):
                    await self.log.catch_up()
                return floor is None or not self._below(floor) or await self._repair(floor)
        except (Unavailable, TimeoutError):
            return False

    def _below(self, floor: Floor) -> bool:
        wanted = floor.epochs.get(self.name)
        return wanted is not None and (wanted[0] != self.log.incarnation or wanted[1] > self.log.epoch)

    async def _repair(self, floor: Floor) -> bool:
        """The log has been read and the floor is still not in it: the log has lost something.

        Of another incarnation, it was lost as a whole, with all that was rendered before. Ahead in this
        one, its tail was: then everything stored counts as purged.
        """
        place = floor.epochs[self.name]
        if place[0] == self.log.incarnation and place > self._repaired:
            if self._repairing:
                return False
            self._repairing = True
            try:
                await self.log.append(purging.message((), patterns=("*",)))
                self._repaired = place
            finally:
                self._repairing = False
        floor.epochs[self.name] = self.log.incarnation, self.log.epoch
        return True

    def judge(self, entry: Entry, floor: Floor | None) -> Verdict:
        """What the log and the databases' positions say of an entry, for a request with that floor."""
        if floor is not None and floor.positions and entry.misses(floor.positions):
            return Verdict.GONE
        if entry.checked == self.table.version:
            return Verdict.VALID
        wanted = floor.epochs.get(self.name) if floor is not None else None
        verdict = self.table.judge(entry, wanted[1] if wanted and wanted[0] == self.log.incarnation else 0)
        if verdict is Verdict.VALID:
            entry.checked = self.table.version
        return verdict

    def state(self, entry: Entry, floor: Floor | None) -> State:
        """What an entry is good for now, for a request with that floor."""
        return state_of(entry, self.judge(entry, floor), self.log.now())

    async def find(self, key: bytes, floor: Floor | None) -> Entry | None:
        """The entry as this process has it, if it is fresh, else as the store has it; not judged."""
        entry = self.store.peek(key)
        if entry is None or (entry.status != VARIANTS and self.state(entry, floor) is not State.FRESH):
            # Without Redis, what this process has is judged all the same.
            with suppress(Unavailable):
                entry = await self.store.get(key) or entry
        return entry

    async def lead_refresh(self, key: bytes, entry: Entry) -> Turn | None:
        """The turn to render ahead of expiry; None when someone does, or has done so already."""
        turn = await self.flights.try_lead(key)
        if turn is None:
            return None
        try:
            newer = await self.store.get(key)
        except Unavailable:
            return turn
        except BaseException:
            turn.abandon()
            raise
        if newer is None or newer.stored <= entry.stored or self.state(newer, None) is not State.FRESH:
            return turn
        turn.stored()
        return None

    def pardon(self, entry: Entry, floor: Floor | None) -> bool:
        """stale-if-error (RFC 5861 §4): whether the entry may stand in for a render that failed. For a
        moment it then counts as stale-while-revalidate, so that not each request tries again."""
        now = self.log.now()
        if now >= entry.error_until or self.state(entry, floor) is State.GONE:
            return False
        entry.revalidate_until = max(entry.revalidate_until, min(now + _ERROR_PAUSE, entry.error_until))
        return True

    def require(self, context: RequestContext, slots: Collection[int], subject: str) -> None:
        """Have what is read from here on not lack what purges of these slots, or of that path, were about."""
        if self.table.writes:
            context.require(self.table.written(slots, subject))

    def overtaken(self, entry: Entry) -> bool:
        """Whether it is older than a purge: it was rendered before, or from a replica that did not have
        what was written then. The next render knows of that."""
        if entry.status == VARIANTS:
            return False
        return self.table.judge(entry) is Verdict.GONE or entry.misses(
            self.table.written(entry.slots, entry.subject)
        )

    def outlived(self, seconds: float) -> bool:
        """Whether nothing can be served any more that was made so long ago, in whichever process."""
        return self.log.current() and seconds > self.table.longest + _UNDERWAY

    async def _tell(self, lifetime: float) -> None:
        """Before something is stored for longer than anything before, every process hears of it: in powers
        of two, so that it is news but a few times. Raises ``Unavailable``."""
        seconds = min(lifetime, _LONGEST)
        if seconds > self.table.longest:
            longest = 1 << math.ceil(seconds - 1).bit_length()
            await self.log.append(purging.message((), longest=longest))

    async def keep(self, key: bytes, entry: Entry) -> bool:
        """Store what was rendered, unless it was purged meanwhile. Whether it was stored."""
        if self.overtaken(entry):
            return False
        lifetime = max(entry.fresh_until, entry.revalidate_until, entry.error_until) - self.log.now()
        ttl = max(lifetime, 0.0) + _VALIDATION_TTL if can_be_validated(entry) else lifetime
        if ttl <= 0:
            return False
        try:
            if entry.status != VARIANTS:
                await self._tell(lifetime)
            return await self.store.set(key, entry, ttl)
        except Unavailable:
            return False

    def observed(self, result: str) -> None:
        """Tell the observers how a lookup ended."""
        if self.observers:
            notify(self.observers, CacheLookup(self.name, result))


#: Seconds that a request waits until this process has heard what it has to; it then does without.
_SETTLE = 0.2
#: Seconds that closing waits for purges that are not confirmed.
_LAST_TRY = 1.0
#: Seconds for which a stale entry stands in for failures before the next try.
_ERROR_PAUSE = 1.0
#: Seconds that a response with a validator is kept beyond its use, because a 304 makes it fresh again.
_VALIDATION_TTL = 300.0
#: Seconds for renders on their way into the store, for what this process has not heard yet, and for clocks
#: that differ.
_UNDERWAY = 60.0
#: Seconds beyond which lifetimes are not told apart (RFC 9111 §1.2.2).
_LONGEST = 2**31


def _store_of(
    store: object, name: str, prefix: str, max_bytes: int, clock: Clock, observers: tuple[Observer, ...]
) -> Store:
    if not isinstance(store, str):
        if not all(hasattr(store, method) for method in ("peek", "get", "set", "log", "leases", "aclose")):
            raise ConfigurationError("store", f"{store!r} is neither a URL nor a store")
        found: Any = store
        return found  # type: ignore[no-any-return]  # checked above, member by member
    from ramkit.cache.backends.memory import MemoryStore

    local = MemoryStore(max_bytes, clock=clock)
    if store == "memory://":
        return local
    if not store.partition("://")[0].startswith(("redis", "unix")):
        raise ConfigurationError("store", f"{store!r} is neither memory:// nor a Redis URL")
    from ramkit.cache.backends.redis import RedisStore
    from ramkit.cache.backends.tiered import TieredStore

    return TieredStore(
        RedisStore(store, prefix=prefix, name=name, clock=clock, observers=observers), local=local
    )


def _check_path(argument: str, path: str) -> None:
    if not path.startswith("/"):
        raise ValueError(f"{argument}: {path!r} must begin with '/'")
