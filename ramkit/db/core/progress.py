"""Since when all replicas have replayed how much of the log."""

from bisect import bisect_left

__all__ = ["Progress"]

#: Seconds between two steps that are kept, and how many: an hour and a half.
_STEP, _MOST = 10.0, 512


class Progress:
    """Steps of ``(time, lsn)``, both ascending: from that time on no replica was below that LSN.

    What lies between two steps is forgotten, and so is what is older than all of them: it then counts as
    later than it was. Times are the clock's ``monotonic()``.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[float, int]] = []

    def heard(self, now: float, lowest: int) -> None:
        """No replica is below that now. If one was not before, and is again, that was no step."""
        steps, since = self._steps, now
        while steps and steps[-1][1] >= lowest:
            since, _ = steps.pop()
        if len(steps) > 1 and since - steps[-2][0] < _STEP:
            steps.pop()
        steps.append((since, lowest))
        del steps[:-_MOST]

    def since(self, lsn: int) -> float | None:
        """Since when no replica was below it; None if one is."""
        at = bisect_left(self._steps, lsn, key=_lsn)
        return self._steps[at][0] if at < len(self._steps) else None


def _lsn(step: tuple[float, int]) -> int:
    return step[1]
