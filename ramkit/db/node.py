"""One server: what is known of it, its connections, and its monitor."""

from collections.abc import Callable
from typing import Protocol

from ramkit.db.core.fleet import Member
from ramkit.db.monitor import Monitor
from ramkit.db.pool import Pool
from ramkit.db.port import Driver, Session

__all__ = ["Node"]


class Told(Protocol):
    def __call__(self, node: "Node", *, standby: bool) -> None: ...


class Node:
    """``told``: called with a role that a connection reported, where it is another than was known."""

    __slots__ = ("_driver", "_freed", "_told", "member", "monitor", "pool")

    def __init__(
        self,
        member: Member,
        pool: Pool,
        monitor: Monitor,
        driver: Driver,
        told: "Told",
        freed: Callable[[], None],
    ) -> None:
        self.member, self.pool, self.monitor = member, pool, monitor
        self._driver, self._told, self._freed = driver, told, freed

    def give_back(self, session: Session, *, reading: bool = False) -> None:
        """The borrower is done. Its last answer told the server's role."""
        member = self.member
        standby = session.standby
        if standby is not None and standby is not member.standby and not session.closed:
            self._told(self, standby=standby)
        self.pool.give(session)
        if reading:
            member.reading -= 1
            if not member.standby:
                self._freed()

    def broke(self, session: Session, error: Exception) -> bool:
        """Whether an error means that the server or the connection is gone; then it is looked at."""
        if session.closed or self._driver.lost(error):
            self.monitor.suspect()
            return True
        return False
