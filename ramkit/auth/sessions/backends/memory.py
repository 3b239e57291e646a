"""Sessions in the process's own memory: for tests and for one process."""

from typing import Final

from ramkit.auth.sessions.core.record import NOBODY, Change, Record, decode, encode, map_of, merge
from ramkit.auth.sessions.port import Lifetime, Outcome
from ramkit.kernel.clock import Clock, SystemClock

__all__ = ["MemorySessionStore"]

#: sessions below which nobody looks for the expired
_FEW: Final = 1024


class MemorySessionStore:
    """Bound to no event loop, and gone with the process. A server of several processes has one in each, which
    do not know each other's sessions: use Redis for those."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._offset = self._clock.time() - self._clock.monotonic()
        self._kept: dict[bytes, tuple[float, bytes]] = {}
        self._subjects: dict[bytes, set[bytes]] = {}
        self._sweep_at = _FEW

    def __len__(self) -> int:
        return len(self._kept)

    def now(self) -> float:
        return self._clock.monotonic() + self._offset  # steps of the wall clock end nobody's session

    async def read(self, key: bytes) -> Record | None:
        return self._get(key)

    async def create(
        self,
        key: bytes,
        subject: bytes,
        change: Change,
        lifetime: Lifetime,
        most: int,
        *,
        replacing: bytes | None = None,
    ) -> Outcome:
        if len(self._kept) >= self._sweep_at:
            self._sweep()
        old = None if replacing is None else self._get(replacing)
        if replacing is not None and old is None:
            return Outcome("gone")
        now = self.now()
        fields = merge(old.fields if old is not None else {}, change)
        data = encode(Record(now, now + lifetime.absolute, now, subject, map_of(fields)))
        if replacing is not None and old is not None:
            self._drop(replacing, old)
        if len(data) > most:
            return Outcome("large", len(data))
        self._kept[key] = (now + lifetime.idle, data)
        if subject != NOBODY:
            self._subjects.setdefault(subject, set()).add(key)
        return Outcome("stored")

    async def change(
        self,
        key: bytes,
        subject: bytes,  # noqa: ARG002  # the port's signature; the record names its subject
        change: Change,
        lifetime: Lifetime,
        most: int,
    ) -> Outcome:
        record = self._get(key)
        if record is None:
            return Outcome("gone")
        now = self.now()
        fields = merge(record.fields, change)
        if change and not fields:
            self._drop(key, record)
            return Outcome("ended")
        data = encode(record._replace(seen=now, body=map_of(fields)))
        if change and len(data) > most:
            return Outcome("large", len(data))
        self._kept[key] = (min(now + lifetime.idle, record.ends), data)
        return Outcome("stored")

    async def take(self, key: bytes) -> Record | None:
        record = self._get(key)
        if record is not None:
            self._drop(key, record)
        return record

    async def listed(self, subject: bytes) -> list[bytes]:
        return list(self._subjects.get(subject, ()))

    async def start(self) -> None:
        """There is nothing to open."""

    async def aclose(self) -> None:
        """Nothing was opened; sessions stay."""

    def _get(self, key: bytes) -> Record | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        record = decode(kept[1])
        if record is not None and kept[0] <= self.now():
            self._drop(key, record)
            return None
        return record

    def _drop(self, key: bytes, record: Record) -> None:
        self._kept.pop(key, None)
        theirs = self._subjects.get(record.subject)
        if theirs is not None:
            theirs.discard(key)
            if not theirs:
                del self._subjects[record.subject]

    def _sweep(self) -> None:
        for key in tuple(self._kept):
            self._get(key)
        self._sweep_at = max(_FEW, 2 * len(self._kept))
