"""The servers of one upstream: which one a request gets, and what its outcome says.

Three judgements meet here. *Health checks* are a server's own word: one that is unhealthy gets nothing.
*Ejection* is a guess from its answers: one that is ejected gets nothing as long as there is another. The
*breaker* says whether the upstream is asked at all; while it is closed, and only ejected servers
are left, the least loaded of those answers rather than nobody.
"""

from collections.abc import Callable, Collection
from random import random as draw

from ramkit.gateway.core.balancing import balancer
from ramkit.gateway.core.breaker import Breaker
from ramkit.gateway.core.budget import RetryBudget
from ramkit.gateway.core.health import Checks
from ramkit.gateway.core.member import Member, Outcome
from ramkit.gateway.core.outliers import Outliers
from ramkit.gateway.policy import Upstream

__all__ = ["Group", "Member", "Outcome"]

_WINDOW = 10.0
_NEVER = float("inf")
#: Numbers of attempts that a group leaves to the one it was carried from.
_APART = 1 << 40


class Group:
    """One upstream's servers and all that is known of them.

    ``now`` is seconds on a clock that never goes back. ``random`` gives numbers in [0, 1).
    """

    __slots__ = (
        "_balancer", "_breaker", "_budget", "_checks", "_ejected", "_limit", "_made", "_number", "_outliers",
        "_random", "_serving", "_trials", "_wake", "_warming", "members", "upstream",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, now: float, *, random: Callable[[], float] = draw) -> None:
        self.upstream = upstream
        self._outliers = Outliers(upstream.ejection)
        self._checks = Checks(upstream.health, random)
        self._breaker = Breaker(upstream.breaker)
        self._budget = RetryBudget(upstream.retry_budget, now)
        self._limit = upstream.max_connections
        window = upstream.ejection.window if upstream.ejection is not None else _WINDOW
        self.members = tuple(Member(url, window, now) for url in upstream.servers)
        self._balancer = balancer(upstream.balance, self.members, random)
        self._made, self._random = now, random
        #: the number of the last attempt
        self._number = 0
        self._sort(now)

    # -- on each request's path ---------------------------------------------------------------------

    def choose(self, now: float, *, key: bytes = b"", tried: Collection[Member] = ()) -> Member | None:
        """A server for one attempt; ``started`` is called before anything else happens.

        ``key``: what ``hash_on`` names. ``tried``: servers to leave out. None: nobody is healthy, all
        are busy with ``max_connections``, or the breaker is open.
        """
        if now >= self._wake:
            self._sort(now)
        if not self._breaker.closed and not self._breaker.admits(now):
            return None
        if self._trials and not tried:
            for member in self._trials:
                if member.outstanding < self._limit:
                    return member
        for member in self._warming:
            self._outliers.weigh(member, now)
        chosen = self._balancer.pick(self._serving, key, tried, self._limit)
        if chosen is None and self._ejected:
            return self._balancer.pick(self._ejected, key, tried, self._limit)
        return chosen

    def started(self, member: Member, now: float) -> int:
        """An attempt begins; its number is for ``finished``."""
        member.outstanding += 1
        self._number = number = self._number + 1
        self._budget.sent(now)
        if not self._breaker.closed:
            self._breaker.started(number)
        until = member.ejected_until
        if until is not None and not member.trial and now >= until and number >= member.since:
            member.trial = number
            self._sort(now)
        return number

    def finished(self, member: Member, now: float, outcome: Outcome, attempt: int) -> None:
        """An attempt that ``started`` numbered has ended."""
        member.outstanding -= 1
        if outcome is Outcome.SUCCESS:
            if attempt >= member.since:
                member.recent.add(now)
                if member.row or member.ejected_until is not None:
                    self._recovered(member, now)
            if not self._breaker.closed and self._breaker.succeeded(attempt):
                self._forget(now)
        elif outcome is Outcome.ABANDONED:
            self._breaker.abandoned(attempt)
            if attempt == member.trial:
                member.trial = 0
                self._sort(now)
        else:
            self._breaker.failed(attempt, now)
            if attempt >= member.since:
                self._failed(member, now, attempt)

    def may_retry(self, now: float) -> bool:
        """Whether the budget has one more retry; True spends it."""
        return self._budget.spend(now)

    # -- health checks and reload -------------------------------------------------------------------

    def due(self, now: float) -> list[Member]:
        """Whom to ask for its health now; each is booked for its next time."""
        return self._checks.due(self.members, now)

    def probed(self, member: Member, now: float, healthy: bool) -> None:  # noqa: FBT001 - the answer itself
        """What a health check found."""
        if not self._checks.probed(member, healthy=healthy):
            return
        if healthy:
            # Down and up again: what was held against it is from before. If it is ejected, it is tried now.
            member.row, member.since = 0, self._number + 1
            member.recent.clear(now)
            if member.ejected_until is not None:
                member.ejected_until, member.trial = now, 0
            self._outliers.warm(member, now)
        self._sort(now)

    def carry(self, other: "Group") -> None:
        """Take over, before the first request, the servers that another group shares with this one, with all
        that is known of them. The other one only finishes what it began; that counts as under way here, and
        says nothing any more. Servers that are new warm up.
        """
        known = {member.url: member for member in other.members}
        self._number = other._number + _APART
        self._budget.carry(other._budget)
        self._breaker.carry(other._breaker)
        members: list[Member] = []
        for member in self.members:
            if (old := known.get(member.url)) is None:
                self._outliers.warm(member, self._made)
            else:
                old.since, old.trial, old.recent = self._number + 1, 0, member.recent
                old.healthy = old.healthy or not self._checks.wanted
                if self.upstream.ejection is None:
                    self._outliers.restore(old, self._made, old.since)
            members.append(old or member)
        self.members = tuple(members)
        # A check that it began would change a verdict without this group's notice.
        other._checks = Checks(None, self._random)
        self._balancer = balancer(self.upstream.balance, self.members, self._random)
        self._sort(self._made)

    # -- judgement ----------------------------------------------------------------------------------

    def _recovered(self, member: Member, now: float) -> None:
        """It answered after failures."""
        member.row = 0
        if member.ejected_until is not None:
            self._outliers.restore(member, now, self._number + 1)
        elif now < member.shunned_until:
            self._outliers.warm(member, now)
        else:
            return
        self._sort(now)

    def _failed(self, member: Member, now: float, attempt: int) -> None:
        member.row += 1
        member.recent.add(now, bad=True)
        if member.ejected_until is not None:
            if attempt == member.trial:
                self._outliers.eject(member, now, self._number + 1)
                self._sort(now)
        elif self._outliers.suspicious(member, now):
            if self._outliers.room(self.members):
                self._outliers.eject(member, now, self._number + 1)
                self._sort(now)
            elif self._outliers.shun(member, now):
                self._sort(now)
        self._breaker.judge(self._serving or self._ejected, now)

    def _forget(self, now: float) -> None:
        """The breaker closed: what opened it is over. Who is ejected has a trial of its own before it."""
        for member in self._serving:
            member.row, member.since = 0, self._number + 1
            member.recent.clear(now)

    def _sort(self, now: float) -> None:
        """Who is in service, ejected, to be tried, warming up; and when that changes with time alone."""
        healthy = [member for member in self.members if member.healthy]
        self._serving = [member for member in healthy if member.ejected_until is None]
        self._ejected = [member for member in healthy if member.ejected_until is not None]
        self._trials: list[Member] = []
        self._wake = _NEVER
        for member in self._ejected:
            if member.ejected_until is not None and not member.trial:
                if now >= member.ejected_until:
                    self._trials.append(member)
                else:
                    self._wake = min(self._wake, member.ejected_until)
        self._warming = [member for member in self._serving if self._outliers.weigh(member, now)]
        if self._warming:
            self._wake = min(self._wake, *(self._outliers.settled(member, now) for member in self._warming))
