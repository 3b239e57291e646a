"""Sessions in Redis, the same for every process."""

import logging
from binascii import hexlify
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Literal

from ramkit.auth.sessions.core.record import HEAD, NOBODY, Change, Record, decode, merge, pack, pack_names
from ramkit.auth.sessions.port import Lifetime, Outcome
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.observers import Observer
from ramkit.redis import Redis, Script, refuse_eviction

__all__ = ["RedisSessionStore"]

_log = logging.getLogger("ramkit.auth")

_CREATE: Final = Script.load("scripts/create.lua", vector=True)
_CHANGE: Final = Script.load("scripts/change.lua", vector=True)
_ENLIST: Final = Script.load("scripts/enlist.lua", vector=True)
_TAKE: Final = Script.load("scripts/take.lua", vector=True)

_WORDS: Final[dict[bytes, Literal["stored", "gone", "ended", "large"]]] = {
    b"stored": "stored", b"gone": "gone", b"ended": "ended", b"large": "large",
}  # fmt: skip

#: Milliseconds that an ended session's place stays taken: longer than the making of another one takes.
_TOMBSTONE: Final = 60_000
#: Seconds that a session is listed beyond its life, for the time between the two commands.
_SLACK: Final = 2.0


class RedisSessionStore:
    """One string for each session, which Redis ends by itself, and a sorted set for each subject.

    ``server``: a URL, a ``redis.asyncio`` client or cluster client (yours: it stays open), or a
    ``ramkit.redis.Redis`` that others use, too (then ``deadline``, ``clock`` and ``observers`` are its own).
    ``deadline``: seconds that a Redis that hangs costs, once a cool-down.

    A Redis that evicts keys logs people out when its memory is full, so it is refused with a
    ``ConfigurationError`` at the start, unless ``eviction_may_end_sessions``.

    A session and its subject's set are in different slots of a cluster, so no script has both. The set is
    written first, and a session leaves it last: one that lives is always in it.
    """

    def __init__(
        self,
        server: Any,
        *,
        prefix: str = "rk:",
        deadline: float = 0.1,
        eviction_may_end_sessions: bool = False,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._own = not isinstance(server, Redis)
        used: Clock = clock if clock is not None else SystemClock()
        self.redis: Redis = (
            Redis(server, deadline=deadline, observers=observers, clock=used) if self._own else server
        )
        self._clock = self.redis.clock
        self._offset = self._clock.time() - self._clock.monotonic()
        self._session, self._subject = f"{prefix}session:".encode(), f"{prefix}sessions:".encode()
        self._checked = eviction_may_end_sessions

    def now(self) -> float:
        return self._clock.monotonic() + self._offset

    async def read(self, key: bytes) -> Record | None:
        data = await self.redis.get(self._key(key))
        record = None if data is None else decode(data)
        if record is not None and record.seen > self.now():
            # By Redis' clock it is later than that: a process whose own is behind would extend nothing.
            self._offset = record.seen - self._clock.monotonic()
        return record

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
        await self.start()
        await self._enlist(key, subject, lifetime)
        fields = change.sets
        if replacing is not None:
            old = await self.take(replacing)
            if old is None:
                await self._strike(key, subject)
                return Outcome("gone")
            fields = merge(old.fields, change)
        packed = pack(fields)
        if HEAD + len(packed) > most:
            return Outcome("large", HEAD + len(packed))
        args = (subject, packed, lifetime.idle, lifetime.absolute)
        made = await self.redis.run(_CREATE, (self._key(key),), args)
        if not made:
            return Outcome("gone")
        self._hear(made)
        return Outcome("stored")

    async def change(
        self, key: bytes, subject: bytes, change: Change, lifetime: Lifetime, most: int
    ) -> Outcome:
        await self._enlist(key, subject, lifetime)
        args = (pack(change.sets), pack_names(change.removed), lifetime.idle, most)
        what, number = await self.redis.run(_CHANGE, (self._key(key),), args)
        if what == b"stored":
            self._hear(number)
        elif what != b"large":
            await self._strike(key, subject)
        return Outcome(_WORDS[what], int(number) if what == b"large" else 0)

    async def take(self, key: bytes) -> Record | None:
        data = await self.redis.run(_TAKE, (self._key(key),), (_TOMBSTONE,))
        record = None if data is None else decode(data)
        if record is not None:
            await self._strike(key, record.subject)
        return record

    async def listed(self, subject: bytes) -> list[bytes]:
        keys: list[bytes] = await self.redis.execute(b"ZRANGE", self._subject_key(subject), 0, -1)
        return keys

    async def start(self) -> None:
        """Refuse a Redis that may lose sessions; when it does not answer, the next call looks again."""
        if self._checked:
            return
        with suppress(Unavailable):
            await refuse_eviction(
                self.redis, "who is logged in", argument="store", unless="eviction_may_end_sessions"
            )
            self._checked = True

    async def aclose(self) -> None:
        if self._own:
            await self.redis.aclose()

    async def _enlist(self, key: bytes, subject: bytes, lifetime: Lifetime) -> None:
        if subject != NOBODY:
            await self.redis.run(_ENLIST, (self._subject_key(subject),), (key, lifetime.idle + _SLACK))

    async def _strike(self, key: bytes, subject: bytes) -> None:
        """What is not struck off now expires, and is nobody's session meanwhile."""
        if subject != NOBODY:
            try:
                await self.redis.execute(b"ZREM", self._subject_key(subject), key)
            except Unavailable as error:
                _log.info("a session that ended stays listed until it would have expired: %s", error)

    def _hear(self, seconds: bytes) -> None:
        self._offset = float(seconds) - self._clock.monotonic()

    def _key(self, key: bytes) -> bytes:
        return self._session + hexlify(key)

    def _subject_key(self, subject: bytes) -> bytes:
        return self._subject + hexlify(subject)
