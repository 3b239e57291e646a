"""starlette-exporter, as its documentation has it, with routes grouped by their templates."""

from starlette.applications import Starlette
from starlette_exporter import PrometheusMiddleware

from benchmarks.driver import Subject
from benchmarks.peers.metered import subjects_of

PACKAGES = ["starlette-exporter", "starlette", "prometheus-client"]


def add(app: Starlette) -> None:
    app.add_middleware(PrometheusMiddleware, group_paths=True)


async def subjects(redis_url: str) -> dict[str, Subject]:
    return subjects_of(add)
