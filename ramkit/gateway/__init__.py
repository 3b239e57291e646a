"""An API gateway: a reverse proxy as an ASGI app, which balances, retries, and leaves out what fails.

gateway = Gateway(
    upstreams=[
        Upstream("users", ["http://10.0.0.7:8000", "http://10.0.0.8:8000"]),
        Upstream("orders", ["http://10.0.0.9:8000"]),
    ],
    routes=[Route("/users/*", "users"), Route("/orders/*", "orders")],
)
"""

from typing import TYPE_CHECKING, Any

from ramkit.gateway.events import GatewayEjection, GatewayRequest, GatewayRetry, GatewayUpstreamTime
from ramkit.gateway.policy import CircuitBreaker, Ejection, HealthCheck, Route, Upstream

if TYPE_CHECKING:
    from ramkit.gateway.gateway import Gateway

__all__ = [
    "CircuitBreaker",
    "Ejection",
    "Gateway",
    "GatewayEjection",
    "GatewayRequest",
    "GatewayRetry",
    "GatewayUpstreamTime",
    "HealthCheck",
    "Route",
    "Upstream",
]


def __getattr__(name: str) -> Any:
    # The drivers are imported by those who ask for it.
    if name == "Gateway":
        from ramkit.gateway.gateway import Gateway

        return Gateway
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
