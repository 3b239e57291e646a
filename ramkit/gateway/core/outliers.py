"""Which servers are left out for what their answers were, and how they return.

Modelled on Envoy's outlier detection (failures in a row, share of failures, ejection time that grows, a bound
on how many are out) and HAProxy's ``slowstart``. Unlike Envoy's, a server whose time is over is tried with
one request before it gets its part of them.
"""

from collections.abc import Iterable

from ramkit.gateway.core.member import Member
from ramkit.gateway.policy import Ejection

__all__ = ["Outliers"]

_LONG_AGO = float("-inf")

#: The part of its requests that a server gets when it comes back: enough to warm up, little to lose.
_FIRST_WEIGHT = 0.1
#: And of one that ought to be ejected, while too many are: what retries can make good.
_SHUNNED_WEIGHT = 0.02


class Outliers:
    """The rules of one upstream's ``Ejection``; None ejects nobody."""

    __slots__ = ("_policy",)

    def __init__(self, policy: Ejection | None) -> None:
        self._policy = policy

    def suspicious(self, member: Member, now: float) -> bool:
        """Whether a server that just failed is to be left out."""
        policy = self._policy
        if policy is None:
            return False
        if member.row >= policy.failures:
            return True
        every, bad = member.recent.counts(now)
        return every >= policy.requests and bad >= policy.share * every

    def room(self, members: Iterable[Member]) -> bool:
        """Whether one more may be left out. Those that health checks took out count as well: a guess should
        not take away what is left."""
        given = list(members)
        out = sum(1 for member in given if member.ejected_until is not None or not member.healthy)
        return self._policy is not None and out + 1 <= self._policy.max_ejected * len(given)

    def eject(self, member: Member, now: float, since: int) -> None:
        """Leave it out; the longer, the more often it happened. What went well for as long as the longest
        ejection lasts is forgiven."""
        policy = self._policy
        if policy is None:
            return
        if member.ejected_until is None and now - member.returned > policy.longest:
            member.ejections = 0
        # the exponent is bounded so that the power is
        duration = min(policy.duration * 2.0 ** min(member.ejections, 60), policy.longest)
        member.ejections += 1
        member.ejected_until = now + duration
        member.since, member.trial = since, 0

    def shun(self, member: Member, now: float) -> bool:
        """It fails in a row and there is no room: it gets little for as long as a first ejection lasts.
        Whether that is news."""
        policy = self._policy
        if policy is None or member.row < policy.failures:
            return False
        news = now >= member.shunned_until
        member.shunned_until = now + policy.duration
        return news

    def restore(self, member: Member, now: float, since: int) -> None:
        """Let it back, with a clean record, gradually."""
        member.ejected_until = None
        member.since, member.trial, member.row = since, 0, 0
        member.recent.clear(now)
        self.warm(member, now)

    def warm(self, member: Member, now: float) -> None:
        """Its part of the requests grows from now on."""
        member.returned, member.shunned_until = now, _LONG_AGO
        self.weigh(member, now)

    def settled(self, member: Member, now: float) -> float:
        """When its part is what it was, or begins to grow."""
        if now < member.shunned_until:
            return member.shunned_until
        return member.returned + (self._policy.slow_start if self._policy is not None else 0)

    def weigh(self, member: Member, now: float) -> bool:
        """Set its part of the requests; whether that will change with time."""
        if now < member.shunned_until:
            member.weight = _SHUNNED_WEIGHT
            return True
        slow_start = self._policy.slow_start if self._policy is not None else 0
        age = now - member.returned
        member.weight = 1.0 if age >= slow_start else max(_FIRST_WEIGHT, age / slow_start)
        return age < slow_start
