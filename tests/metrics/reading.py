"""What a registry says, by name and labels."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The values of this series, by its labels' values in the order of their names as they were declared."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


def value(registry: CollectorRegistry, name: str, labels: Mapping[str, str]) -> float:
    return registry.get_sample_value(name, dict(labels)) or 0.0


def all_series(registry: CollectorRegistry) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for metric in registry.collect()
        for sample in metric.samples
    }
