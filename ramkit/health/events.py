"""What health tells its observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["HealthChecked", "HealthDraining"]


@dataclass(frozen=True, slots=True)
class HealthChecked(Event):
    """A check was run: ``up`` is 1 if it passed, else 0; it took ``seconds``."""

    metric: ClassVar[str] = "health_check_up"
    kind: ClassVar = "gauge"
    labels: ClassVar[tuple[str, ...]] = ("check",)
    value: ClassVar[str | None] = "up"
    help: ClassVar[str] = "Whether a health check passed when it was last run."

    check: str
    up: int
    seconds: float


@dataclass(frozen=True, slots=True)
class HealthDraining(Event):
    """The process was told to end: from now on it is not ready. ``seconds``: until the server hears of it."""

    metric: ClassVar[str] = "health_draining"
    kind: ClassVar = "gauge"
    value: ClassVar[str | None] = "draining"
    help: ClassVar[str] = "1 while the process drains, on its way out."

    seconds: float
    draining: int = 1
