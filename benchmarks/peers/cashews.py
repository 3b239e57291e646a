"""cashews: a cached async function of the path, called by the barest app that can send its value.

Its middlewares (ETag, Cache-Control) derive from BaseHTTPMiddleware and would only add to this.
"""

from typing import Any

from cashews import Cache

from benchmarks.driver import BODY, RESPONSE_HEADERS, Subject

PACKAGES = ["cashews", "redis", "hiredis"]


def with_cache(url: str, **options: Any) -> Subject:
    cache = Cache()
    cache.setup(url, **options)
    renders = 0

    @cache(ttl="1h", key="city:{path}")
    async def city(path: str) -> bytes:
        nonlocal renders
        renders += 1
        return BODY

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await city(path=scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": RESPONSE_HEADERS})
        await send({"type": "http.response.body", "body": body})

    return Subject(app=app, renders=lambda: renders)


async def subjects(redis_url: str) -> dict[str, Subject]:
    redis = with_cache(redis_url, prefix="")
    redis.from_redis = True
    return {
        "memory": with_cache("mem://"),
        "client side": with_cache(redis_url, client_side=True, client_side_prefix="coherent:"),
        "redis": redis,
    }
