"""Every metric that ramkit makes: one table, from the events themselves."""

from collections.abc import Iterable
from dataclasses import dataclass

from ramkit.kernel.observers import Event

__all__ = ["REQUESTS", "Described", "catalogue", "table"]


@dataclass(frozen=True, slots=True)
class Described:
    """One metric. ``kind``: counter, gauge or histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


_REQUEST = ("method", "route", "status")

#: what ``MetricsMiddleware`` counts
REQUESTS = (
    Described("http_requests_total", "counter", _REQUEST, "Requests that are over."),
    Described(
        "http_request_duration_seconds",
        "histogram",
        _REQUEST,
        "Seconds that requests took, without event streams.",
    ),
    Described(
        "http_request_bytes_total", "counter", _REQUEST, "Bytes of request bodies, as the app received them."
    ),
    Described(
        "http_response_bytes_total", "counter", _REQUEST, "Bytes of response bodies, as they were sent."
    ),
    Described("event_stream_duration_seconds", "histogram", _REQUEST, "Seconds that event streams lasted."),
    Described(
        "websocket_duration_seconds",
        "histogram",
        ("route", "outcome"),
        "Seconds that WebSockets lasted, accepted or refused.",
    ),
    Described("active_connections", "gauge", ("type",), "Requests and WebSockets that are open."),
)


def catalogue(events: Iterable[type[Event]]) -> tuple[Described, ...]:
    """The metrics of requests and of these events, each once, by name."""
    found = {each.name: each for each in REQUESTS}
    for event in events:
        found[event.metric] = Described(event.metric, event.kind, event.labels, event.help)
    return tuple(sorted(found.values(), key=lambda each: each.name))


def table(metrics: Iterable[Described]) -> str:
    """The metrics as Markdown."""
    lines = ["| metric | type | labels | what it is |", "|---|---|---|---|"]
    for each in metrics:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.help} |")
    return "\n".join(lines) + "\n"
