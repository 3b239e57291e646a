"""ramkit's metrics: in Starlette as its peers, and around an app that only says which route it took."""

from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from benchmarks.driver import Subject, bare
from benchmarks.peers.metered import FEW, MANY, routed, subjects_of
from ramkit.metrics import MetricsMiddleware

PACKAGES = ["ramkit", "starlette", "prometheus-client"]


def add(app: Starlette) -> None:
    app.add_middleware(MetricsMiddleware, registry=CollectorRegistry())


class Table:
    """Leaves in the scope what Starlette does, without its matching, in whose time the rest would drown."""

    def __init__(self, number: int) -> None:
        self.routes = routed(number).routes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = self.routes[-1]
        scope["path_params"] = {"name": "7"}
        await receive()
        await bare(scope, receive, send)


async def subjects(redis_url: str) -> dict[str, Subject]:
    found = subjects_of(add)
    for number in (FEW, MANY):
        table = Table(number)
        found[f"table of {number}"] = Subject(app=MetricsMiddleware(table, registry=CollectorRegistry()))
        found[f"table of {number}, alone"] = Subject(app=table)
    return found
