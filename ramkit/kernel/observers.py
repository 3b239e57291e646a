"""Events that parts tell to whoever observes them.

An event's class carries its metric's name, kind, labels and help, so that metrics and logs, which
are observers, need to know no room.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, TypeAlias

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Event", "Observer", "notify", "observers_of"]

_log = logging.getLogger("ramkit")


class Event:
    """Base of all events: small frozen dataclasses whose fields include the metric's labels.

    ``metric``: the Prometheus name; ``kind``: its type; ``labels``: the fields that label it;
    ``value``: the field that is counted or observed (None: each event counts 1); ``help``: one line.
    ``buckets``: a histogram's upper bounds. ``across``: what a gauge is over several processes.
    """

    metric: ClassVar[str]
    kind: ClassVar[Literal["counter", "gauge", "histogram"]]
    labels: ClassVar[tuple[str, ...]] = ()
    value: ClassVar[str | None] = None
    help: ClassVar[str]
    buckets: ClassVar[tuple[float, ...]] = (
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    )  # fmt: skip
    across: ClassVar[Literal["sum", "max"]] = "max"


Observer: TypeAlias = Callable[[Any], None]


def observers_of(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    """The observers as a tuple, each checked to be callable."""
    found = tuple(observers)
    for observer in found:
        if not callable(observer):
            raise ConfigurationError("observers", f"{observer!r} is not callable")
    return found


def notify(observers: tuple[Observer, ...], event: Event) -> None:
    """Tell each observer; one that raises is logged and takes nothing with it."""
    for observer in observers:
        try:
            observer(event)
        except Exception:
            _log.exception("observer %r failed on %r", observer, event)
