"""The servers of one database, on one loop: what is lent to whom, and what follows from what is seen."""

import asyncio
from collections.abc import Callable
from typing import Any

from ramkit.db.core.dsn import shown
from ramkit.db.core.fleet import Fleet, Member
from ramkit.db.errors import DatabaseUnavailable, DeadlineExceeded, PoolTimeout, ReadOnly
from ramkit.db.events import Failover, ReplicaLag, ServerEjected, SlowQuery
from ramkit.db.monitor import Monitor
from ramkit.db.node import Node
from ramkit.db.policy import DatabasePolicy, Server
from ramkit.db.pool import Pool
from ramkit.db.port import Driver, Session
from ramkit.kernel.clock import Clock
from ramkit.kernel.context import RequestContext
from ramkit.kernel.observers import Observer, notify

__all__ = ["Servers"]

#: Seconds after which somebody who waits for a server looks for himself.
_PATIENCE = 0.05
#: What asking another server would not help.
_FINAL = (PoolTimeout, DeadlineExceeded)


class Servers:
    """``given``: the servers. Made on the loop that it belongs to."""

    def __init__(
        self,
        name: str,
        given: list[Server],
        policy: DatabasePolicy,
        driver: Driver,
        observers: tuple[Observer, ...],
        clock: Clock,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._name, self._policy, self._observers = name, policy, observers
        self._driver, self._clock = driver, clock
        self._fleet = Fleet([Member(shown(each.direct)) for each in given], policy)
        self._primary: Member | None = None
        #: of those that did not answer their monitor, why
        self._failures: dict[Member, str] = {}
        #: in order; who came first is woken first
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._nodes = {
            member: self._node(member, server)
            for member, server in zip(self._fleet.members, given, strict=True)
        }

    def monitors(self) -> list[Monitor]:
        """What has to run in the background."""
        return [node.monitor for node in self._nodes.values()]

    def lags(self) -> dict[str, float | None]:
        """Of those that are not known as a primary."""
        replicas = [each for each in self._fleet.members if each.standby is not False]
        return {each.name: each.lag if each.standby and each.healthy else None for each in replicas}

    def passed(self, lsn: int) -> float | None:
        """For how many seconds every replica is known to have replayed it."""
        return self._fleet.passed(lsn, self._clock.monotonic())

    async def ready(self) -> None:
        """Until somebody can be read from."""
        if await self._until(self._fleet.reader, self._policy.connect_timeout) is None:
            raise DatabaseUnavailable(self._because("no server answers"))

    async def drain(self) -> None:
        """Until nothing is lent out, at most ``close_timeout``."""
        end = self.loop.time() + self._policy.close_timeout
        while any(node.pool.lent for node in self._nodes.values()) and self.loop.time() < end:
            await self._pause()

    async def aclose(self) -> None:
        await asyncio.gather(*(node.pool.aclose() for node in self._nodes.values()))

    async def reader(
        self, context: RequestContext | None, left: float | None, avoid: Member | None = None
    ) -> tuple[Node, Session]:
        """A connection for reading: of a server at or past the context's floor."""
        floor = -1 if context is None else context.wanted(self._name)
        fleet = self._fleet
        for _ in fleet.members:
            member = fleet.reader(floor, avoid)
            if member is None or (floor >= 0 and not member.standby and fleet.replicas):
                member = await self._find(floor, avoid, left)
            node = self._nodes[member]
            member.reading += 1
            try:
                session = node.pool.take_nowait()
                if session is None:
                    session = await self._take(node, left)
            except BaseException as error:
                member.reading -= 1
                if isinstance(error, _FINAL) or not isinstance(error, DatabaseUnavailable):
                    raise
                avoid = member
                continue
            if context is not None:
                try:
                    context.read_at(self._name, await self._position(member, session, floor))
                except BaseException as error:
                    broke = isinstance(error, Exception) and node.broke(session, error)
                    node.give_back(session, reading=True)
                    if not broke:
                        raise
                    avoid = member
                    continue
            return node, session
        raise DatabaseUnavailable(self._because("no server answers"))

    async def _position(self, member: Member, session: Session, floor: int) -> int:
        """What a read that begins now cannot have missed. The primary is asked for what its monitor has not
        seen yet."""
        if floor > member.position and not member.standby:
            member.lsn = max(member.lsn, await session.position())
            if floor > member.lsn:
                self._fleet.fell_short(floor)
        return member.position

    async def writer(
        self, left: float | None, isolation: str | None, *, transaction: bool
    ) -> tuple[Node, Session, Any]:
        """A connection to the primary, and its transaction. Until that has begun, it is safe to try again."""
        end = self.loop.time() + _least(left, self._policy.connect_timeout)
        while True:
            member = await self._until(lambda: self._fleet.primary, end - self.loop.time())
            if member is None:
                raise ReadOnly(self._because("no server takes writes"))
            node = self._nodes[member]
            try:
                session = node.pool.take_nowait() or await self._take(node, left)
            except _FINAL:
                raise
            except DatabaseUnavailable as error:
                await self._again(end, error)
                continue
            try:
                if transaction:
                    return node, session, await session.begin(isolation)
                await session.unlock()
            except BaseException as error:
                node.give_back(session)
                if not isinstance(error, Exception):
                    raise
                if self._driver.elsewhere(error):
                    self._told(node, standby=True)
                elif not node.broke(session, error):
                    raise
                await self._again(end, error)
            else:
                return node, session, None

    async def _again(self, end: float, error: Exception) -> None:
        """A moment until the primary is looked for again. Raises ``ReadOnly`` once the time is up."""
        if self.loop.time() >= end:
            raise ReadOnly(f"{self._name}: no server takes writes ({error})") from error
        await self._pause()

    async def _find(self, floor: int, avoid: Member | None, left: float | None) -> Member:
        """A server for a read that no replica can take at once."""
        nearest = self._fleet.nearest()
        if floor >= 0 and nearest is not None and not self._fleet.in_vain(floor):
            await self._nodes[nearest].monitor.reached(floor, _least(left, self._policy.floor_wait))
        found = await self._until(
            lambda: self._fleet.reader(floor, avoid), _least(left, self._policy.acquire_timeout)
        )
        if found is not None:
            return found
        if self._fleet.primary is None:
            raise DatabaseUnavailable(self._because("no server answers"))
        raise PoolTimeout(f"{self._name}: the primary's share for reads is lent out")

    async def _take(self, node: Node, left: float | None) -> Session:
        bound = self._policy.acquire_timeout
        if left is not None and left < bound:
            try:
                return await node.pool.take(left)
            except PoolTimeout as error:
                raise DeadlineExceeded(str(error)) from None
        return await node.pool.take(bound)

    async def _until(self, choose: "Callable[[], Member | None]", timeout: float) -> Member | None:
        end = self.loop.time() + timeout
        while (found := choose()) is None and self.loop.time() < end:
            await self._pause()
        return found

    async def _pause(self) -> None:
        """Until something changes, or for a moment."""
        change: asyncio.Future[None] = self.loop.create_future()
        self._waiting[change] = None
        try:
            await asyncio.wait([change], timeout=_PATIENCE)
        finally:
            self._waiting.pop(change, None)

    def _because(self, what: str) -> str:
        told = [
            (each.name, node.pool.failure or self._failures.get(each)) for each, node in self._nodes.items()
        ]
        why = "; ".join(f"{name}: {reason}" for name, reason in told if reason)
        return f"{self._name}: {what} ({why})" if why else f"{self._name}: {what}"

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            if not each.done():
                each.set_result(None)
        primary = self._fleet.primary
        if primary is not None and primary is not self._primary:
            if self._primary is not None and self._observers:
                notify(self._observers, Failover(self._name, primary.name))
            self._primary = primary

    def _told(self, node: Node, *, standby: bool) -> None:
        """An answer reported another role: a promotion, as a rule."""
        if self._fleet.told(node.member, standby=standby):
            node.monitor.suspect()
            # Where one stepped down another stepped up, and behind pgbouncer no answer tells which.
            for each in self._nodes.values():
                each.monitor.wake()
            self._changed()

    def _node(self, member: Member, server: Server) -> Node:
        def slow(query: str, seconds: float) -> None:
            if seconds >= self._policy.slow_query:
                notify(self._observers, SlowQuery(self._name, member.name, query, seconds))

        def looked(outcome: str, error: Exception | None) -> None:
            self._looked(self._nodes[member], outcome, error)

        clock = self._clock
        monitor = Monitor(member, server.direct, self._policy, self._driver, self._fleet, clock, looked)
        pool = Pool(
            member,
            server,
            self._policy,
            self._driver,
            self._observers,
            database=self._name,
            on_query=slow if self._observers else None,
            on_failure=monitor.suspect,
        )
        return Node(member, pool, monitor, self._driver, self._told, self._changed)

    def _looked(self, node: Node, outcome: str, error: Exception | None) -> None:
        member = node.member
        if not outcome and self._fleet.foreign(member):
            outcome, error = "foreign", DatabaseUnavailable("it belongs to another cluster than the primary")
        news = outcome != "" and self._fleet.eject(member)
        if error is not None:
            self._failures[member] = str(error) or type(error).__name__
        elif member.healthy:
            self._failures.pop(member, None)
        if outcome == "lost":
            node.pool.drop(DatabaseUnavailable(f"{member.name}: {error!r}"))
        else:
            node.pool.maintain(self.loop.time())
        if self._observers:
            if news:
                notify(self._observers, ServerEjected(self._name, member.name, outcome))
            elif not outcome and member.standby:
                notify(self._observers, ReplicaLag(self._name, member.name, member.lag, member.lag_bytes))
        self._changed()


def _least(left: float | None, bound: float) -> float:
    return bound if left is None else min(left, bound)
