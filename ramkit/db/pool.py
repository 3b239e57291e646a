"""The connections to one server."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ramkit.db.core.fleet import Member
from ramkit.db.errors import DatabaseUnavailable, PoolTimeout
from ramkit.db.events import PoolWait
from ramkit.db.policy import DatabasePolicy, Server
from ramkit.db.port import Driver, Session
from ramkit.kernel.context import RequestContext
from ramkit.kernel.observers import Observer, notify

__all__ = ["Pool"]


class Pool:
    """Lends each connection to one borrower at a time, the one that was used last first.

    A connection that comes back is reset in the background, and lent again when that is done: a borrower
    waits for it only where every other connection is lent out. Whoever waits already resets it in his own
    task.
    """

    def __init__(
        self,
        member: Member,
        server: Server,
        policy: DatabasePolicy,
        driver: Driver,
        observers: tuple[Observer, ...],
        *,
        database: str,
        on_query: Callable[[str, float], None] | None,
        on_failure: Callable[[], None],
    ) -> None:
        self.member, self._policy, self._driver = member, policy, driver
        self._server, self._database = server, database
        self._observers, self._on_query, self._on_failure = observers, on_query, on_failure
        self._loop = asyncio.get_running_loop()
        #: clean ones, with when they came back; the last is lent first
        self._idle: list[tuple[Session, float]] = []
        self.lent: set[Session] = set()
        self._resets: dict[Session, asyncio.Task[None]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        #: who waits; what he is handed is clean or not
        self._waiters: deque[asyncio.Future[tuple[Session, bool]]] = deque()
        self._closing = False
        #: why no connection could be made, if the last attempt failed
        self.failure = ""

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""
        return len(self._idle) + len(self.lent) + len(self._resets) + len(self._opening)

    def take_nowait(self) -> Session | None:
        """A clean connection, if there is one."""
        while self._idle:
            session, _ = self._idle.pop()
            if not session.closed:
                self.lent.add(session)
                self.member.busy += 1
                return session
        return None

    async def take(self, timeout: float) -> Session:
        """A clean connection. Raises ``PoolTimeout``, or what connecting raises."""
        session = self.take_nowait()
        return session if session is not None else await self._wait(timeout)

    def give(self, session: Session) -> None:
        """Back from its borrower; it is reset before it is lent again."""
        self.lent.discard(session)
        self.member.busy -= 1
        session.settle()
        if self._closing or session.closed:
            session.terminate()
            self._fill()
        elif not self._hand(session, clean=False):
            self._resets[session] = self._loop.create_task(self._reset(session))

    def maintain(self, now: float) -> None:
        """Close what is idle for too long, and what broke; open what is missing to ``min_size``."""
        for session, since in list(self._idle):
            old = now - since > self._policy.idle_timeout and self.size > self._policy.min_size
            if old or session.closed:
                self._idle.remove((session, since))
                session.terminate()
        while self.size < self._policy.min_size and not self._closing:
            self._open()

    def drop(self, error: Exception) -> None:
        """The server is gone: end all connections; who waits hears of it."""
        for session, _ in self._idle:
            session.terminate()
        self._idle.clear()
        for session in [*self.lent, *self._resets]:
            session.terminate()
        self._refuse(error)

    async def aclose(self) -> None:
        """Close all connections, within ``connect_timeout``; who waits hears of it."""
        self._closing, self.failure = True, "closing"
        self._refuse(self._unavailable())
        tasks = [*self._resets.values(), *self._opening]
        for task in self._opening:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._policy.connect_timeout)
        idle, self._idle = self._idle, []
        for session in [*self.lent, *self._resets]:
            session.terminate()
        await asyncio.gather(*(session.close(self._policy.connect_timeout) for session, _ in idle))

    async def _wait(self, timeout: float) -> Session:
        started = self._loop.time()
        outcome = "failed"
        try:
            while True:
                session, clean = await self._next(started + timeout)
                if not clean:
                    try:
                        clean = await self._clean(session)
                    finally:
                        if not clean:
                            self.give(session)
                if clean:
                    outcome = "lent"
                    return session
        except TimeoutError:
            outcome = "timeout"
            reason = f"{self.member.name}: no connection became free within {timeout:g} s"
            raise PoolTimeout(reason) from None
        finally:
            seconds = self._loop.time() - started
            if (context := RequestContext.current()) is not None:
                context.waited("pool", seconds)
            if self._observers:
                notify(self._observers, PoolWait(self._database, self.member.name, outcome, seconds))

    async def _next(self, end: float) -> tuple[Session, bool]:
        """What is handed on next, lent to the caller already. Raises ``TimeoutError``, or why there is
        none."""
        if self._closing:
            raise self._unavailable()
        waiter: asyncio.Future[tuple[Session, bool]] = self._loop.create_future()
        self._waiters.append(waiter)
        self._fill()
        timer = self._loop.call_at(end, _time_out, waiter)
        try:
            return await waiter
        except BaseException:
            # Whoever waited is gone; what he was handed just now goes on to the next.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give(waiter.result()[0])
            with suppress(ValueError):
                self._waiters.remove(waiter)
            raise
        finally:
            timer.cancel()

    def _hand(self, session: Session, *, clean: bool) -> bool:
        """Lend it to whoever waits longest, if anybody does."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.lent.add(session)
                self.member.busy += 1
                waiter.set_result((session, clean))
                return True
        return False

    async def _clean(self, session: Session) -> bool:
        """Reset it, within ``connect_timeout``; whether it can be used. One that cannot is ended."""
        bound = self._loop.call_later(self._policy.connect_timeout, session.terminate)
        try:
            await session.reset()
        except Exception:
            session.terminate()
            return False
        finally:
            bound.cancel()
        return True

    def _fill(self) -> None:
        """Open connections for those who wait, beyond what is about to come back by itself."""
        coming = len(self._resets) + len(self._opening)
        room = self._policy.max_size - self.size
        for _ in range(min(len(self._waiters) - coming, room)):
            self._open()

    def _open(self) -> None:
        task = self._loop.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            session = await self._driver.connect(
                self._server.dsn, pooled=self._server.pooled, on_query=self._on_query
            )
        except Exception as error:
            self._opened()
            self._fail(error)
        else:
            self._opened()
            self.failure = ""
            self._ready(session)

    def _opened(self) -> None:
        """Whoever hears how this attempt ended and asks again at once is not to wait for it."""
        this: Any = asyncio.current_task()
        self._opening.discard(this)

    def _fail(self, error: Exception) -> None:
        """No connection: those that the others that are open do not serve hear why."""
        self.failure = str(error) or type(error).__name__
        self._on_failure()
        unavailable = self._unavailable()
        unavailable.__cause__ = error
        self._refuse(unavailable, but=self.size)

    def _refuse(self, error: Exception, *, but: int = 0) -> None:
        """All who wait, but so many, hear why they wait in vain."""
        while len(self._waiters) > but:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    def _unavailable(self) -> DatabaseUnavailable:
        return DatabaseUnavailable(f"{self.member.name}: {self.failure}")

    async def _reset(self, session: Session) -> None:
        try:
            await self._clean(session)
        except BaseException:
            session.terminate()
            raise
        finally:
            del self._resets[session]
        self._ready(session)

    def _ready(self, session: Session) -> None:
        """A clean connection: to whoever waits longest, else it is idle."""
        if session.closed or self._closing:
            session.terminate()
            self._fill()
            return
        if not self._hand(session, clean=True):
            self._idle.append((session, self._loop.time()))


def _time_out(waiter: "asyncio.Future[tuple[Session, bool]]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
