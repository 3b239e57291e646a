"""Makes entries of what is rendered, and stores them."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ramkit.cache.core import purging
from ramkit.cache.core.conditional import make_etag
from ramkit.cache.core.entry import OWN_ETAG, SILENT, VARIANTS, Entry
from ramkit.cache.core.facts import Facts
from ramkit.cache.core.freshness import initial_age
from ramkit.cache.core.groups import groups_of
from ramkit.cache.core.keys import language_alias, variant
from ramkit.cache.core.purging import Verdict
from ramkit.cache.core.ranges import accept_ranges
from ramkit.cache.core.search import Search, parse
from ramkit.cache.core.serving import State, draw_refresh, kept_headers
from ramkit.cache.core.storing import Refused, Storable, judge
from ramkit.cache.core.validating import same_representation, updated
from ramkit.cache.flight import Turn
from ramkit.cache.lookup import SPECIFICATIONS, link
from ramkit.cache.reads import WatchedScope
from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.headers import find_all, well_formed

if TYPE_CHECKING:
    from ramkit.cache.exchange import Exchange

__all__ = ["Recorder"]


class Recorder:
    """One render's way into the store."""

    __slots__ = (
        "_begun",
        "_cache",
        "_exchange",
        "_now",
        "_place",
        "_scope",
        "_turn",
        "facts",
        "headers",
        "status",
        "storable",
    )

    def __init__(self, exchange: "Exchange", scope: WatchedScope, turn: Turn) -> None:
        self._exchange, self._cache, self._scope, self._turn = exchange, exchange.cache, scope, turn
        # Before the app reads anything: what is purged from now on, this render may not know.
        self.begin_anew()
        self._begun = self._cache.clock.monotonic()
        self._now = 0.0
        self.status = 0
        self.headers: RawHeaders = []
        self.facts = Facts([])
        self.storable: Storable | None = None

    def begin_anew(self) -> None:
        """From here on what is purged is newer than the response."""
        self._place = self._cache.log.incarnation, self._cache.log.epoch
        if self._cache.table.writes:
            self._cache.require(self._exchange.context, self._slots(), self._exchange.target.path)

    def unpurged(self) -> tuple[int, ...]:
        """The slots of what was begun; none if it is not to be stored, or purged since."""
        entry = self._entry(self.storable, b"", 0) if self.storable is not None else None
        if entry is None or self._cache.judge(entry, None) is not Verdict.VALID:
            return ()
        return entry.slots

    def begin(self, status: int, headers: RawHeaders, *, trailers: bool = False) -> str | None:
        """The head of the response is there. None if it may be stored, or the reason why not."""
        self.status, self.headers, self._now = status, headers, self._cache.log.now()
        self.facts = Facts(headers)
        reason = "trailers" if trailers else self._judge()
        if reason is None and not (well_formed(headers) and self._has_a_length()):
            reason = "header"  # a server would refuse it, each time
        if reason is not None:
            self.refuse(reason)
        return reason

    def _has_a_length(self) -> bool:
        """Whether Content-Length, if it is there, is one number (RFC 9110 §8.6)."""
        said = {*find_all(self.headers, b"content-length")}
        return not said or (len(said) == 1 and self.facts.length is not None)

    def _judge(self) -> str | None:
        exchange, facts = self._exchange, self.facts
        self._scope.conclude()
        if facts.length is not None and facts.length > exchange.middleware.max_body:
            return "too-large"
        if groups_of(facts.listed.get(b"cache-groups", ())) is None:
            return "cache-groups"
        now = self._cache.clock.time()
        storable = judge(exchange.decision(), self.status, facts, now=now, delay=self._delay)
        if isinstance(storable, Refused):
            return storable.reason
        self.storable = storable
        return None

    def refuse(self, reason: str) -> None:
        """It is not stored: whoever waits for it waits no longer."""
        self.storable = None
        if reason != "status" and self._turn.leading:
            self._exchange.no_waiting()
        self._turn.unshared()

    async def store(self, body: bytes) -> None:
        """The body is whole."""
        if self.storable is None:
            return
        reason = self._judge()  # again: a session may have been read since
        if reason is not None:
            self.refuse(reason)
            return
        flags = 0
        if self.status == 200 and b"etag" not in self.facts.single:
            self.headers.append((b"etag", make_etag(body)))
            flags = OWN_ETAG
        await self._keep(self._entry(self.storable, body, flags))

    async def validated(self, expired: Entry, headers: RawHeaders) -> Entry:
        """The app said 304 to the expired entry's validator: the entry with its new headers, stored if
        it may be. Its epoch is that of when the validation began: the body was right then."""
        # Age is not stored, but counts (§4.2.3).
        merged = updated(expired.headers, headers) + [pair for pair in headers if pair[0] == b"age"]
        if self.begin(expired.status, merged) is None and self.storable is not None:
            entry = self._entry(self.storable, expired.body, expired.flags & OWN_ETAG)
            # Of a database that the validation did not look at, the content is as old as it was.
            entry.positions = {**(expired.positions or {}), **(entry.positions or {})} or None
            await self._keep(entry)
            return entry
        # For this answer alone; its age is that of the 304 (§4.3.4).
        return replace(
            expired,
            stored=self._now,
            age=initial_age(self.facts, self._cache.clock.time(), self._delay),
            headers=kept_headers(merged, expired.status, len(expired.body)),
            flags=expired.flags & ~SILENT if b"cache-control" in self.facts.listed else expired.flags,
            head_until=0.0,
        )

    @property
    def _delay(self) -> float:
        """Seconds since the app was asked."""
        return self._cache.clock.monotonic() - self._begun

    async def headed(self, expired: Entry, status: int, headers: RawHeaders) -> None:
        """The app answered HEAD (§4.3.5): about what is stored, whose headers these are then, or about
        something else, and what is stored is stale."""
        if status != 200:
            return
        # Of what was purged a HEAD is no news: it may say nothing by which the content is known to be right.
        unpurged = self._cache.judge(expired, None) is Verdict.VALID
        if unpurged and expired.status == 200 and same_representation(expired, Facts(headers)):
            await self.validated(expired, headers)
        else:
            now = self._cache.log.now()
            stale = replace(
                expired,
                fresh_until=min(now, expired.fresh_until),
                revalidate_until=min(now, expired.revalidate_until),
                refresh_at=min(now, expired.refresh_at),
            )
            await self._cache.keep(self._exchange.key, stale)

    async def again(self, expired: Entry) -> None:
        """A stale entry stands in for a failure, for others, too, unless they have a newer one."""
        newer = await self._cache.find(self._exchange.key, None)
        if newer is None or newer.stored <= expired.stored:
            await self._cache.keep(self._exchange.key, expired)
        self._turn.stored()

    def _entry(self, storable: Storable, body: bytes, flags: int) -> Entry:
        target, now = self._exchange.target, self._now
        fresh_until = now + storable.fresh
        return Entry(
            *self._place,
            slots=self._slots(*(groups_of(self.facts.listed.get(b"cache-groups", ())) or ())),
            subject=target.path.encode("utf-8", "replace").decode(),  # no lone surrogates: it is stored
            stored=now,
            fresh_until=fresh_until,
            revalidate_until=now + storable.revalidate,
            error_until=now + storable.error,
            age=storable.age,
            refresh_at=draw_refresh(now, fresh_until, self._delay),
            flags=storable.flags | flags,
            status=self.status,
            positions=dict(self._exchange.context.positions) or None,
            headers=accept_ranges(
                kept_headers(self.headers, self.status, len(body), self.facts.no_cache_fields)
            ),
            body=body,
        )

    def _slots(self, *groups: str) -> tuple[int, ...]:
        """Of the names by which the response can be purged: of its URL, its rule's groups and its own."""
        target = self._exchange.target
        of_rule = target.rule.groups if target.rule is not None else ()
        names = (
            *purging.url_names(target.scheme, target.host, target.path, target.query),
            *map(purging.group_name, (*groups, *of_rule)),
        )
        return tuple(sorted({purging.slot(name) for name in names}))

    async def _keep(self, entry: Entry) -> None:
        exchange, vary = self._exchange, self.storable.vary if self.storable is not None else ()
        key, headers, rule = exchange.target.key, exchange.scope["headers"], exchange.target.rule
        vary = await self._remember_variant(entry, vary)
        if vary:
            key = variant(key, vary, headers, rule)
        entry = await self._joined(key, entry)
        kept, state = await self._cache.keep(key, entry), self._cache.state(entry, None)
        if kept and state in (State.FRESH, State.STALE):
            await self._remember_ways(entry, key, vary)
            self._turn.stored()
        elif state is State.GONE:
            self._turn.abandon()  # purged while it was rendered: the next one knows of that
        elif self._cache.overtaken(entry):
            self._turn.unshared()  # read from a replica that lacks what was written: so may the next one be
        else:
            self.refuse("not-kept")

    async def _joined(self, key: bytes, entry: Entry) -> Entry:  # noqa: ARG002 - for parts
        """What is to be stored under that key, given what is there."""
        return entry

    async def _remember_variant(self, entry: Entry, vary: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """What a URL's responses vary by is kept under its primary key, the newest first. A response
        without Vary, where others have it, is for requests like this one (RFC 9111 §4.1)."""
        key, names = self._exchange.target.key, b",".join(vary)
        known = await self._cache.find(key, None)
        if not vary and known is not None and known.status == VARIANTS and known.fresh_until > self._now:
            return tuple(known.headers[0][0].split(b","))
        if vary:
            await self._remember(key, names, entry, known)
        return vary

    async def _remember_ways(self, entry: Entry, key: bytes, vary: tuple[bytes, ...]) -> None:
        """By what else the entry can be found: its language, queries like its own."""
        target, headers = self._exchange.target, self._exchange.scope["headers"]
        language = self.facts.single.get(b"content-language", b"").strip().lower()
        negotiated = target.rule is not None and target.rule.accept_language == "negotiate"
        if negotiated and language and b"accept-language" in vary:
            await link(self._cache, entry, language_alias(target.key, vary, headers, language), to=key)
        spoken = b", ".join(self.facts.listed.get(b"no-vary-search", ()))
        if target.searchable and parse(spoken) != Search():
            await link(self._cache, entry, target.search_alias(spoken), to=target.key)
            known = await self._cache.find(target.searches, None)
            await self._remember(target.searches, spoken, entry, known)

    async def _remember(self, key: bytes, line: bytes, entry: Entry, known: Entry | None) -> None:
        """Put a specification first in the list under that key."""
        lines = [each for each, _ in known.headers] if known is not None and known.status == VARIANTS else []
        until = max(entry.fresh_until, entry.revalidate_until, entry.error_until)
        if not lines or lines[0] != line or known is None or known.fresh_until < until:
            lines = [line, *(each for each in lines if each != line)][:SPECIFICATIONS]
            await link(self._cache, entry, key, lines, until=known.fresh_until if known is not None else 0.0)
