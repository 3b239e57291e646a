"""Which server is asked: by role, health, lag, floor and load. Times are the clock's ``monotonic()``."""

import sys
from collections import deque
from dataclasses import dataclass

from ramkit.db.core.progress import Progress
from ramkit.db.policy import DatabasePolicy

__all__ = ["Fleet", "Member", "Status"]

#: Looks that have to go well in a row before a server that was ejected is asked again.
_RETURN = 2
#: Samples of how far the log was, for lag in seconds: with one a second, beyond any sensible bound.
_SAMPLES = 512


@dataclass(frozen=True, slots=True)
class Status:
    """What a server says of itself.

    ``lsn``: what it has replayed; on a primary, what it has written. ``known``: the end of the log as far as
    it has heard. ``timeline``: of a primary; each promotion begins one. ``system``: the
    cluster's identifier, 0 where it may not be asked for.
    """

    standby: bool
    lsn: int
    known: int
    timeline: int = 0
    system: int = 0


class Member:
    """What is known of one server."""

    __slots__ = (
        "busy", "good", "healthy", "lag", "lag_bytes", "lsn", "name", "reading", "standby", "system",
        "timeline",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        #: None until it was heard of
        self.standby: bool | None = None
        self.timeline = self.system = 0
        #: what it has replayed; on a primary, where its log has ended already
        self.lsn = 0
        self.lag = 0.0
        self.lag_bytes = 0
        self.healthy = False
        #: looks that went well in a row, counted while it is ejected
        self.good = _RETURN
        #: connections lent out, and those of them that only read
        self.busy = 0
        self.reading = 0

    @property
    def position(self) -> int:
        """The highest floor that a read which begins now satisfies for certain.

        On a primary what lies strictly below: a commit is in the log before it is visible, so that of two at
        the same place one may be missed yet. Behind each write of a floor the log is made to go on
        (``Session.mark``): what is below the log's end was told before, and so was visible before.
        """
        return self.lsn if self.standby else max(self.lsn - 1, 0)


class Fleet:
    """The servers of one database."""

    def __init__(self, members: list[Member], policy: DatabasePolicy) -> None:
        self.members, self._policy = members, policy
        #: without replicas it is the pool that bounds them
        self._share = policy.primary_reads if len(members) > 1 else sys.maxsize
        #: the replicas that may answer, whatever the floor
        self.replicas: list[Member] = []
        self.primary: Member | None = None
        self._ends: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._timeline = 0
        self._progress = Progress()
        #: the cluster's identifier, as the last primary told it
        self._system = 0
        #: the lowest floor that the primary turned out to be behind
        self._lost: int | None = None

    def heard(self, member: Member, status: Status, now: float) -> None:
        """A server answered its monitor in time."""
        self._turn(member, standby=status.standby)
        member.timeline, member.lsn, member.system = status.timeline, status.lsn, status.system
        if not status.standby and self._system != status.system and self.primary in (None, member):
            self._system = status.system
            self._ends.clear()  # what was heard before may have been of another's log
        if status.timeline > self._timeline:
            # What the former primary had written beyond its last replica is lost: nobody is behind it.
            self._timeline = status.timeline
            self._ends.clear()
        current = not self.foreign(member) if status.standby else status.timeline == self._timeline
        if current and (not self._ends or status.known > self._ends[-1][1]):
            self._ends.append((now, status.known))
        if not member.healthy:
            member.good += 1
            member.healthy = member.good >= _RETURN
        self._measure(now)
        self._sort()
        self._progress.heard(now, self._lowest())

    def told(self, member: Member, *, standby: bool) -> bool:
        """A connection reported the server's role. Whether that is news."""
        if member.standby is standby:
            return False
        self._turn(member, standby=standby)
        self._sort()
        return True

    def eject(self, member: Member) -> bool:
        """It failed, or is slow. Whether that is news."""
        news, member.healthy, member.good = member.good >= _RETURN, False, 0
        self._sort()
        return news

    def foreign(self, member: Member) -> bool:
        """Whether it replays another cluster's log than the primary writes."""
        return bool(member.standby and member.system and self._system) and member.system != self._system

    def reader(self, floor: int = -1, avoid: Member | None = None) -> Member | None:
        """The least loaded replica at or past the floor, else the primary within its share, else none.

        A server to be avoided is taken when there is no other.
        """
        best: Member | None = None
        for member in self.replicas:
            if member.lsn >= floor and member is not avoid and (best is None or member.busy < best.busy):
                best = member
        if best is None:
            primary = self.primary
            if primary is not None and primary is not avoid and primary.reading < self._share:
                return primary
            if avoid is not None and avoid.healthy:
                return self.reader(floor)
        return best

    def nearest(self) -> Member | None:
        """The replica that will reach a floor first."""
        return max(self.replicas, key=_lsn, default=None)

    def fell_short(self, floor: int) -> None:
        """The primary was asked, and its log ends before a floor: that is of another log, or of an end that
        was lost."""
        known = self._lost
        self._lost = min(floor, known) if known is not None and self.in_vain(known) else floor

    def in_vain(self, floor: int) -> bool:
        """Whether no replica will get there, since the primary has not."""
        return self._lost is not None and self.primary is not None and self.primary.lsn < self._lost <= floor

    def passed(self, lsn: int, now: float) -> float | None:
        """For how many seconds every server but the primary is known to have replayed it; None: not all have,
        or one does not answer."""
        since = self._progress.since(lsn) if self._lowest() >= lsn else None
        return None if since is None else now - since

    def _lowest(self) -> int:
        """What every server but the primary has replayed, whether or not it may answer."""
        others = [each for each in self.members if each is not self.primary]
        return min((each.lsn if each.standby else 0 for each in others), default=sys.maxsize)

    def _turn(self, member: Member, *, standby: bool) -> None:
        if member.standby is not standby:
            if member.standby is not None:
                member.lsn = 0  # replayed and written are not the same measure
            member.standby = standby

    def _measure(self, now: float) -> None:
        """Lag: how long ago the log first went beyond what a replica has replayed; none on an idle
        primary."""
        end = self._ends[-1][1] if self._ends else 0
        for member in self.members:
            missing = max(end - member.lsn, 0) if member.standby else 0
            member.lag_bytes = missing
            member.lag = 0.0
            if missing:
                since = next((time for time, known in self._ends if known > member.lsn), now)
                member.lag = now - since

    def _sort(self) -> None:
        primaries = [each for each in self.members if each.healthy and each.standby is False]
        # One that comes back after another's promotion is behind by a timeline, and no primary any more:
        # that is known when every server was looked at once.
        known = all(each.standby is not None or each.good < _RETURN for each in self.members)
        self.primary = next((each for each in primaries if known and each.timeline >= self._timeline), None)
        self.replicas = [
            each
            for each in self.members
            if each.healthy and each.standby and self._near(each) and not self.foreign(each)
        ]

    def _near(self, member: Member) -> bool:
        max_lag, max_bytes = self._policy.max_lag, self._policy.max_lag_bytes
        return (max_lag is None or member.lag <= max_lag) and (
            max_bytes is None or member.lag_bytes <= max_bytes
        )


def _lsn(member: Member) -> int:
    return member.lsn
