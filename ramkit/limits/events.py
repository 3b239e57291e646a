"""What limits tell their observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["ConcurrencyLimit", "RateLimitDecision"]


@dataclass(frozen=True, slots=True)
class RateLimitDecision(Event):
    """One policy decided. ``result``: allowed, refused, dry_run (would have been refused), or, without the
    store, open or closed. ``source``: store, local, open or closed."""

    metric: ClassVar[str] = "ratelimit_decisions_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("policy", "result")
    help: ClassVar[str] = "Decisions of rate limits by policy."

    policy: str
    result: str
    source: str


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit(Event):
    """A request met the limit of those in flight. ``result``: admitted (after ``waited`` seconds in the
    queue), full (there was no place in it), timeout, or left (the client did)."""

    metric: ClassVar[str] = "concurrency_limited_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("result",)
    help: ClassVar[str] = "Requests that had to wait for others, or were refused."

    result: str
    waited: float
