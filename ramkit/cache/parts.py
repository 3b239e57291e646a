"""Parts of a response on their way into the store (RFC 9111 §3.3, §3.4)."""

from contextlib import suppress

from msgspec.structs import replace

from ramkit.cache.cache import Cache
from ramkit.cache.core.entry import PARTS, Entry, lowest
from ramkit.cache.core.freshness import lifetime
from ramkit.cache.core.purging import Verdict
from ramkit.cache.core.ranges import Parts, Span, bare, parse_content_range, strong_validator
from ramkit.cache.core.serving import State
from ramkit.cache.core.validating import updated
from ramkit.cache.recorder import Recorder
from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.headers import find_all, without

__all__ = ["PartRecorder", "newest", "validator_of"]


class PartRecorder(Recorder):
    """Stores what the app answers to a range request: a whole 200 as it is, a 206 as a part, with the parts
    of the same strong validator that are there already; of all together the whole.

    Nothing else: an error may be about the Range, which is not in the key.
    """

    __slots__ = ("_length", "_span", "kept")

    #: what was stored in the end
    kept: Entry | None
    _span: Span | None
    _length: int | None

    def begin(self, status: int, headers: RawHeaders, *, trailers: bool = False) -> str | None:
        self.kept = self._span = self._length = None
        if status != 206:
            reason = super().begin(status, headers, trailers=trailers)
            return reason if reason is not None or status == 200 else self._refused("status")
        # What a part says of its storing, it says of the whole; whose part it is, is seen to here.
        reason = super().begin(200, without(headers, b"content-range"), trailers=trailers)
        self.headers = headers
        if reason is not None:
            return reason
        said = find_all(headers, b"content-range")
        found = parse_content_range(said[0]) if len(said) == 1 else None
        # Several ranges in one response are not taken apart.
        several = self.facts.single.get(b"content-type", b"").lower().startswith(b"multipart/byteranges")
        if found is None or several or self.facts.length not in (None, found[0].length):
            return self._refused("content-range")
        # A rule's ttl is for whole responses: the app that says nothing may not know that it has parts.
        if not lifetime(self.facts, self._cache.clock.time()) or not self._is_fresh():
            return self._refused("no-lifetime")
        self._span, self._length = found
        return None

    def _is_fresh(self) -> bool:
        return self.storable is not None and self.storable.fresh > 0

    def _refused(self, reason: str) -> str:
        self.refuse(reason)
        return reason

    async def store(self, body: bytes) -> None:
        if self._span is None or self.storable is None:
            await super().store(body)
            return
        reason = self._judge() if len(body) == self._span.length else "content-range"
        if reason is not None:
            self.refuse(reason)
        else:
            await self._keep(self._entry(self.storable, body, 0))

    async def _joined(self, key: bytes, entry: Entry) -> Entry:
        if self._span is None:
            return entry
        known = await newest(self._cache, key)
        if known is not None and known.status == 200 and self._cache.state(known, None) is State.FRESH:
            return known  # the whole is there: a part is less
        older = known if known is not None and known.status == PARTS else self._exchange.parts
        self.kept = self._with(older, entry, Parts((self._span,), self._length, entry.body))
        return self.kept

    def _with(self, older: Entry | None, entry: Entry, parts: Parts) -> Entry:
        """The new part, alone or with the older ones; its fields replace theirs (§3.4)."""
        headers = bare(entry.headers)
        stored = Parts.read(older.headers, older.body) if older is not None else None
        if older is not None and stored is not None and self._one(older, entry):
            joined = stored.joined(parts, self._exchange.middleware.max_body)
            if joined is not None:
                parts, headers = joined, bare(updated(older.headers, headers))
                # Whatever was purged since the oldest part was rendered, purges all.
                entry = replace(
                    entry,
                    epoch=min(entry.epoch, older.epoch),
                    positions=lowest(entry.positions, older.positions),
                    slots=tuple(sorted({*entry.slots, *older.slots})),
                )
        if parts.whole and validator_of(entry) is not None:
            headers.append((b"content-length", b"%d" % len(parts.body)))
            return replace(entry, status=200, headers=headers, body=parts.body)
        return replace(entry, status=PARTS, headers=[*headers, parts.listing()], body=parts.body)

    def _one(self, older: Entry, entry: Entry) -> bool:
        """Whether both are of one representation, and no purge lies between (§3.4)."""
        validator = validator_of(entry)
        return (
            validator is not None
            and validator == validator_of(older)
            and older.incarnation == entry.incarnation
            and self._cache.judge(older, None) is Verdict.VALID
        )


async def newest(cache: Cache, key: bytes) -> Entry | None:
    """The entry as all processes have it: what this one knows of parts may be less."""
    with suppress(Unavailable):
        return await cache.store.get(key)
    return cache.store.peek(key)


def validator_of(entry: Entry) -> bytes | None:
    """The entry's strong validator."""
    return strong_validator(entry.headers, entry.stored - entry.age)
