"""What the cache tells its observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["CacheLookup", "CachePurge"]


@dataclass(frozen=True, slots=True)
class CacheLookup(Event):
    """One request or memoized call was answered. ``result``: hit, stale, revalidated, miss or bypass."""

    metric: ClassVar[str] = "cache_lookups_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("cache", "result")
    help: ClassVar[str] = "Requests and memoized calls by what the cache made of them."

    cache: str
    result: str


@dataclass(frozen=True, slots=True)
class CachePurge(Event):
    """A purge was asked for. ``result``: confirmed or unconfirmed."""

    metric: ClassVar[str] = "cache_purges_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("cache", "result")
    help: ClassVar[str] = "Purges by whether the log confirmed them in time."

    cache: str
    result: str
