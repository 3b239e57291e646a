"""What the client tells its observers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ramkit.kernel.observers import Event

__all__ = ["RedisBatch", "RedisOutage"]


@dataclass(frozen=True, slots=True)
class RedisBatch(Event):
    """One round trip: ``size`` commands went out together, the last reply came ``seconds`` later."""

    metric: ClassVar[str] = "ramkit_redis_batch_seconds"
    kind: ClassVar[Literal["counter", "gauge", "histogram"]] = "histogram"
    value: ClassVar[str | None] = "seconds"
    help: ClassVar[str] = "Round trips of batched commands to Redis."

    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RedisOutage(Event):
    """Redis was found away and is left alone for the cool-down; ``failed`` calls were given up."""

    metric: ClassVar[str] = "ramkit_redis_outages_total"
    kind: ClassVar[Literal["counter", "gauge", "histogram"]] = "counter"
    labels: ClassVar[tuple[str, ...]] = ("node",)
    help: ClassVar[str] = "Times that Redis was found unavailable."

    node: str
    failed: int
    reason: str
