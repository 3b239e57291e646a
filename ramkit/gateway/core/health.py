"""What active health checks say, with HAProxy's thresholds (``rise`` and ``fall``)."""

from collections.abc import Callable, Iterable

from ramkit.gateway.core.member import Member
from ramkit.gateway.policy import HealthCheck

__all__ = ["Checks"]

#: Intervals differ by up to this part, so that many gateways do not ask a server in the same moment.
_JITTER = 0.2


class Checks:
    """The rules of one upstream's ``HealthCheck``; None asks nobody."""

    __slots__ = ("_policy", "_random")

    def __init__(self, policy: HealthCheck | None, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random

    @property
    def wanted(self) -> bool:
        """Whether there are checks at all."""
        return self._policy is not None

    def due(self, members: Iterable[Member], now: float) -> list[Member]:
        """Whom to ask now; each is booked for its next time."""
        if self._policy is None:
            return []
        asked = [member for member in members if now >= member.check_at]
        for member in asked:
            jitter = _JITTER * (self._random() - 0.5)
            member.check_at = now + self._policy.interval * (1 + jitter)
        return asked

    def probed(self, member: Member, *, healthy: bool) -> bool:
        """Whether that answer changed the verdict."""
        if self._policy is None:
            return False
        if healthy == member.healthy:
            member.streak = 0
            return False
        member.streak += 1
        if member.streak < (self._policy.healthy if healthy else self._policy.unhealthy):
            return False
        member.healthy, member.streak = healthy, 0
        return True
