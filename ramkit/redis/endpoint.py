"""One Redis server: its queue, its connections, its deadline and breaker.

Calls queue up; a *lane* (a connection and what is under way on it) takes all that is queued, sends it,
and is handed the replies. A lane comes for the queue at the end of the turn of the loop, so what is
queued within one turn goes out together; while all lanes are busy the queue grows, and so does the next
batch. A caller that is cancelled leaves its future only.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.observers import Observer, notify
from ramkit.redis.batching import SHARED, Call, pack, plan, take
from ramkit.redis.breaker import Breaker
from ramkit.redis.driver import (
    FAILURES,
    AskError,
    BusyLoadingError,
    Connect,
    Connection,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
    opened,
    wrapped,
)
from ramkit.redis.errors import RedisUnavailable
from ramkit.redis.events import RedisBatch, RedisOutage, RedisRoundTrip
from ramkit.redis.lane import Lane
from ramkit.redis.wire import Wire

__all__ = ["Endpoint", "Settings"]

_log = logging.getLogger("ramkit.redis")
_now = SystemClock.monotonic  # deadlines are the loop's business: real time, also under a test's clock

#: connections a server: one in flight while the other's batch grows
LANES = 2
#: seconds of rest after which the loop polls the socket before it is used: it may have been closed
IDLE = 0.01
#: turns of the loop, each of which polls the sockets, before Redis is called dead
LOOKS = 4
#: times in a row that a busy loop's lost time is given back
GRACES = 3
#: repeats after NOSCRIPT, a redirection or a lost connection
TRIES = 5
#: kinds of refusal that are logged
KINDS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Seconds; ``cooldown`` by ``clock``, ``deadline`` in real time."""

    deadline: float
    cooldown: float
    clock: Clock
    observers: tuple[Observer, ...] = ()


class Endpoint:
    """``redirect(call, error)`` is told of MOVED and ASK; ``lost()`` of an outage."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        settings: Settings,
        *,
        redirect: Callable[[Call, AskError], None] | None = None,
        lost: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.breaker = Breaker(settings.clock, settings.cooldown)
        self.connect = connect
        self._settings = settings
        self._deadline = settings.deadline
        self._redirect = redirect
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._queue: list[Call] = []
        self._repeat: list[Call] = []
        self._lanes: list[Lane] = []
        self._idle: list[Lane] = []
        self._dropped: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()
        self._waking = False
        #: no second connection is tried before
        self._alone_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        self._graces = 0
        self._replied = 0.0

    def submit(self, call: Call) -> None:
        """Queue a call; it goes out after this turn of the loop, or fails at once."""
        if not self.breaker.closed:
            if not self.breaker.admit():
                call.fail(RedisUnavailable(f"Redis at {self.name} did not answer a moment ago"))
                return
            call.probe = True
        now = _now()
        call.queued = call.queued or now
        self._queue.append(call)
        if self._timer is None:
            self._arm(now + self._deadline, now)
        if not self._waking:
            self._wake()

    async def open(self) -> Connection:
        """A connection of the caller's own, connected. Raises what is in ``FAILURES``."""
        return await opened(self.connect)

    async def aclose(self) -> None:
        """Close all; calls under way raise RedisUnavailable. Usable again afterwards."""
        self._give_up("Redis client was closed")
        if self._dropped:
            await asyncio.wait(set(self._dropped))

    # -- lanes --

    def _wake(self) -> None:
        """Have one lane come for the queue at the end of this turn of the loop."""
        if self._idle:
            lane = self._idle.pop()
            self._waking = True
            if _now() - lane.rests > IDLE:  # a turn more, which polls the socket
                self._loop.call_soon(self._loop.call_soon, self._work, lane)
            else:
                self._loop.call_soon(self._work, lane)
        elif len(self._lanes) < LANES and _now() >= self._alone_until:
            lane = Lane()
            self._lanes.append(lane)
            self._connect(lane)

    def _connect(self, lane: Lane) -> None:
        lane.disconnect()
        lane.connecting = True
        # The only lane takes the queue when it has connected; one of several comes when it can, and what is
        # queued does not wait for it while another is idle.
        self._waking = len(self._lanes) == 1
        if self._queue and self._idle:
            self._wake()
        lane.task = self._loop.create_task(self._hold(lane), name=f"ramkit.redis {self.name}")

    async def _hold(self, lane: Lane) -> None:
        """A connection's life: the end of the loop, which cancels its tasks, closes it, too."""
        wire: Wire | None = None
        try:
            connection = await self._reopen()
            wire = lane.wire = Wire(connection, partial(self._replied_to, lane), partial(self._broken, lane))
            lane.connecting = False
            self._work(lane)
            await wire.gone
        except asyncio.CancelledError:
            self._abandoned(lane)
            raise
        except FAILURES as error:
            self._unconnected(lane, str(error) or type(error).__name__)
        except Exception as error:
            _log.exception("a connection to Redis at %s is given up", self.name)
            self._outage(repr(error), lane)
        finally:
            if wire is not None:
                wire.close()

    def _abandoned(self, lane: Lane) -> None:
        """Somebody cancelled its task, perhaps the end of the loop: the next call connects, nobody before."""
        if lane not in self._lanes or lane.task is not asyncio.current_task():
            return
        calls, lane.batch, lane.connecting = lane.batch, [], False
        lane.disconnect()
        if not any(each.batch for each in self._lanes):  # nobody comes for the queue
            calls, self._queue, self._waking = calls + self._queue, [], False
        for call in calls:
            call.fail(RedisUnavailable(f"connection to Redis at {self.name} was cancelled"))
        self._forget(calls)
        if lane not in self._idle:
            self._rest(lane)

    def _unconnected(self, lane: Lane, reason: str) -> None:
        """A Redis that refuses one connection more (maxclients) is not away while another one serves."""
        if lane in self._lanes and any(each.wire is not None for each in self._lanes):
            _log.info("no further connection to Redis at %s: %s", self.name, reason)
            self._lanes.remove(lane)
            self._alone_until = _now() + self._settings.cooldown
            if self._queue and not self._waking:
                self._wake()
        else:
            self._outage(reason, lane)

    async def _reopen(self) -> Connection:
        """A second attempt at once: a connection may be cut while it is made, by what cut the last."""
        try:
            return await self.open()
        except FAILURES:
            return await self.open()

    def _work(self, lane: Lane) -> None:
        """Send what is queued."""
        if lane not in self._lanes or lane.connecting:
            return
        # A reply that is there before its command answers none: the replies would be others' from here on.
        if lane.wire is None or lane.worn or lane.wire.ahead:
            self._connect(lane)
            return
        self._waking = False
        batch = take(self._queue, shared=bool(self._idle))
        commands = plan(batch)
        while not commands and self._queue:
            self._forget(batch)
            batch = take(self._queue)
            commands = plan(batch)
        if not commands:
            self._forget(batch)
            self._rest(lane)
            return
        lane.batch, lane.began = batch, _now()
        for command in commands:
            lane.expected += (None, command) if command.asking else (command,)
        lane.wire.send(pack(commands))
        if self._queue or (len(batch) >= SHARED and not self._idle):  # the next long one is to be shared
            self._wake()

    def _rest(self, lane: Lane) -> None:
        lane.rests = _now()
        self._idle.append(lane)

    def _replied_to(self, lane: Lane, reply: Any) -> None:
        self._replied = _now()
        command = lane.expected.popleft()
        if isinstance(reply, FAILURES) and not isinstance(reply, ResponseError):
            self._broken(lane, reply)
            return
        if command is None:
            return
        # a demoted primary: look up anew who is the primary
        lane.worn |= isinstance(reply, ReadOnlyError)
        command.deliver(reply, self._refused)
        if not lane.expected:
            self._finished(lane)

    def _finished(self, lane: Lane) -> None:
        if not self.breaker.closed:
            self.breaker.close()
        self._graces = 0
        size, lane.batch = len(lane.batch), []
        self._queue[:0], self._repeat = self._repeat, []
        if self._settings.observers:
            notify(self._settings.observers, RedisBatch(size))
            notify(self._settings.observers, RedisRoundTrip(self._replied - lane.began))
        if self._queue:
            self._work(lane)
        else:
            self._rest(lane)

    def _refused(self, call: Call, error: Exception) -> None:
        """An error reply: the call was not carried out; some errors say what to do instead."""
        call.tries += 1
        if call.tries > TRIES:
            self._refuse(call, error)
        elif isinstance(error, NoScriptError) and call.script is not None:
            call.whole = True
            self._repeat.append(call)
        elif isinstance(error, AskError) and self._redirect is not None:
            self._redirect(call, error)
        elif isinstance(error, TryAgainError) and call.read:
            call.tries = max(call.tries, 2)
            self._repeat.append(call)
        else:
            self._refuse(call, error)

    def _refuse(self, call: Call, error: Exception) -> None:
        """Fail a call, and tell the operator the first time that Redis says such a thing."""
        kind = str(error).partition(" ")[0]
        if kind not in self._told and len(self._told) < KINDS:
            self._told.add(kind)
            _log.warning("Redis at %s refuses: %s", self.name, error)
        call.fail(wrapped(error))

    def _broken(self, lane: Lane, error: Exception) -> None:
        """The connection was lost. Reads under way are repeated once, nothing else is: it may have been
        carried out."""
        lane.disconnect()
        if lane not in self._lanes:
            return
        _log.info("connection to Redis at %s lost: %s", self.name, error)
        if isinstance(error, BusyLoadingError):
            self._outage("it is loading its data")
            return
        repeat: list[Call] = []
        for call in lane.batch:
            if call.read and not call.tries and not call.future.done():
                call.tries = 1
                repeat.append(call)
            else:
                call.fail(RedisUnavailable(f"connection to Redis at {self.name} was lost: {error}"))
        self._forget(lane.batch)
        lane.batch = []
        self._queue[:0] = [*self._repeat, *repeat]
        self._repeat = []
        if lane not in self._idle:
            self._connect(lane)

    def _forget(self, batch: list[Call]) -> None:
        if any(call.probe and call.future.done() for call in batch):
            self.breaker.forget_probe()

    # -- deadline --

    def _arm(self, when: float, now: float) -> None:
        self._due_at = when
        self._timer = self._loop.call_later(when - now, self._due)

    def _oldest(self) -> float | None:
        """When the call that waits longest was queued."""
        oldest = [lane.batch[0].queued for lane in self._lanes if lane.batch]
        if self._queue:
            oldest.append(self._queue[0].queued)
        return min(oldest, default=None)

    def _due(self) -> None:
        """The timer: wait on, give back what a busy loop took, or look once more."""
        self._timer = None
        oldest, now = self._oldest(), _now()
        if oldest is None:
            return
        if oldest + self._deadline > now:
            self._arm(oldest + self._deadline, now)
            return
        late = now - self._due_at
        if late > self._deadline / 10 and self._graces < GRACES:
            # The loop was busy: neither did Redis get what was queued, nor were its replies read.
            self._graces += 1
            self._arm(now + min(late, self._deadline), now)
            return
        self._look(LOOKS)

    def _look(self, turns: int) -> None:
        oldest, now = self._oldest(), _now()
        if oldest is None:
            return
        if oldest + self._deadline > now:
            if self._timer is None:
                self._arm(oldest + self._deadline, now)
        elif turns:
            self._loop.call_soon(self._look, turns - 1)
        elif self._replied > now - self._deadline / 2 and self._shed(now):
            if self._timer is None:
                self._arm(now + self._deadline / 4, now)
        else:
            self._outage(f"no answer within {self._deadline:g} s")

    def _shed(self, now: float) -> bool:
        """Redis answers, but more was queued than it can answer in time: what waited too long goes.

        False when a batch has been under way for two deadlines: its connection hangs.
        """
        late = [call for call in self._queue if call.queued + self._deadline <= now]
        self._queue = [call for call in self._queue if call.queued + self._deadline > now]
        for call in late:
            call.fail(RedisUnavailable(f"Redis at {self.name} is overloaded"))
        oldest = self._oldest()
        return oldest is None or oldest + 2 * self._deadline > now

    def _outage(self, reason: str, own: Lane | None = None) -> None:
        self.breaker.open()
        failed = self._give_up(f"Redis at {self.name} is unavailable: {reason}", own)
        _log.warning("Redis at %s is unavailable: %s (%d calls given up)", self.name, reason, failed)
        notify(self._settings.observers, RedisOutage(self.name, failed, reason))
        if self._lost is not None:
            self._lost()

    def _give_up(self, reason: str, own: Lane | None = None) -> int:
        """Fail every call and drop every lane; ``own`` is the caller's, which ends by itself."""
        lanes, self._lanes, self._idle = self._lanes, [], []
        calls = [call for lane in lanes for call in lane.batch] + self._queue
        self._queue, self._waking, self._graces = [], False, 0
        self.breaker.forget_probe()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for lane in lanes:
            lane.batch = []
            lane.disconnect()
            if lane is not own and lane.task is not None:
                lane.task.cancel()
                self._dropped.add(lane.task)
                lane.task.add_done_callback(self._dropped.discard)
        failed = 0
        for call in calls:
            failed += not call.future.done()
            call.fail(RedisUnavailable(reason))
        return failed
