"""Events of any room as metrics."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ramkit.cache.events import CacheLookup
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.observers import Event, notify, observers_of
from ramkit.metrics import MetricsObserver
from ramkit.redis.events import RedisRoundTrip
from tests.metrics.reading import samples


@dataclass(frozen=True, slots=True)
class Level(Event):
    metric: ClassVar[str] = "level_bytes"
    kind: ClassVar = "gauge"
    labels: ClassVar[tuple[str, ...]] = ("place",)
    value: ClassVar[str | None] = "size"
    help: ClassVar[str] = "How much there is."

    place: str
    size: float


def test_each_kind():
    registry = CollectorRegistry()
    tell = MetricsObserver(registry=registry, buckets={"redis_round_trip_seconds": [0.001, 0.1]})
    for result in ("hit", "hit", "miss"):
        tell(CacheLookup("default", result))
    tell(Level("here", 5))
    tell(Level("here", 3))
    tell(RedisRoundTrip(0.05))
    assert samples(registry, "cache_lookups_total") == {("default", "hit"): 2, ("default", "miss"): 1}
    assert samples(registry, "level_bytes") == {("here",): 3}
    assert samples(registry, "redis_round_trip_seconds_bucket") == {
        ("0.001",): 0,
        ("0.1",): 1,
        ("+Inf",): 1,
    }


def test_label_sets_are_bounded():
    registry = CollectorRegistry()
    tell = MetricsObserver(registry=registry, max_label_sets=3)
    for number in range(100):
        tell(CacheLookup(f"cache{number}", "hit"))
    seen = samples(registry, "cache_lookups_total")
    assert len(seen) == 4
    assert seen["overflow", "overflow"] == 97


def test_what_another_holds_under_this_name_is_a_mistake():
    registry = CollectorRegistry()
    from prometheus_client import Gauge

    Gauge("cache_lookups_total", "Mine.", registry=registry)
    with pytest.raises(ConfigurationError, match="registry"):
        MetricsObserver(registry=registry)(CacheLookup("default", "hit"))


def test_what_labels_cannot_be_is_cut_and_replaced():
    registry = CollectorRegistry()
    tell = MetricsObserver(registry=registry)
    for place in ("a" * 100_000, "\ud800", None):
        tell(Level(place, 1))
    assert samples(registry, "level_bytes") == {("a" * 256,): 1, ("?",): 1, ("None",): 1}
    assert b'level_bytes{place="?"} 1.0' in generate_latest(registry)


def test_a_name_that_is_taken_is_said_once(caplog):
    registry = CollectorRegistry()
    Gauge("level_bytes", "One without labels.", registry=registry)
    observers = observers_of([MetricsObserver(registry=registry)])
    for _ in range(3):
        notify(observers, Level("a", 1))
    assert len(caplog.records) == 1


@pytest.mark.parametrize("buckets", [(), (2, 1), (1, float("nan"))])
def test_buckets_that_do_not_rise(buckets):
    with pytest.raises(ConfigurationError) as raised:
        MetricsObserver(buckets={"redis_batch_size": buckets})
    assert raised.value.argument == "buckets"
