"""starsessions, as its documentation has it: its middleware, autoloading, over its Redis store."""

from typing import Any

from benchmarks.session_app import Sessions, ask, reading

PACKAGES = ["starsessions", "starlette", "redis", "hiredis"]


async def subjects(redis_url: str) -> dict[str, Any]:
    from redis.asyncio import Redis
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware
    from starsessions.stores.redis import RedisStore

    store = RedisStore(connection=Redis.from_url(redis_url), prefix="starsessions:")
    inner = SessionAutoloadMiddleware(reading)
    app = SessionMiddleware(inner, store=store, cookie_name="session", cookie_https_only=False, lifetime=3600)
    return {"session": await Sessions(app, b"session").begun(ask)}
