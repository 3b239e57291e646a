"""A clock that moves when it is told to."""

from datetime import UTC, datetime

__all__ = ["ManualClock"]

_START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


class ManualClock:
    """A ``ramkit.kernel.clock.Clock`` for tests: both readings stand still until they are moved.

    ``time`` is in seconds since the Unix epoch, ``monotonic`` in seconds since some fixed moment. The two
    differ by default, so that code which takes one for the other is seen.
    """

    def __init__(self, time: float = _START, monotonic: float = 1000.0) -> None:
        self._time, self._monotonic = time, monotonic

    def time(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, on both readings. Raises ``ValueError`` for a negative number."""
        if seconds < 0:
            raise ValueError("time does not pass backwards: step() moves the wall clock alone")
        self._time += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back, as an administrator or NTP would."""
        self._time += seconds
