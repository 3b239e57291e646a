"""Time, injected: nothing in ramkit asks the operating system what time it is but here."""

import time as _time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Two readings, both in seconds."""

    def time(self) -> float:
        """Seconds since the Unix epoch; may step, in both directions."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...


class SystemClock:
    """The operating system's clock."""

    time = staticmethod(_time.time)
    monotonic = staticmethod(_time.monotonic)
