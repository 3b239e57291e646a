"""What the gateway tells its observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["GatewayEjection", "GatewayRequest", "GatewayRetry", "GatewayUpstreamTime"]


@dataclass(frozen=True, slots=True)
class GatewayRequest(Event):
    """One request or WebSocket came to its end. ``outcome``: answered (by a server), error (502), timeout
    (504), unavailable (503), refused (by the gateway, 4xx), broken (off, in the middle of a response) or
    abandoned (by the client). ``status``: the class of what the client got, ``2xx``, or ``none``."""

    metric: ClassVar[str] = "gateway_requests_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("upstream", "outcome", "status")
    help: ClassVar[str] = "Requests through the gateway by how they ended."

    upstream: str
    outcome: str
    status: str


@dataclass(frozen=True, slots=True)
class GatewayUpstreamTime(Event):
    """A server answered: seconds from the choice of the server to its response's head."""

    metric: ClassVar[str] = "gateway_upstream_seconds"
    kind: ClassVar = "histogram"
    labels: ClassVar[tuple[str, ...]] = ("upstream",)
    value: ClassVar[str | None] = "seconds"
    help: ClassVar[str] = "Seconds until an upstream's response began."

    upstream: str
    seconds: float


@dataclass(frozen=True, slots=True)
class GatewayRetry(Event):
    """A request is sent to another server. ``reason``: the class of what went wrong with the last one."""

    metric: ClassVar[str] = "gateway_retries_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("upstream", "reason")
    help: ClassVar[str] = "Requests that were sent once more, by why."

    upstream: str
    reason: str


@dataclass(frozen=True, slots=True)
class GatewayEjection(Event):
    """A server was left out, or came back. ``change``: ejected or returned."""

    metric: ClassVar[str] = "gateway_ejections_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("upstream", "server", "change")
    help: ClassVar[str] = "Servers that were ejected for their failures, or returned."

    upstream: str
    server: str
    change: str
