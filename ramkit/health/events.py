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
    """``draining`` is 0 when the process begins to listen for SIGTERM, so that a panel shows that nobody
    drains, and 1 when it came: not ready from now on. ``seconds``: from it until the server hears of it."""

    metric: ClassVar[str] = "health_draining"
    kind: ClassVar = "gauge"
    value: ClassVar[str | None] = "draining"
    help: ClassVar[str] = "1 while the process drains, on its way out."

    seconds: float
    draining: int
