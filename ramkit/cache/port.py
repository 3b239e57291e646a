"""What a backend of the cache fulfils."""

from typing import Protocol

from ramkit.cache.core.entry import Entry
from ramkit.kernel.log import Fold, Log

__all__ = ["Lease", "Leases", "Store"]


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
