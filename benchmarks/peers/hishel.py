"""hishel's ASGI middleware, RFC 9111 mode (its default), over its two async storages."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hishel import AsyncRedisStorage, AsyncSqliteStorage
from hishel.asgi import ASGICacheMiddleware
from redis.asyncio import Redis

from benchmarks.driver import Origin, Subject

PACKAGES = ["hishel", "redis", "hiredis"]
_folder = TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)


def behind(storage: Any, *, from_redis: bool = False) -> Subject:
    origin = Origin()
    return Subject(ASGICacheMiddleware(origin, storage=storage), None, lambda: origin.renders, from_redis)


async def subjects(redis_url: str) -> dict[str, Subject]:
    return {
        "sqlite": behind(AsyncSqliteStorage(database_path=Path(_folder.name) / "hishel.db")),
        "redis": behind(AsyncRedisStorage(Redis.from_url(redis_url)), from_redis=True),
    }
