"""Entries in the process's own memory: the store of one process, and the inner tier of many."""

from typing import Final

from ramkit.cache.core.entry import Entry
from ramkit.cache.core.sieve import Sieve
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.log import Fold, LocalLog

__all__ = ["LocalLease", "LocalLeases", "MemoryStore"]

#: No entry takes more than this part of the bound: it would drive out too many others.
_SHARE: Final = 8
#: Bytes that an entry's place takes beside it: key, node, index, and what the allocator rounds up.
OVERHEAD: Final = 400


class MemoryStore:
    """Keeps at most ``max_bytes`` of entries and their places; SIEVE (core/sieve.py) decides which.

    An entry above an eighth of the bound is not kept. Bound to no event loop. A server of several
    processes has one in each, and what one purges the others do not hear of: use Redis for those.
    """

    def __init__(self, max_bytes: int = 64 * 2**20, *, clock: Clock | None = None) -> None:
        if max_bytes <= 0:
            raise ConfigurationError("max_bytes", f"{max_bytes} must be positive")
        self.max_bytes = max_bytes
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._monotonic = self._clock.monotonic
        self._sieve: Sieve[Entry] = Sieve(max_bytes)
        self._nodes = self._sieve.nodes
        self._log: LocalLog | None = None

    @property
    def size(self) -> int:
        """Bytes kept now, about; never more than ``max_bytes``."""
        return self._sieve.size

    def __len__(self) -> int:
        return len(self._nodes)

    def peek(self, key: bytes) -> Entry | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        node.visited = True
        return node.value

    async def get(self, key: bytes) -> Entry | None:
        node = self._nodes.get(key)
        if node is not None and node.expires <= self._monotonic():
            self._sieve.drop(key)
            return None
        return self.peek(key)

    async def set(self, key: bytes, entry: Entry, ttl: float) -> bool:
        return self.put(key, entry, ttl)

    def put(self, key: bytes, entry: Entry, ttl: float) -> bool:
        """``set``, for those who cannot wait."""
        size = entry.size + OVERHEAD
        if size > self.max_bytes // _SHARE:
            self._sieve.drop(key)
            return False
        now = self._monotonic()
        self._sieve.put(key, entry, size, now + ttl, now)
        return True

    def log(self, fold: Fold) -> "LocalLog":
        if self._log is not None:
            # Entries carry by which version of *the* table they were found valid.
            raise ConfigurationError("store", "serves another cache already; make one store for each")
        self._log = LocalLog(fold, self._clock)
        return self._log

    def leases(self) -> "LocalLeases":
        return LocalLeases()

    async def aclose(self) -> None:
        """Nothing was opened; entries stay."""


class LocalLeases:
    """Always granted: within one process the flight that asks has no rival."""

    async def acquire(self, key: bytes) -> "LocalLease | None":  # noqa: ARG002  # the port's signature
        return _LEASE

    async def released(self, key: bytes, timeout: float) -> None:
        """At once: nobody else can hold one."""


class LocalLease:
    __slots__ = ()

    async def release(self) -> None:
        """Nobody waits."""


_LEASE = LocalLease()
