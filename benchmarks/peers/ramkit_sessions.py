"""ramkit's sessions, over Redis."""

from typing import Any

from benchmarks.driver import Subject
from benchmarks.session_app import Sessions, ask, reading
from ramkit.auth.sessions import SessionMiddleware

PACKAGES = ["ramkit", "redis", "hiredis", "msgspec"]


async def subjects(redis_url: str) -> dict[str, Any]:
    from redis.asyncio import Redis

    client: Any = Redis.from_url(redis_url)
    await client.set("bench:get", b"x" * 300)

    async def get(path: bytes) -> Any:
        return await client.get("bench:get")

    app = SessionMiddleware(reading, store=redis_url)
    return {
        "session": await Sessions(app, b"__Host-session").begun(ask),
        "get": Subject(call=get, from_redis=True),
    }
