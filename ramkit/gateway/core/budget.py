"""How many requests may be sent again.

Retries help while few fail and make an overload worse. A budget bounds them by a share of the requests
instead of by a number for each (Finagle's RetryBudget; gRFC A6, retry throttling; "Addressing Cascading
Failures", Site Reliability Engineering, ch. 22).
"""

from ramkit.gateway.core.window import Window

__all__ = ["RetryBudget"]

_SECONDS = 10
#: As in Finagle: ten a second, so that few requests can be retried at all.
_MINIMUM = 100


class RetryBudget:
    """At most ``share`` of the requests of the last ten seconds, and a hundred, are retries."""

    __slots__ = ("_minimum", "_share", "_window")

    def __init__(self, share: float, now: float) -> None:
        self._share = share
        #: with a share of 0 there is none at all
        self._minimum = _MINIMUM if share else 0
        self._window = Window(_SECONDS, now)

    def sent(self, now: float) -> None:
        """A request goes out, for the first time or again."""
        self._window.add(now)

    def spend(self, now: float) -> bool:
        """Whether one more retry fits; if so it is counted."""
        sent, retries = self._window.counts(now)
        # what may_retry granted is counted twice: once here as bad, once when it is sent
        requests = max(0, sent - 2 * retries)
        if retries + 1 > self._share * requests + self._minimum:
            return False
        self._window.add(now, bad=True)
        return True

    def carry(self, other: "RetryBudget") -> None:
        """Count on where another one stands."""
        self._window = other._window
