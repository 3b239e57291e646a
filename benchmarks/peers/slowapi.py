"""slowapi: a limit on a FastAPI endpoint, as its documentation has it, and the endpoint without."""

from typing import Any

from fastapi import FastAPI, Request, Response
from slowapi import Limiter
from slowapi.util import get_remote_address

from benchmarks.driver import BODY, Subject
from benchmarks.peers.limiting import BURST

PACKAGES = ["slowapi", "limits", "fastapi", "starlette", "redis", "hiredis"]


def app_with(url: str | None) -> Any:
    app = FastAPI()

    async def city(request: Request, name: str) -> Response:
        return Response(BODY, media_type="application/json")

    endpoint: Any = city
    if url is not None:
        limiter = Limiter(key_func=get_remote_address, storage_uri=url)
        app.state.limiter = limiter
        endpoint = limiter.limit(f"{BURST}/minute")(city)
    app.get("/cities/{name}")(endpoint)
    return app


async def subjects(redis_url: str) -> dict[str, Subject]:
    return {
        "FastAPI alone": Subject(app=app_with(None)),
        "memory": Subject(app=app_with("memory://")),
        "redis": Subject(app=app_with(redis_url)),
    }
