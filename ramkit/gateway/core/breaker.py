"""Whether an upstream is asked at all: the circuit breaker of Nygard, "Release It!" (2007), ch. 5."""

from collections.abc import Iterable

from ramkit.gateway.core.member import Member
from ramkit.gateway.policy import CircuitBreaker

__all__ = ["Breaker"]


class Breaker:
    """Closed: every request goes. Open: none for ``cooldown`` seconds. Half open: one at a time, whose
    outcome decides. That trial is known by its attempt's number: what began before says nothing.
    """

    __slots__ = ("_policy", "_trial", "_until", "closed")

    def __init__(self, policy: CircuitBreaker | None) -> None:
        self._policy = policy
        self._until = 0.0
        self._trial = 0
        #: whether nothing is wrong; a field, since each request reads it
        self.closed = True

    def admits(self, now: float) -> bool:
        """Whether a request may go."""
        return self.closed or (now >= self._until and not self._trial)

    def started(self, attempt: int) -> None:
        """A request goes, though it is not closed: it is the trial."""
        if not self._trial:
            self._trial = attempt

    def judge(self, serving: Iterable[Member], now: float) -> None:
        """A request failed: open if no server in service does well. One that was not asked is not known to
        do badly."""
        policy = self._policy
        if policy is None or not self.closed:
            return
        requests = 0
        for member in serving:
            every, bad = member.recent.counts(now)
            if bad < policy.share * every or not every:
                return
            requests += every
        if requests >= policy.requests:
            self._open(now, policy.cooldown)

    def succeeded(self, attempt: int) -> bool:
        """A request went well; True if that closes it."""
        if attempt != self._trial:
            return False
        self.closed, self._trial = True, 0
        return True

    def failed(self, attempt: int, now: float) -> None:
        """A request failed: if it was the trial, it stays open for another while."""
        if attempt == self._trial and self._policy is not None:
            self._open(now, self._policy.cooldown)

    def abandoned(self, attempt: int) -> None:
        """A request ended without saying anything: the next may be the trial."""
        if attempt == self._trial:
            self._trial = 0

    def carry(self, other: "Breaker") -> None:
        """Stay open as another was, if there is to be a breaker at all."""
        if self._policy is not None:
            self.closed, self._until = other.closed, other._until

    def _open(self, now: float, cooldown: float) -> None:
        self.closed, self._until, self._trial = False, now + cooldown, 0
