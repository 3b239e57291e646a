"""fastapi-cache2: its decorator on a FastAPI endpoint, which is the only way to use it for responses.

Routing, dependencies and JSON are FastAPI's, so the same endpoint without the decorator stands beside it.
"""

from typing import Any

from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from benchmarks.driver import VALUE, Subject

PACKAGES = ["fastapi-cache2", "fastapi", "starlette", "redis", "hiredis"]


def endpoint(*, cached: bool) -> tuple[FastAPI, list[int]]:
    app, renders = FastAPI(), [0]

    async def city(number: int) -> dict[str, Any]:
        renders[0] += 1
        return VALUE

    app.get("/cities/{number}")(cache(expire=3600)(city) if cached else city)
    return app, renders


class Choosing:
    """Its backend is one global of the process: each app sets its own before it is asked."""

    def __init__(self, app: FastAPI, backend: Any) -> None:
        self.app, self.backend = app, backend

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        FastAPICache._backend = self.backend
        await self.app(scope, receive, send)


async def subjects(redis_url: str) -> dict[str, Subject]:
    client = Redis.from_url(redis_url)
    plain, _ = endpoint(cached=False)
    found = {"FastAPI alone": Subject(app=plain)}
    for name, backend in {"memory": InMemoryBackend(), "redis": RedisBackend(client)}.items():
        app, renders = endpoint(cached=True)

        found[name] = Subject(
            app=Choosing(app, backend), renders=lambda renders=renders: renders[0], from_redis=name == "redis"
        )
    FastAPICache.init(InMemoryBackend(), prefix="bench")
    return found
