"""An ordered log of messages that every process follows; docs/redis.md has its format.

Reads of the log are one at a time, so that replies are absorbed in the order in which Redis gave them;
what the follower and ``append`` bring is folded only where it continues what is folded already.
"""

import asyncio
import math
import random
import secrets
from collections import deque
from typing import Any

from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.log import Fold
from ramkit.redis.client import Redis
from ramkit.redis.errors import RedisUnavailable
from ramkit.redis.follower import COUNT, Entries
from ramkit.redis.script import Script

__all__ = ["Log"]

_APPEND = Script.load("scripts/log.lua", "scripts/append.lua")
_READ = Script.load("scripts/log.lua", "scripts/read.lua")
_SNAPSHOT = Script.load("scripts/log.lua", "scripts/snapshot.lua")
_TRIM = Script.load("scripts/log.lua", "scripts/trim.lua")

_SEQUENCE = 22  # bits of an epoch that count the messages of one millisecond
_TRIMMED = 500
_LAST_ID = b"18446744073709551615-0"  # beyond all
#: past incarnations that are recognized when they come back
_REMEMBERED = 64
#: reads in a row that bring nothing before a log that keeps changing is given up
_PATIENCE = 8


def _id(epoch: int) -> bytes:
    return b"%d-%d" % (epoch >> _SEQUENCE, epoch & ((1 << _SEQUENCE) - 1))


def _epoch(id_: bytes) -> int:
    ms, _, sequence = id_.partition(b"-")
    return (int(ms) << _SEQUENCE) | int(sequence)


class Log:
    """The log ``name``, folded into ``fold``. It fulfils ``Log`` of ramkit/kernel/log.py.

    ``bound``: seconds without news after which ``current`` is False; ``keep``: messages after which a
    process that folded them writes a snapshot and trims what it covers.
    """

    def __init__(
        self,
        redis: Redis,
        name: str,
        fold: Fold,
        *,
        prefix: str = "rk:",
        bound: float = 2.0,
        keep: int = 10_000,
    ) -> None:
        if not name or ":" in name or name in ("wakes", "lease"):
            raise ConfigurationError("name", f"a word without ':', not wakes or lease, not {name!r}")
        if not bound > 0:
            raise ConfigurationError("bound", f"seconds, more than 0, not {bound!r}")
        if keep < 1:
            raise ConfigurationError("keep", f"messages, at least 1, not {keep!r}")
        self.incarnation: int = 0
        self.epoch: int = 0
        self.key = f"{prefix}{{log}}:{name}".encode()
        self._keys = (self.key, self.key + b":snapshot")
        self._redis = redis
        self.clock = redis.clock
        self._fold = fold
        self._bound = bound
        self._keep = keep
        self.until = -math.inf
        self.offset = self.clock.time() - self.clock.monotonic()
        self._learned = False
        self._since = 0
        self._witnessed: int = 0  # an epoch that this incarnation is known to have had
        self._covered: int = 0
        self._past: deque[int] = deque(maxlen=_REMEMBERED)
        self._reading: asyncio.Task[None] | None = None
        self._pending: asyncio.Task[None] | None = None
        self._snapshotting: asyncio.Task[None] | None = None

    # -- the port --

    def current(self) -> bool:
        if self.clock.monotonic() <= self.until:
            return True
        self._follow()
        return False

    def now(self) -> float:
        return self.clock.monotonic() + self.offset

    async def append(self, message: bytes, *, replicas: int = 0) -> tuple[int, int]:
        self._follow()
        sent = self.clock.monotonic()
        reply: list[bytes] = await self._redis.run(
            _APPEND, self._keys, (message, _incarnation()), replicas=replicas
        )
        incarnation, epoch, previous = int(reply[0]), _epoch(reply[1]), _epoch(reply[2])
        self._learn(sent, reply[3], reply[4])
        if incarnation == self.incarnation:
            self._witnessed = max(self._witnessed, epoch)
        if incarnation == self.incarnation and previous == self.epoch:
            self._apply(epoch, message)
            self.until = max(self.until, sent + self._bound)
        elif incarnation != self.incarnation or epoch > self.epoch:
            await self.catch_up()
        return incarnation, epoch

    async def catch_up(self) -> None:
        self._follow()
        await self._read_after_now()

    async def start(self) -> None:
        try:
            await self.catch_up()
        except RedisUnavailable:
            return

    async def aclose(self) -> None:
        """Follow no more. Any other call begins again, from where it stopped."""
        self._redis.follower.forget(self)
        loop = asyncio.get_running_loop()
        tasks = [task for task in (self._reading, self._pending, self._snapshotting) if task is not None]
        running = [task for task in tasks if not task.done() and task.get_loop() is loop]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self._reading = self._pending = self._snapshotting = None
        self.until = -math.inf

    # -- what the follower asks and brings --

    @property
    def position(self) -> bytes:
        return _id(self.epoch)

    async def check(self) -> None:
        await self._read_after_now()

    def feed(self, entries: Entries, sent: float) -> bool:
        if not self._extend(entries):
            return False
        if len(entries) < COUNT:
            self.until = max(self.until, sent + self._bound)
        return True

    # -- reading --

    def _follow(self) -> None:
        try:
            self._redis.follower.follow(self)
        except RuntimeError:  # no loop runs: the next call from one begins
            return

    async def _read_after_now(self) -> None:
        """One read at a time; who comes while one is under way shares the next."""
        if not self._redis.available:
            raise RedisUnavailable("Redis did not answer a moment ago")
        loop = asyncio.get_running_loop()
        pending = self._pending
        if pending is None or pending.done() or pending.get_loop() is not loop:
            reading = self._reading
            if reading is not None and reading.get_loop() is not loop:
                reading = None
            pending = self._pending = loop.create_task(self._flight(reading))
            pending.add_done_callback(_seen)
        # Neither does who is cancelled cancel the read, nor the other way round.
        await asyncio.wait([pending])
        if pending.cancelled():
            raise RedisUnavailable("the log was closed")
        pending.result()

    async def _flight(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._reading, self._pending = self._pending, None
        await self._read()

    async def _read(self) -> None:
        patience = _PATIENCE
        while patience:
            sent, epoch = self.clock.monotonic(), self.epoch
            reply: list[Any] = await self._redis.run(_READ, self._keys, self._place())
            if int(reply[0]) in self._past:
                # an old copy was restored: nobody can tell what it lacks, so it is void too
                void = (_LAST_ID, reply[0], _incarnation(), COUNT, b"")
                reply = await self._redis.run(_READ, self._keys, void)
            self._learn(sent, reply[2], reply[3])
            if self._absorb(reply):
                self.until = max(self.until, sent + self._bound)
                return
            if self.epoch == epoch:
                patience -= 1
        raise RedisUnavailable("the log keeps changing")

    def _place(self) -> tuple[Any, ...]:
        """What read.lua takes."""
        after = _id(self.epoch) if self.incarnation else b""
        witness = _id(self._witnessed) if self._witnessed > self.epoch else b""
        return after, self.incarnation, _incarnation(), COUNT, witness

    def _absorb(self, reply: list[Any]) -> bool:
        """Whether everything up to the reply's last message is folded."""
        incarnation, last, reset = int(reply[0]), _epoch(reply[1]), reply[4]
        if reset:
            if incarnation == self.incarnation and last < self.epoch:
                return False  # our own append overtook it
            if incarnation != self.incarnation:
                self._witnessed = self._covered = 0
                self._past.append(self.incarnation)
            self.incarnation, self.epoch, self._since = incarnation, _epoch(reply[5]), 0
            self.until = -math.inf  # until all that follows the snapshot is folded too
            self._fold.reset(incarnation, self.epoch, reply[6] or None)
        return incarnation == self.incarnation and self._extend(reply[7]) and self.epoch >= last

    def _extend(self, entries: Entries) -> bool:
        """Fold what is new; False where a message is missing before it."""
        for id_, fields in entries:
            epoch = _epoch(id_)
            if epoch <= self.epoch:
                continue
            message = dict(zip(fields[::2], fields[1::2], strict=True))
            if b"p" not in message or b"m" not in message or _epoch(message[b"p"]) != self.epoch:
                return False
            self._apply(epoch, message[b"m"])
        return True

    def _apply(self, epoch: int, message: bytes) -> None:
        self.epoch = epoch
        self._fold.apply(epoch, message)
        self._since += 1
        if self._since >= self._keep and (self._snapshotting is None or self._snapshotting.done()):
            # processes that folded the same do not all write the same
            self._since = -random.randrange(1 + self._keep // 4)  # noqa: S311 - spreads work only
            self._snapshotting = asyncio.get_running_loop().create_task(self._cover())
            self._snapshotting.add_done_callback(_seen)

    async def _cover(self) -> None:
        """Write a snapshot, unless another process has, and trim what it covers."""
        kept: Any = await self._redis.execute(b"HMGET", self._keys[1], b"i", b"e")
        recent = _epoch(kept[1]) if kept[0] == b"%d" % self.incarnation and kept[1] else 0
        if recent <= self._covered:
            state = (self.incarnation, self.position, self._fold.snapshot())
            self._covered = self.epoch
            await self._redis.run(_SNAPSHOT, self._keys, state)
        else:
            self._covered = recent
        while await self._redis.run(_TRIM, self._keys, (_TRIMMED,)) == _TRIMMED:
            continue

    def _learn(self, sent: float, seconds: bytes, microseconds: bytes) -> None:
        """Redis read its clock between ``sent`` and now: keep the offset within what that allows."""
        time = int(seconds) + int(microseconds) / 1e6
        least, most = time - self.clock.monotonic(), time - sent
        if not self._learned:
            self._learned, self.offset = True, (least + most) / 2
        else:
            self.offset = min(max(self.offset, least), most)


def _incarnation() -> int:
    return secrets.randbits(63) or 1


def _seen(task: asyncio.Task[None]) -> None:
    """Its error went to those who wait for it; when nobody does, it is nobody's."""
    if not task.cancelled():
        task.exception()
