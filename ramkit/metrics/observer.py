"""The events of all rooms, as metrics."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.observers import Event
from ramkit.metrics.core import OVERFLOW, label
from ramkit.metrics.instruments import checked, counter, gauge, histogram

__all__ = ["MetricsObserver"]


class MetricsObserver:
    """An observer for every room: ``Cache(…, observers=[observer])``. One is enough for all of them.

    ``registry``: prometheus-client's own by default. ``buckets``: of histograms, by metric, instead of those
    of the event. ``max_label_sets``: of each metric; what comes after them has ``overflow`` for each of its
    labels. Of a gauge in several processes the highest value counts, or the sum, as the event has it.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry = REGISTRY,
        buckets: Mapping[str, Sequence[float]] | None = None,
        max_label_sets: int = 1000,
    ) -> None:
        if max_label_sets < 1:
            raise ConfigurationError("max_label_sets", f"{max_label_sets} is no bound")
        self._registry = registry
        self._buckets = {name: checked("buckets", each) for name, each in (buckets or {}).items()}
        self._most = max_label_sets
        self._tellers: dict[type[Event], Callable[[Event], None]] = {}

    def __call__(self, event: Event) -> None:
        tell = self._tellers.get(type(event))
        if tell is None:
            self._tellers[type(event)] = _ignored  # where there can be no instrument, that is said once
            tell = self._tellers[type(event)] = self._teller(type(event))
        tell(event)

    def _teller(self, event: type[Event]) -> Callable[[Event], None]:
        about = (self._registry, event.metric, event.help, event.labels)
        instrument: Any
        if event.kind == "counter":
            instrument, does = counter(*about), "inc"
        elif event.kind == "gauge":
            instrument, does = gauge(*about, f"live{event.across}"), "set"
        else:
            instrument, does = histogram(*about, self._buckets.get(event.metric, event.buckets)), "observe"
        return _Teller(instrument, event, does, self._most)


def _ignored(_event: Event) -> None:
    """Its metric's name was taken by another one."""


class _Teller:
    """Tells one class of events to its instrument; finds the children once."""

    __slots__ = ("_children", "_does", "_instrument", "_labels", "_most", "_names", "_value")

    def __init__(self, instrument: Any, event: type[Event], does: str, most: int) -> None:
        self._instrument, self._does, self._most = instrument, does, most
        self._names = event.labels
        #: a tuple of values for several labels, one value for one
        self._labels = attrgetter(*event.labels) if event.labels else None
        self._value = attrgetter(event.value) if event.value is not None else None
        self._children: dict[Any, Callable[[float], None]] = {}

    def __call__(self, event: Event) -> None:
        key = None if self._labels is None else self._labels(event)
        do = self._children.get(key)
        if do is None:
            do = self._found(key)
        do(1 if self._value is None else self._value(event))

    def _found(self, key: Any) -> Callable[[float], None]:
        if self._labels is None:
            child = self._instrument
        else:
            values: tuple[Any, ...] = key if len(self._names) > 1 else (key,)
            if len(self._children) >= self._most:
                key, values = OVERFLOW, tuple(OVERFLOW for _ in values)
            child = self._instrument.labels(*map(label, values))
        do: Callable[[float], None] = getattr(child, self._does)
        self._children[key] = do
        return do
