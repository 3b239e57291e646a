"""One blocking XREAD, on a connection of its own, over all streams that this process follows."""

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ramkit.kernel.clock import SystemClock
from ramkit.redis.batching import command
from ramkit.redis.driver import FAILURES, Connection, drop
from ramkit.redis.errors import RedisUnavailable

if TYPE_CHECKING:
    from ramkit.redis.client import Redis

__all__ = ["COUNT", "Entries", "Follower", "Stream"]

_log = logging.getLogger("ramkit.redis")
_now = SystemClock.monotonic

#: seconds: how long a read blocks, and so how often streams are looked at; the most between two
#: attempts to connect, and for one of them; what a reply may be late
_BLOCK, _PAUSE, _CONNECT, _LATE = 1.0, 1.0, 2.0, 0.5

#: messages in one read: a reply that is as long may not be all
COUNT = 1000

BROKEN: tuple[type[Exception], ...] = (RedisUnavailable, *FAILURES)

#: [id, [field, value, …]]
Entries: TypeAlias = list[tuple[bytes, list[bytes]]]


class Stream(Protocol):
    """What the follower feeds. All streams of one client carry one hash tag."""

    @property
    def key(self) -> bytes: ...

    @property
    def position(self) -> bytes:
        """The id to read after."""
        ...

    async def check(self) -> None:
        """Called on each connection before the first read, and at least every second: find the
        position, look whether the stream is still the same. May raise RedisUnavailable."""
        ...

    def feed(self, entries: Entries, sent: float) -> bool:
        """What came after the position, asked for at ``sent`` (monotonic). False: look at once."""
        ...


class Follower:
    """Follows every stream that asked for it; a broken connection is replaced, with backoff."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._streams: list[Stream] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._replaced: set[asyncio.Task[None]] = set()

    def follow(self, stream: Stream) -> None:
        """Begin to follow, on the running loop; already followed, nothing happens."""
        loop = asyncio.get_running_loop()
        known = stream in self._streams
        if known and self._loop is loop and self._task is not None and not self._task.done():
            return
        if not known:
            self._streams.append(stream)
        self._restart(loop)

    def forget(self, stream: Stream) -> None:
        """Follow it no more."""
        if stream in self._streams:
            self._streams.remove(stream)
            loop = asyncio.get_running_loop()
            if self._task is not None and self._loop is loop:
                self._restart(loop)

    async def aclose(self) -> None:
        """Stop; the streams are remembered for when one of them is followed again."""
        if self._loop is asyncio.get_running_loop():
            self._stop()
            if self._replaced:
                await asyncio.wait(set(self._replaced))
        self._task = self._loop = None

    def _restart(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop:
            self._stop()
        self._loop = loop
        self._task = loop.create_task(self._run(), name="ramkit.redis follower") if self._streams else None

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            self._replaced.add(task)
            task.add_done_callback(self._replaced.discard)

    async def _run(self) -> None:
        pause = 0.0
        while True:
            began = _now()
            try:
                await self._session()
            except BROKEN as error:
                _log.info("the follower's connection to %r broke: %s", self._redis, error)
            except Exception:
                _log.exception("the follower of %r failed", self._redis)
            # one that held for a while is replaced at once
            pause = 0.02 if _now() - began > 2 * _BLOCK else min(_PAUSE, pause * 2 or 0.02)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections
            self._redis.refresh()

    async def _session(self) -> None:
        streams = list(self._streams)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(_CONNECT):
                connection = await self._redis.connection(streams[0].key)
            await _check(streams)
            checked = _now()
            while True:
                if not await self._read(connection, streams) or _now() - checked > _BLOCK * 0.9:
                    await _check(streams)
                    checked = _now()
        finally:
            await drop(connection)

    async def _read(self, connection: Connection, streams: list[Stream]) -> bool:
        sent = self._redis.clock.monotonic()
        places: dict[bytes, bytes] = {}
        for stream in streams:
            places[stream.key] = min(places.get(stream.key, stream.position), stream.position, key=_order)
        head = (b"XREAD", b"COUNT", COUNT, b"BLOCK", int(_BLOCK * 1000), b"STREAMS")
        request = command(*head, *places, *places.values())
        async with asyncio.timeout(_BLOCK + _LATE):
            await connection.send_packed_command([request], check_health=False)
            reply: Any = await connection.read_response(disable_decoding=True)
        found: dict[bytes, Entries] = dict(reply or ())
        fed = [stream.feed(found[stream.key], sent) for stream in streams if stream.key in found]
        return all(fed)


def _order(id_: bytes) -> tuple[int, ...]:
    return tuple(map(int, id_.split(b"-")))


async def _check(streams: list[Stream]) -> None:
    """All at once: what they ask goes out together."""
    for outcome in await asyncio.gather(*(stream.check() for stream in streams), return_exceptions=True):
        if outcome is not None:
            raise outcome
