"""A process's memory over a store that all processes share."""

from ramkit.cache.backends.memory import MemoryStore
from ramkit.cache.core.entry import Entry
from ramkit.cache.port import Leases, Store
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.log import Fold, Log

__all__ = ["TieredStore"]


class TieredStore:
    """``peek`` looks at ``local``; ``get`` asks ``shared`` and keeps what it brings; ``set`` goes to both.

    Copies in ``local`` need no invalidation of their own: the log, which is the shared store's, judges
    them as it judges entries from there. ``local`` belongs to this store alone.
    """

    def __init__(self, shared: Store, *, local: MemoryStore | None = None) -> None:
        self.shared = shared
        self.local = local if local is not None else MemoryStore()
        self._log: Log | None = None
        #: on the hot path, so without a frame of its own
        self.peek = self.local.peek

    async def get(self, key: bytes) -> Entry | None:
        known = self.local.peek(key)
        entry = await self.shared.get(key)
        if entry is None:
            return None
        current = self.local.peek(key)
        if current is not None and (current is not known or _same(current, entry)):
            # Set while this waited, so newer; or what is here already, judged and drawn.
            return current
        ttl = max(entry.fresh_until, entry.revalidate_until, entry.error_until) - self._now()
        if ttl > 0:
            self.local.put(key, entry, ttl)
        return entry

    async def set(self, key: bytes, entry: Entry, ttl: float) -> bool:
        try:
            return await self.shared.set(key, entry, ttl)
        finally:
            self.local.put(key, entry, ttl)

    def log(self, fold: Fold) -> Log:
        self._log = self.shared.log(fold)
        return self._log

    def leases(self) -> Leases:
        return self.shared.leases()

    async def aclose(self) -> None:
        await self.shared.aclose()

    def _now(self) -> float:
        if self._log is None:
            raise ConfigurationError("store", "log() comes before anything else: lifetimes are in its time")
        return self._log.now()


def _same(one: Entry, other: Entry) -> bool:
    """Whether both are of one render."""
    return (
        one.stored == other.stored
        and one.epoch == other.epoch
        and one.incarnation == other.incarnation
        and one.fresh_until == other.fresh_until
        and one.status == other.status
        and one.headers == other.headers
        and one.body == other.body
    )
