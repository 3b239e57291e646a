"""How it goes: requests and the events of all rooms as Prometheus metrics, dashboard and alerts.

app.add_middleware(MetricsMiddleware)
cache = Cache("redis://localhost:6379/0", observers=[MetricsObserver()])
app.mount("/metrics", metrics_app(token="…"))
"""

from ramkit.metrics.catalogue import Described, catalogue
from ramkit.metrics.exposition import metrics_app
from ramkit.metrics.middleware import MetricsMiddleware
from ramkit.metrics.observer import MetricsObserver
from ramkit.metrics.processes import Processes

__all__ = ["Described", "MetricsMiddleware", "MetricsObserver", "Processes", "catalogue", "metrics_app"]
