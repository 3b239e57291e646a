"""A Grafana dashboard: one panel a metric."""

import json
from collections.abc import Iterable
from typing import Any

from ramkit.metrics.catalogue import Described

__all__ = ["dashboard", "queries"]

_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 2


def queries(metric: Described) -> list[tuple[str, str]]:
    """What a panel asks of this metric, and the legend of each answer."""
    by = ", ".join(metric.labels)
    legend = " ".join("{{" + label + "}}" for label in metric.labels) or metric.name
    grouped = f"sum by ({by})" if by else "sum"
    if metric.kind == "gauge":
        return [(f"{grouped} ({metric.name})", legend)]
    if metric.kind == "counter":
        return [(f"{grouped} (rate({metric.name}[$__rate_interval]))", legend)]
    buckets = f"sum by ({', '.join(['le', *metric.labels])}) (rate({metric.name}_bucket[$__rate_interval]))"
    return [
        (f"histogram_quantile({quantile}, {buckets})", f"p{quantile[2:]} {legend}")
        for quantile in ("0.5", "0.95")
    ]


def dashboard(metrics: Iterable[Described]) -> str:
    """The dashboard of these metrics, as JSON that Grafana imports."""
    panels = [_panel(number, metric) for number, metric in enumerate(metrics)]
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return (
        json.dumps(
            {
                "title": "ramkit",
                "uid": "ramkit",
                "schemaVersion": 39,
                "time": {"from": "now-1h", "to": "now"},
                "refresh": "30s",
                "templating": {"list": [source]},
                "panels": panels,
            },
            indent=1,
        )
        + "\n"
    )


def _panel(number: int, metric: Described) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": metric.name,
        "description": metric.help,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {
            "x": number % _COLUMNS * _WIDTH, "y": number // _COLUMNS * _HEIGHT, "w": _WIDTH, "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": _unit(metric)}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expr, "legendFormat": legend}
            for place, (expr, legend) in enumerate(queries(metric))
        ],
    }  # fmt: skip


def _unit(metric: Described) -> str:
    """By the suffix that Prometheus' naming asks for."""
    name = metric.name.removesuffix("_total")
    if name.endswith("_seconds"):
        return "s"
    if name.endswith("_bytes"):
        return "Bps" if metric.kind == "counter" else "bytes"
    return "ops" if metric.kind == "counter" else "short"
