"""What the client tells its observers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ramkit.kernel.observers import Event

__all__ = ["RedisBatch", "RedisOutage", "RedisRoundTrip"]


@dataclass(frozen=True, slots=True)
class RedisBatch(Event):
    """``size`` commands went out together."""

    metric: ClassVar[str] = "redis_batch_size"
    kind: ClassVar[Literal["counter", "gauge", "histogram"]] = "histogram"
    value: ClassVar[str | None] = "size"
    help: ClassVar[str] = "Commands that went to Redis together."
    buckets: ClassVar[tuple[float, ...]] = (1, 2, 4, 8, 16, 32, 64, 128, 256)

    size: int


@dataclass(frozen=True, slots=True)
class RedisRoundTrip(Event):
    """The last reply to a batch came ``seconds`` after it went out."""

    metric: ClassVar[str] = "redis_round_trip_seconds"
    kind: ClassVar[Literal["counter", "gauge", "histogram"]] = "histogram"
    value: ClassVar[str | None] = "seconds"
    help: ClassVar[str] = "Round trips of batched commands to Redis."

    seconds: float


@dataclass(frozen=True, slots=True)
class RedisOutage(Event):
    """Redis was found away and is left alone for the cool-down; ``failed`` calls were given up."""

    metric: ClassVar[str] = "redis_outages_total"
    kind: ClassVar[Literal["counter", "gauge", "histogram"]] = "counter"
    labels: ClassVar[tuple[str, ...]] = ("node",)
    help: ClassVar[str] = "Times that Redis was found unavailable."

    node: str
    failed: int
    reason: str
