"""ramkit's cache: in process alone, in process judged by the log, and every hit from Redis."""

from typing import Any

from benchmarks.driver import BODY, Origin, Subject
from ramkit.cache import Cache, CacheMiddleware, RedisStore, Rule

PACKAGES = ["ramkit", "starlette", "redis", "hiredis", "msgspec"]


def behind(store: Any) -> tuple[Any, Origin]:
    """An origin behind ramkit's middleware, as an app would be."""
    origin = Origin()
    rules = [Rule("/cities/*", ttl=3600, groups=["cities"])]
    return CacheMiddleware(origin, cache=Cache(store), rules=rules), origin


async def subjects(redis_url: str) -> dict[str, Subject]:
    from redis.asyncio import Redis

    client: Any = Redis.from_url(redis_url)
    await client.set("bench:get", BODY)
    found: dict[str, Subject] = {}
    stores = {"memory": "memory://", "tiered": redis_url, "redis": RedisStore(redis_url)}
    for name, store in stores.items():
        app, origin = behind(store)
        found[name] = Subject(
            app=app, renders=lambda origin=origin: origin.renders, from_redis=name == "redis"
        )

    async def get(path: bytes) -> Any:
        return await client.get("bench:get")

    found["get"] = Subject(call=get, from_redis=True)
    return found
