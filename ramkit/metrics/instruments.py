"""Instruments of prometheus-client, made once a registry, and their children, found once a label set."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from ramkit.kernel.errors import ConfigurationError

__all__ = ["DURATIONS", "STREAMS", "checked", "counter", "gauge", "histogram", "increment"]

#: seconds
DURATIONS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0)
#: seconds that event streams and WebSockets last
STREAMS = (1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0)

_M = TypeVar("_M", bound=MetricWrapperBase)


def checked(argument: str, buckets: Sequence[float]) -> tuple[float, ...]:
    """Upper bounds of a histogram, which have to rise."""
    found = tuple(float(bound) for bound in buckets)
    if not found or any(a >= b for a, b in pairwise(found)) or not all(map(isfinite, found)):
        raise ConfigurationError(argument, f"{buckets!r} do not rise")
    return found


def counter(registry: CollectorRegistry, name: str, help: str, labels: tuple[str, ...]) -> Counter:  # noqa: A002 - as prometheus-client names it
    return _shared(registry, Counter, name, help, labels)


def gauge(registry: CollectorRegistry, name: str, help: str, labels: tuple[str, ...], mode: str) -> Gauge:  # noqa: A002 - as prometheus-client names it
    """``mode``: what becomes of it over several processes, as prometheus-client names it."""
    return _shared(registry, Gauge, name, help, labels, multiprocess_mode=mode)


def histogram(
    registry: CollectorRegistry,
    name: str,
    help: str,  # noqa: A002 - as prometheus-client names it
    labels: tuple[str, ...],
    buckets: tuple[float, ...],
) -> Histogram:
    return _shared(registry, Histogram, name, help, labels, buckets=buckets)


def increment(child: Counter | Gauge) -> Callable[[float], None]:
    """The increment of a child's value itself, without the checks that a request need not pay for."""
    found: Callable[[float], None] = vars(child)["_value"].inc
    return found


def _shared(
    registry: CollectorRegistry,
    make: type[_M],
    name: str,
    help: str,  # noqa: A002 - as prometheus-client names it
    labels: tuple[str, ...],
    **options: Any,
) -> _M:
    """A new instrument, or the one that the registry holds: two apps of one process count together."""
    try:
        return make(name, help, labels, registry=registry, **options)
    except ValueError as error:
        # there is no public way to ask a registry what it holds
        held: Any = vars(registry)["_names_to_collectors"].get(name)
        if isinstance(held, make) and vars(held).get("_labelnames") == labels:
            return held
        raise ConfigurationError("registry", str(error)) from error
