"""What health tells its observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["HealthChecked", "HealthDraining"]


@dataclass(frozen=True, slots=True)
class HealthChecked(Event):
    """A check was run: ``failed`` is 0 if it passed, else 1; it took ``seconds``."""

    metric: ClassVar[str] = "health_check_failed"
    kind: ClassVar = "gauge"
    labels: ClassVar[tuple[str, ...]] = ("check",)
    value: ClassVar[str | None] = "failed"
    help: ClassVar[str] = "1 for a health check that failed when it was last run, else 0."

    check: str
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class HealthDraining(Event):
    """SIGTERM came: the process is not ready from now on. ``seconds``: until the server hears of it."""

    metric: ClassVar[str] = "health_draining"
    kind: ClassVar = "gauge"
    value: ClassVar[str | None] = "draining"
    help: ClassVar[str] = "1 while the process drains, on its way out."

    seconds: float
    draining: int = 1
