"""prometheus-fastapi-instrumentator, as its documentation has it."""

from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.applications import Starlette

from benchmarks.driver import Subject
from benchmarks.peers.metered import subjects_of

PACKAGES = ["prometheus-fastapi-instrumentator", "starlette", "prometheus-client"]


def add(app: Starlette) -> None:
    anything: Any = app
    Instrumentator(registry=CollectorRegistry()).instrument(anything)


async def subjects(redis_url: str) -> dict[str, Subject]:
    return subjects_of(add)
