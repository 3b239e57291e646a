"""Reads on a replica, writes on the primary, and nobody reads older than they wrote."""

from collections.abc import Sequence

from fastapi import FastAPI

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.db import ConsistencyMiddleware, Database


def create_app(primary: str, replicas: Sequence[str], redis: str, secret: str) -> FastAPI:
    """``secret``: the same in all processes, 32 bytes or more. The database has a table ``notes``."""
    app = FastAPI()
    db, cache = Database(primary, replicas), Cache(redis)

    @app.get("/notes")
    async def notes() -> list[str]:
        return [row["text"] for row in await db.fetch("SELECT text FROM notes ORDER BY text")]

    @app.post("/notes", status_code=201)
    async def add(text: str) -> None:
        async with db.write() as connection:
            await connection.execute("INSERT INTO notes VALUES ($1)", text)
            await cache.purge("/notes")  # after COMMIT, or not at all

    app.add_middleware(CacheMiddleware, cache=cache, rules=[Rule("/notes", ttl=60)])
    app.add_middleware(ConsistencyMiddleware, db=db, cache=cache, secret=secret)
    return app
