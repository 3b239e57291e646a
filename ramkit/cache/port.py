"""What a backend of the cache fulfils."""

from typing import Protocol

from ramkit.cache.core.entry import Entry
from ramkit.kernel.clock import Clock

__all__ = ["Fold", "Lease", "Leases", "Log", "Store"]


class Fold(Protocol):
    """What a log's messages are folded into (the purge table)."""

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
    """An ordered log of purges, the same for every process on one store."""

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
        """Whether this process heard from the log within its bound, and so may judge entries."""
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


class Lease(Protocol):
    """The right to render one key, renewed while it is held."""

    async def release(self) -> None:
        """Give it up and wake those who wait. Never raises."""
        ...


class Leases(Protocol):
    """One holder a key over all processes; a holder that dies loses it within a bound."""

    async def acquire(self, key: bytes) -> Lease | None:
        """The lease, or None while someone else holds it. Raises ``Unavailable``."""
        ...

    async def released(self, key: bytes, timeout: float) -> None:
        """Returns when the lease was given up, its holder died, or after ``timeout`` seconds."""
        ...


class Store(Protocol):
    """Keeps entries by key. Keys are at most 64 bytes.

    A store may lose entries at any time. It does not judge them: whether an entry is fresh, purged
    or below a floor is for its reader to decide.
    """

    def peek(self, key: bytes) -> Entry | None:
        """The entry as far as this process has it, without I/O. The same object each time."""
        ...

    async def get(self, key: bytes) -> Entry | None:
        """The entry as the outermost tier has it, None if there is none, if its ``ttl`` has passed
        or if its bytes are damaged. Raises ``Unavailable`` when the server does not answer."""
        ...

    async def set(self, key: bytes, entry: Entry, ttl: float) -> bool:
        """Replace; the entry is gone after ``ttl`` seconds (> 0). An entry larger than the store
        takes is not kept, and an older one of that key is gone. Whether it was kept. Raises
        ``Unavailable``."""
        ...

    def log(self, fold: Fold) -> Log:
        """The log of purges, folded into ``fold``. Called once, before anything else."""
        ...

    def leases(self) -> Leases:
        """The leases of this store's keys."""
        ...

    async def aclose(self) -> None:
        """Close what this store opened (never the user's own client). Usable again afterwards."""
        ...
