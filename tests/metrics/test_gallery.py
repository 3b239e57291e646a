"""The room's middleware, with the lint on both sides, in front of every awkward app."""

from prometheus_client import CollectorRegistry

from ramkit.metrics import MetricsMiddleware
from ramkit.testing.contracts.middleware import MiddlewareContract


class TestMetrics(MiddlewareContract):
    def wrap(self, app):
        return MetricsMiddleware(app, registry=CollectorRegistry())
