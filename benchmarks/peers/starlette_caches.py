"""starlette-caches over aiocache, as its quickstart has it."""

from typing import Any
from urllib.parse import urlsplit

from aiocache import Cache
from starlette_caches.middleware import CacheMiddleware

from benchmarks.driver import Origin, Subject

PACKAGES = ["starlette-caches", "aiocache", "starlette", "redis", "hiredis"]


def behind(cache: Any, *, from_redis: bool = False) -> Subject:
    origin = Origin()
    return Subject(CacheMiddleware(origin, cache=cache), None, lambda: origin.renders, from_redis)


async def subjects(redis_url: str) -> dict[str, Subject]:
    url = urlsplit(redis_url)
    redis = Cache(Cache.REDIS, endpoint=url.hostname, port=url.port, ttl=3600)
    return {"memory": behind(Cache(ttl=3600)), "redis": behind(redis, from_redis=True)}
