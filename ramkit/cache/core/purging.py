"""Purges by the log: names, messages, and the table that every process folds them into.

A purge is one message. Names (URLs, path prefixes, groups) hash to ``SLOTS`` slots, of which the table
keeps the last hard and the last soft epoch; patterns stay a short list of bans. An entry carries the
epoch that its process had folded when the render *began*, and is judged when it is hit: so a purge
costs the same whatever it covers, and what was being rendered meanwhile cannot outlive it. Two names
in one slot cost a render, never a stale answer.
"""

import re
from array import array
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from ramkit.cache.core.entry import Entry
from ramkit.cache.policy import glob
from ramkit.kernel.context import raise_positions

__all__ = [
    "SLOTS",
    "PurgeTable",
    "Verdict",
    "group_name",
    "host_path_name",
    "message",
    "path_name",
    "prefix_name",
    "slot",
    "url_name",
    "url_names",
]

SLOTS: Final = 65_536
#: Names and patterns that one message takes; characters that a pattern may have.
MAX_NAMES: Final = 10_000
MAX_PATTERN: Final = 512
#: Bans that a table keeps. Beyond, the oldest becomes the birth epoch.
MAX_BANS: Final = 64
#: Segments of a path that prefix names go down to; a purge of a deeper one purges from there.
MAX_DEPTH: Final = 32
#: Seconds, where nobody knows.
_UNKNOWN: Final = 2**62


class Verdict(Enum):
    """What the log says of an entry. STALE: softly purged, good until it is rendered anew."""

    VALID = 1
    STALE = 2
    GONE = 3


# -- names: a letter for the kind, so that no kind meets another; NUL between the parts -----------------


def url_name(scheme: str, host: str, path: str, query: str) -> str:
    """One URL, its variants and methods. ``path`` is decoded, ``query`` as it was sent."""
    return f"u:{scheme}\0{host}\0{path}\0{query}"


def host_path_name(host: str, path: str) -> str:
    """A path on one host, whatever the scheme and the query."""
    return f"h:{host}\0{path}"


def path_name(path: str) -> str:
    """A path, whatever the scheme, the host and the query."""
    return f"p:{path}"


def prefix_name(prefix: str) -> str:
    """A path and all below it, by whole segments; empty segments do not count."""
    return "x:/" + "/".join(_segments(prefix))


def group_name(group: str) -> str:
    """A group (RFC 9875 §2)."""
    return f"g:{group}"


def url_names(scheme: str, host: str, path: str, query: str) -> tuple[str, ...]:
    """All names but groups by which a response at that URL can be purged: at most 36."""
    names = [url_name(scheme, host, path, query), host_path_name(host, path), path_name(path), "x:/"]
    prefix = "x:"
    for segment in _segments(path):
        prefix = f"{prefix}/{segment}"
        names.append(prefix)
    return tuple(names)


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment][:MAX_DEPTH]


def slot(name: str) -> int:
    """The slot of a name, the same in every process."""
    return _remembered(name) if len(name) <= 256 else _slot(name)


def _slot(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=2).digest(), "big")


#: of names of a bounded length: what a client makes up must not stay
_remembered = lru_cache(16_384)(_slot)


# -- messages ---------------------------------------------------------------------------------------------

_VERSION = b"\x03"
_Slot = Annotated[int, msgspec.Meta(ge=0, lt=SLOTS)]
_Epoch = Annotated[int, msgspec.Meta(ge=0)]
_Epochs = dict[_Slot, _Epoch]
_Positions = dict[str, _Epoch]
_Bans = list[tuple[_Epoch, bool, str, _Positions]]
_message_decoder: Any = msgspec.msgpack.Decoder(tuple[bool, list[_Slot], list[str], _Positions, _Epoch])
_snapshot_decoder: Any = msgspec.msgpack.Decoder(
    tuple[_Epoch, _Epochs, _Epochs, _Bans, dict[str, _Epochs], _Positions, _Epoch]
)
_encoder = msgspec.msgpack.Encoder()


def _decode(decoder: Any, data: bytes) -> Any:
    """What the bytes say, None when they are damaged or of another version."""
    if data[:1] != _VERSION:
        return None
    try:
        return decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def message(
    names: Iterable[str],
    *,
    patterns: Iterable[str] = (),
    soft: bool = False,
    positions: Mapping[str, int] | None = None,
    longest: int = 0,
) -> bytes:
    """The message that purges these names and patterns: a version byte, then MessagePack. ``positions``: by
    database, the LSN of what was written, so that no later render reads it from a replica that lacks it.
    ``longest``: seconds for which something is about to be stored.

    It carries slots, not names: 3 bytes each, and nothing in clear. In a pattern ``*`` matches any run of
    characters, also over ``/``, and ``?`` any one; ``*`` alone is everything, also what has no path.
    Raises ValueError for more than 10,000 names, more than 64 patterns, or a pattern that is empty or longer
    than 512 characters.
    """
    slots = {slot(name) for name in _at_most(MAX_NAMES, "names", names)}
    globs = _at_most(MAX_BANS, "patterns", patterns)
    for pattern in globs:
        if not 0 < len(pattern) <= MAX_PATTERN:
            raise ValueError(f"patterns: {pattern[:40]!r} must have 1 to {MAX_PATTERN} characters")
    return _VERSION + _encoder.encode((soft, sorted(slots), globs, dict(positions or {}), longest))


def _at_most(most: int, argument: str, values: Iterable[str]) -> list[str]:
    found = list(values)
    if len(found) > most:
        raise ValueError(f"{argument}: {len(found)} in one purge, at most {most} are taken")
    return found


# -- the table --------------------------------------------------------------------------------------------


class _Ban(NamedTuple):
    epoch: int
    soft: bool
    pattern: str
    #: by database: the LSN of what was written
    positions: dict[str, int]
    glob: "re.Pattern[str]"
    #: the table's version when the ban came in: entries found valid since need not meet it again
    version: int


class _Watch:
    """Told apart by identity."""

    def __init__(self, slots: Iterable[int]) -> None:
        self.slots, self.seen = frozenset(slots), list[int]()


class PurgeTable:
    """What a process knows of purges: ``ramkit.kernel.log.Fold``. About 2 MB, never more than 4.

    ``version`` changes whenever anything was folded: an entry found valid stays so while it does not.
    """

    def __init__(self) -> None:
        self.incarnation = 0
        self.epoch = 0
        self.version = 0
        #: entries older than this are gone; before a log was heard, all are
        self._birth = 2**64 - 1
        self._bans: list[_Ban] = []
        self._watches: list[_Watch] = []
        self._clear()

    @contextmanager
    def watch(self, slots: Iterable[int]) -> Generator[list[int]]:
        """The epochs at which something is folded that may be about these slots."""
        watch = _Watch(slots)
        self._watches.append(watch)
        try:
            yield watch.seen
        finally:
            self._watches.remove(watch)

    def _clear(self) -> None:
        #: the later of hard and soft: all that a hit on what was not purged looks at
        self._last = [0] * SLOTS
        self._hard = array("Q", bytes(8 * SLOTS))
        self._soft = array("Q", bytes(8 * SLOTS))
        #: the soft epoch before the last: whether there was another one in between
        self._before = array("Q", bytes(8 * SLOTS))
        #: by database: the highest LSN of each slot's purges, and of purges of which more is not known
        self._written: dict[str, dict[int, int]] = {}
        self._written_anywhere: dict[str, int] = {}
        #: seconds: nothing was stored for longer in this incarnation
        self.longest = 0

    @property
    def writes(self) -> bool:
        """Whether any purge came with an LSN."""
        return bool(self._written or self._written_anywhere)

    def written(self, slots: Collection[int], subject: str) -> dict[str, int]:
        """By database: the highest LSN that purges of these slots, or of that path, came with. What is
        rendered after them must not be read below it."""
        found = dict(self._written_anywhere)
        for ban in self._bans:
            if ban.positions and ban.glob.fullmatch(subject):
                raise_positions(found, ban.positions)
        for database, lsns in self._written.items():
            highest = max((lsns.get(each, -1) for each in slots), default=-1)
            raise_positions(found, {database: highest})
        return found

    def _everything_written(self) -> dict[str, int]:
        """By database: the highest LSN of all purges."""
        found = dict(self._written_anywhere)
        for database, lsns in self._written.items():
            raise_positions(found, {database: max(lsns.values(), default=-1)})
        for ban in self._bans:
            raise_positions(found, ban.positions)
        return found

    def _write(self, slots: Iterable[int], positions: Mapping[str, int]) -> None:
        for database, lsn in positions.items():
            lsns = self._written.setdefault(database, {})
            for each in slots:
                if lsn > lsns.get(each, -1):
                    lsns[each] = lsn

    def judge(self, entry: Entry, floor: int = 0) -> Verdict:
        """What the log, as far as it is folded, says of an entry.

        ``floor``: the epoch that the reader must have seen, of this incarnation; a soft purge at or below it
        counts as hard. "Later" is strictly: a render that began at a purge's epoch knew of it.
        """
        epoch = entry.epoch
        if entry.incarnation != self.incarnation or epoch < self._birth:
            return Verdict.GONE
        last, stale = self._last, False
        try:
            for each in entry.slots:
                if last[each] > epoch:
                    if self._purged(each, epoch, floor):
                        return Verdict.GONE
                    stale = True
        except IndexError:
            return Verdict.GONE  # damaged bytes in the store
        if self._bans and self._bans[-1].epoch > epoch:
            banned = self._banned(entry, floor)
            if banned is not Verdict.VALID:
                return banned
        return Verdict.STALE if stale else Verdict.VALID

    def _purged(self, each: int, epoch: int, floor: int) -> bool:
        """Whether a slot with a later epoch makes the entry more than stale.

        Only the last two soft epochs are known. If both are later, there may have been one between the entry
        and the floor: it is taken that there was.
        """
        if self._hard[each] > epoch or floor >= self._soft[each]:
            return True
        return floor > epoch and self._before[each] > epoch

    def _banned(self, entry: Entry, floor: int) -> Verdict:
        verdict = Verdict.VALID
        for ban in reversed(self._bans):
            if ban.epoch <= entry.epoch or ban.version <= entry.checked:
                break
            if ban.glob.fullmatch(entry.subject):
                if not ban.soft or floor >= ban.epoch:
                    return Verdict.GONE
                verdict = Verdict.STALE
        return verdict

    # -- folding -------------------------------------------------------------------------------------

    def reset(self, incarnation: int, epoch: int, snapshot: bytes | None) -> None:
        """Without a snapshot, or with one that cannot be read, what is older than ``epoch`` is gone."""
        self.incarnation, self.epoch = incarnation, epoch
        self.version += 1
        known = self._everything_written()
        self._birth, self._bans = epoch, []
        self._clear()
        self._written_anywhere = known  # a log that was lost took its purges along, but not what was written
        for watch in self._watches:
            watch.seen.append(epoch)
        content = None if snapshot is None else _decode(_snapshot_decoder, snapshot)
        if content is None:
            self.longest = 0 if snapshot is None else _UNKNOWN
            return
        hard: dict[int, int]
        soft: dict[int, int]
        self._birth, hard, soft, bans, self._written, anywhere, self.longest = content
        raise_positions(self._written_anywhere, anywhere)
        for each, at in hard.items():
            self._hard[each] = self._last[each] = at
        for each, at in soft.items():
            # What lay before the last one is not in the snapshot: taken for later than any entry.
            self._soft[each] = self._before[each] = at
            self._last[each] = max(self._last[each], at)
        for at, is_soft, pattern, positions in bans:
            self._ban(at, pattern, positions, soft=is_soft)

    def apply(self, epoch: int, message: bytes) -> None:
        """Fold a message. One of another version, or damaged, counts as a purge of everything."""
        self.version += 1
        self.epoch = max(self.epoch, epoch)
        content = _decode(_message_decoder, message)
        for watch in self._watches:
            if content is None or content[2] or not watch.slots.isdisjoint(content[1]):
                watch.seen.append(epoch)
        if content is None:
            self.longest = _UNKNOWN
            return self._bear(epoch)
        soft, slots, patterns, positions, longest = content
        self.longest = max(self.longest, longest)
        if positions:
            self._write(slots, positions)
        for each in slots:
            self._last[each] = epoch
            if not soft:
                self._hard[each] = epoch
            elif self._soft[each] != epoch:
                self._before[each] = self._soft[each]
                self._soft[each] = epoch
        for pattern in patterns:
            self._ban(epoch, pattern, positions, soft=soft)
        return None

    def _ban(self, epoch: int, pattern: str, positions: dict[str, int], *, soft: bool) -> None:
        if not soft:
            if not pattern.strip("*"):
                raise_positions(self._written_anywhere, positions)
                return self._bear(epoch)
            # It covers what the same pattern banned before. A soft one would not: floors may lie between.
            for ban in self._bans:
                if ban.pattern == pattern:
                    raise_positions(positions := dict(positions), ban.positions)
            self._bans = [ban for ban in self._bans if ban.pattern != pattern]
        self._bans.append(_Ban(epoch, soft, pattern, positions, glob(pattern), self.version))
        if len(self._bans) > MAX_BANS:
            self._bear(self._bans[0].epoch)
        return None

    def _bear(self, epoch: int) -> None:
        """Whatever is older is gone, and bans on it have nothing left to say but what was written then."""
        self._birth = max(self._birth, epoch)
        for ban in self._bans:
            if ban.epoch <= self._birth:
                raise_positions(self._written_anywhere, ban.positions)
        self._bans = [ban for ban in self._bans if ban.epoch > self._birth]

    def snapshot(self) -> bytes:
        """A version byte, then MessagePack; 1.6 MB when every slot was purged both ways and 64 bans stand,
        and 0.8 MB more for each database that wrote to every slot."""
        birth = self._birth
        purged = [each for each, at in enumerate(self._last) if at > birth]
        hard = {each: self._hard[each] for each in purged if self._hard[each] > birth}
        soft = {each: self._soft[each] for each in purged if self._soft[each] > birth}
        bans = [ban[:4] for ban in self._bans]
        written = self._written, self._written_anywhere
        return _VERSION + _encoder.encode((birth, hard, soft, bans, *written, self.longest))
