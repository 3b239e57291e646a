"""What sessions tell their observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["SessionRead", "SessionWrite"]


@dataclass(frozen=True, slots=True)
class SessionRead(Event):
    """A request carried a session cookie. ``result``: found, unknown or unavailable."""

    metric: ClassVar[str] = "session_reads_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("result",)
    help: ClassVar[str] = "Requests with a session cookie, by what was found for it."

    result: str


@dataclass(frozen=True, slots=True)
class SessionWrite(Event):
    """A session was to be stored. ``result``: created, changed, regenerated, ended, gone (it had been
    ended meanwhile), too_large or unavailable."""

    metric: ClassVar[str] = "session_writes_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("result",)
    help: ClassVar[str] = "Sessions stored or ended, by the outcome."

    result: str
