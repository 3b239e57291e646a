"""Recording and alerting rules for Prometheus, of the metrics that there are."""

from collections.abc import Iterable
from dataclasses import dataclass

from ramkit.metrics.catalogue import Described

__all__ = ["ALERTS", "RECORDS", "Alert", "Record", "rules"]


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule. ``metric``: what has to be in the catalogue."""

    name: str
    metric: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule. ``lasts``: for how long it has to hold. ``metric``: as for records."""

    name: str
    metric: str
    expr: str
    lasts: str
    severity: str
    summary: str


def _rose(series: str, by: str, window: str) -> str:
    """A counter that went up, or that was not there before: ``increase`` does not see a series begin."""
    return (
        f"sum by ({by}) (increase({series}[{window}])) > 0 or "
        f"sum by ({by}) ({series}) > 0 unless sum by ({by}) ({series} offset {window})"
    )


RECORDS = (
    Record(
        "route:http_requests:rate5m", "http_requests_total", "sum by (route) (rate(http_requests_total[5m]))"
    ),
    Record(
        "route:http_errors:ratio_rate5m",
        "http_requests_total",
        'sum by (route) (rate(http_requests_total{status=~"5.."}[5m])) / route:http_requests:rate5m',
    ),
    Record(
        "route:http_request_duration_seconds:p95",
        "http_request_duration_seconds",
        "histogram_quantile(0.95, sum by (route, le) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    Record(
        "cache:cache_hits:ratio_rate5m",
        "cache_lookups_total",
        'sum by (cache) (rate(cache_lookups_total{result="hit"}[5m])) / '
        "sum by (cache) (rate(cache_lookups_total[5m]))",
    ),
)

ALERTS = (
    Alert(
        "HttpErrors", "http_requests_total", "route:http_errors:ratio_rate5m > 0.05", "5m", "page",
        "More than 5 % of the requests for {{ $labels.route }} fail.",
    ),
    Alert(
        "HttpSlow", "http_request_duration_seconds", "route:http_request_duration_seconds:p95 > 1",
        "10m", "ticket",
        "One request in twenty for {{ $labels.route }} takes longer than a second.",
    ),
    Alert(
        "RouteLabelsOverflow", "http_requests_total", 'route:http_requests:rate5m{route="overflow"} > 0',
        "5m", "ticket", "There are more label sets of requests than max_label_sets: later ones share one.",
    ),
    Alert(
        "RedisOutage", "redis_outages_total", _rose("redis_outages_total", "node", "5m"),
        "0m", "page",
        "Redis at {{ $labels.node }} was found unavailable.",
    ),
    Alert(
        "CachePurgesUnconfirmed", "cache_purges_total",
        _rose('cache_purges_total{result="unconfirmed"}', "cache", "5m"), "0m", "page",
        "Purges of the cache {{ $labels.cache }} were not confirmed: it may serve what was purged.",
    ),
    Alert(
        "GatewayEjections", "gateway_ejections_total",
        'sum by (upstream, server) (increase(gateway_ejections_total{change="ejected"}[10m])) > 2',
        "0m", "ticket",
        "{{ $labels.server }} of {{ $labels.upstream }} was ejected again and again.",
    ),
    Alert(
        "LogLinesDropped", "log_lines_dropped_total", _rose("log_lines_dropped_total", "sink", "10m"),
        "0m", "ticket",
        "Log lines were dropped: {{ $labels.sink }} did not take them.",
    ),
    Alert(
        "RefreshTokensReused", "auth_refreshes_total",
        _rose('auth_refreshes_total{result="reused"}', "result", "10m"), "0m", "ticket",
        "A refresh token was presented twice: it may be stolen.",
    ),
    Alert(
        "HealthCheckFails", "health_check_failed", "max by (check) (health_check_failed) > 0", "5m", "ticket",
        "The health check {{ $labels.check }} fails.",
    ),
)  # fmt: skip


def rules(metrics: Iterable[Described]) -> str:
    """The rules whose metrics are among these, as a rule file in YAML."""
    known = {each.name for each in metrics}
    lines = ["groups:", "  - name: ramkit-records", "    rules:"]
    for record in RECORDS:
        if record.metric in known:
            lines += [f"      - record: {record.name}", f"        expr: {_quoted(record.expr)}"]
    lines += ["  - name: ramkit-alerts", "    rules:"]
    for alert in ALERTS:
        if alert.metric in known:
            lines += [
                f"      - alert: {alert.name}",
                f"        expr: {_quoted(alert.expr)}",
                f"        for: {alert.lasts}",
                f"        labels: {{severity: {alert.severity}}}",
                f"        annotations: {{summary: {_quoted(alert.summary)}}}",
            ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """In YAML's single quotes, where a quote is doubled (YAML 1.2 §7.3.2)."""
    return "'" + text.replace("'", "''") + "'"
