"""Counts of the last few seconds."""

__all__ = ["Window"]

_STEPS = 10


class Window:
    """Two counts over the last ``seconds``, in tenths of it: what happened, and what of that was bad.

    The counters only grow; a mark is set at each tenth, and what happened before the oldest is taken off.
    So counting is one addition. A window reaches back for at least nine tenths of ``seconds``, at most ten.
    """

    __slots__ = ("_all", "_bad", "_edge", "_marks", "_step")

    def __init__(self, seconds: float, now: float) -> None:
        self._step = seconds / _STEPS
        self.clear(now)

    def clear(self, now: float) -> None:
        """Forget everything."""
        self._all = self._bad = 0
        self._edge = now + self._step
        self._marks = [(0, 0)] * _STEPS

    def add(self, now: float, *, bad: bool = False) -> None:
        """One more."""
        if now >= self._edge:
            self._turn(now)
        self._all += 1
        if bad:
            self._bad += 1

    def counts(self, now: float) -> tuple[int, int]:
        """All, and the bad ones of them."""
        if now >= self._edge:
            self._turn(now)
        every, bad = self._marks[0]
        return self._all - every, self._bad - bad

    def _turn(self, now: float) -> None:
        steps = int((now - self._edge) / self._step) + 1
        self._edge += steps * self._step
        mark = (self._all, self._bad)
        self._marks = (self._marks + [mark] * min(steps, _STEPS))[-_STEPS:]
