"""What logs tell their observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["LogLinesDropped", "LogWriteFailed"]


@dataclass(frozen=True, slots=True)
class LogLinesDropped(Event):
    """A number of lines was dropped: the sink's queue was full, or a line too long for it."""

    metric: ClassVar[str] = "log_lines_dropped_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("sink",)
    value: ClassVar[str | None] = "lines"
    help: ClassVar[str] = "Log lines that were dropped because their sink did not take them."

    sink: str
    lines: int


@dataclass(frozen=True, slots=True)
class LogWriteFailed(Event):
    """The sink failed; it is tried again. ``reason``: the error's name, such as ENOSPC."""

    metric: ClassVar[str] = "log_write_failures_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("sink", "reason")
    help: ClassVar[str] = "Times that a log's sink failed, by why."

    sink: str
    reason: str
