"""Looks at one server: its role, how far it has replayed, whether it answers."""

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress

from ramkit.db.core.fleet import Fleet, Member, Status
from ramkit.db.policy import DatabasePolicy
from ramkit.db.port import Driver, Session
from ramkit.kernel.clock import Clock

__all__ = ["Monitor"]

#: Seconds between looks while something is wrong, doubled up to ``monitor_interval``.
_EAGER = 0.05
#: … while readers wait for the replay, doubled up to the other.
_SOON, _SOMEWHAT_LATER = 0.001, 0.016
_MOMENT = 0.02


class Monitor:
    """One connection to one server, its own and direct. ``on_look`` hears after each look how it went:
    nothing, or ``lost`` or ``slow``."""

    def __init__(
        self,
        member: Member,
        dsn: str,
        policy: DatabasePolicy,
        driver: Driver,
        fleet: Fleet,
        clock: Clock,
        on_look: Callable[[str, Exception | None], None],
    ) -> None:
        self._member, self._dsn, self._policy = member, dsn, policy
        self._driver, self._fleet, self._clock, self._on_look = driver, fleet, clock, on_look
        self._session: Session | None = None
        self._wake = asyncio.Event()
        #: those who wait for a position, the lowest first
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = _EAGER
        try:
            while True:
                self._wake.clear()
                await self._look()
                if self._fleet.primary is not None and self._member.healthy:
                    pause = self._policy.monitor_interval
                else:
                    pause = min(2 * pause if pause < self._policy.monitor_interval else _EAGER, 1.0)
                if self._waiting:
                    await self._catch_up()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(pause, self._policy.monitor_interval)):
                        await self._wake.wait()
        finally:
            if self._session is not None:
                self._session.terminate()
                self._session = None

    def suspect(self) -> None:
        """A connection broke: what was known of its position may not hold any more. Look again, now."""
        self._member.lsn = 0
        self.wake()

    def wake(self) -> None:
        """Look again, now."""
        self._wake.set()

    async def reached(self, lsn: int, timeout: float) -> bool:
        """Wait until the server has replayed so far, at most ``timeout`` seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (lsn, id(waiter), waiter))
        self._wake.set()
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            return False
        return True

    async def _look(self) -> None:
        policy, question = self._policy, asyncio.ensure_future(self._status())
        slow = False
        try:
            slow = not await _in_time(question, min(policy.max_latency, policy.connect_timeout))
            if slow:
                self._on_look("slow", None)
                if not await _in_time(question, policy.connect_timeout - policy.max_latency):
                    raise TimeoutError
            status = await question
        except Exception as error:
            # Whatever it is (a password that was changed, a server that hangs): it gives no answer.
            if self._session is not None:
                self._session.terminate()
                self._session = None
            self._member.lsn = 0
            self._on_look("lost", error)
        else:
            if slow:
                return
            self._fleet.heard(self._member, status, self._clock.monotonic())
            self._settle()
            self._on_look("", None)
        finally:
            if not question.done():
                question.cancel()
                await asyncio.wait([question])

    async def _status(self) -> Status:
        if self._session is not None:
            try:
                return await self._session.status()
            except Exception as error:
                if not (self._session.closed or self._driver.lost(error)):
                    raise
        self._session = await self._driver.connect(
            self._dsn, pooled=False, on_query=None, on_end=self.suspect
        )
        return await self._session.status()

    async def _catch_up(self) -> None:
        """Look often as long as somebody waits for the replay."""
        pause = _SOON
        while self._waiting and self._member.healthy and self._session is not None:
            try:
                async with asyncio.timeout(self._policy.floor_wait + self._policy.max_latency):
                    waited = await self._session.reached(self._waiting[0][0], self._policy.floor_wait)
            except Exception:
                waited = False  # the look below finds out what is wrong
            if not waited:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _SOMEWHAT_LATER)
            await self._look()
            self._settle()

    def _settle(self) -> None:
        """Wake those whose position is reached; forget those who gave up."""
        while self._waiting and (self._waiting[0][0] <= self._member.lsn or self._waiting[0][2].done()):
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)


async def _in_time(question: "asyncio.Future[Status]", seconds: float) -> bool:
    """Whether the answer comes. Where the loop stood still it may be there and not read yet: it is given a
    moment more."""
    for timeout in (max(seconds, 0.0), _MOMENT):
        done, _ = await asyncio.wait([question], timeout=timeout)
        if done:
            return True
    return False
