"""Ordered logs that every process folds: what rooms are handed, and the form for one process."""

import math
import secrets
from typing import Protocol

from ramkit.kernel.clock import Clock

__all__ = ["Fold", "LocalLog", "Log"]


class Fold(Protocol):
    """What a log's messages are folded into: a table of purges, a list of revocations."""

    def reset(self, incarnation: int, epoch: int, snapshot: bytes | None) -> None:
        """Forget everything; begin at ``epoch`` of this incarnation, with a snapshot's content if any."""
        ...

    def apply(self, epoch: int, message: bytes) -> None:
        """One message; epochs ascend. Never raises on bytes that it does not know."""
        ...

    def snapshot(self) -> bytes:
        """Everything folded so far, for processes that come later."""
        ...


class Log(Protocol):
    """An ordered log, the same for every process on one server."""

    @property
    def incarnation(self) -> int:
        """Which log this is: another number after it was lost. 0 before anything was heard."""
        ...

    @property
    def epoch(self) -> int:
        """The place in the log that this process has folded."""
        ...

    @property
    def clock(self) -> Clock:
        """This process's, by which the next two are."""
        ...

    @property
    def until(self) -> float:
        """When ``current()`` ends unless more is heard, on the monotonic clock."""
        ...

    @property
    def offset(self) -> float:
        """What ``now()`` adds to the monotonic clock."""
        ...

    def current(self) -> bool:
        """Whether this process heard from the log within its bound, and so may judge by it."""
        ...

    def now(self) -> float:
        """Seconds since the Unix epoch, the same for every process; immune to local clock steps."""
        ...

    async def append(self, message: bytes, *, replicas: int = 0) -> tuple[int, int]:
        """Append; returns (incarnation, epoch) once the message is in the log and folded here.

        ``replicas``: wait until so many replicas have it, too. Raises ``Unavailable``
        (ramkit.kernel.errors) when that cannot be confirmed within the deadline.
        """
        ...

    async def catch_up(self) -> None:
        """Returns when all that was in the log at the time of the call is folded, the incarnation
        looked at. Raises ``Unavailable``."""
        ...

    async def start(self) -> None:
        """Begin to follow; never raises because the server is away. Implied by every other call."""
        ...


class LocalLog:
    """A log that only this process reads: 1, 2, 3, … under a random incarnation, always current."""

    def __init__(self, fold: Fold, clock: Clock) -> None:
        self._fold, self.clock = fold, clock
        self._monotonic = clock.monotonic
        self.until = math.inf
        self.offset = clock.time() - clock.monotonic()
        self.incarnation = secrets.randbits(52) + 1
        self.epoch = 0
        fold.reset(self.incarnation, 0, None)

    def current(self) -> bool:
        return True

    def now(self) -> float:
        return self._monotonic() + self.offset

    async def append(self, message: bytes, *, replicas: int = 0) -> tuple[int, int]:  # noqa: ARG002  # none could outlive it: the entries end with this log
        self.epoch += 1
        self._fold.apply(self.epoch, message)
        return self.incarnation, self.epoch

    async def catch_up(self) -> None:
        """All that there is, is folded."""

    async def start(self) -> None:
        """There is nothing to follow."""
