"""Limits of one process."""

import heapq
from collections.abc import Sequence
from typing import cast

from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.limits.core import Charge, admits, backlog_of

__all__ = ["MemoryStore"]

_SECOND = 1_000_000
#: at keys that may have moved, for each charge: a tenth of a millisecond at most
_LOOKS = 64


class MemoryStore:
    """Keeps ``max_entries`` keys, about 250 bytes each, and for a moment a 64th more, when most have moved.

    When there are more, those that are idle go first, then the one that will be idle soonest: it is owed
    least. So a flood of new keys forgets a client that is limited only when all others have more of it to
    wait for. Bound to no event loop.
    """

    def __init__(self, max_entries: int = 65_536, *, clock: Clock | None = None) -> None:
        if not isinstance(cast(object, max_entries), int) or max_entries < 1:
            raise ConfigurationError("max_entries", f"{max_entries!r} is no whole number of at least 1")
        self.max_entries = max_entries
        self._monotonic = (clock if clock is not None else SystemClock()).monotonic
        self._tats: dict[bytes, int] = {}
        #: each key once, under a TAT that it had: TATs grow, so what comes first may have moved since
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._tats)

    async def take(self, charges: Sequence[Charge]) -> Sequence[int]:
        now, tats = int(self._monotonic() * _SECOND), self._tats
        if len(charges) == 1:  # as below, without the lists
            charge = charges[0]
            key, increment, limit = charge
            backlog = backlog_of(tats.get(key, 0), now, limit)
            if backlog + increment > limit:
                increment = 0
            self._charge(key, increment, backlog, now)
            return (backlog,)
        backlogs: list[int] = []
        fits = True
        for charge in charges:
            backlog = backlog_of(tats.get(charge.key, 0), now, charge.limit)
            backlogs.append(backlog)
            fits = fits and admits(backlog, charge)
        for backlog, (key, increment, _) in zip(backlogs, charges, strict=True):
            self._charge(key, increment if fits else 0, backlog, now)
        return backlogs

    async def aclose(self) -> None:
        """Nothing was opened; entries stay."""

    def _charge(self, key: bytes, increment: int, backlog: int, now: int) -> None:
        """Also by nothing: a backlog that was cut to the limit stays so, and is earned from now on. With a
        new key two that are idle are forgotten."""
        tat, tats = now + backlog + increment, self._tats
        if key in tats:
            tats[key] = tat
        elif increment:
            tats[key] = tat
            heapq.heappush(self._heap, (tat, key))
            for _ in range(2):
                if self._heap[0][0] > now:
                    break
                self._forget(now)
        for _ in range(_LOOKS):
            if len(tats) <= self.max_entries:
                break
            self._forget(None)

    def _forget(self, until: int | None) -> None:
        """Look at the first key: it has moved and goes back to its place, or it is forgotten."""
        heap, tats = self._heap, self._tats
        recorded, key = heap[0]
        tat = tats[key]
        if tat != recorded:
            heapq.heapreplace(heap, (tat, key))
        elif until is None or tat <= until:
            heapq.heappop(heap)
            del tats[key]
