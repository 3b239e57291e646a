"""Reads on a replica, writes on the primary, and nobody reads older than they wrote."""

from collections.abc import Sequence

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.db import ConsistencyMiddleware, Database
from ramkit.router import Context, RamAPI


def create_app(primary: str, replicas: Sequence[str], redis: str, secret: str) -> RamAPI:
    """``secret``: the same in all processes, 32 bytes or more. The database has a table ``notes``."""
    app = RamAPI()
    db, cache = Database(primary, replicas), Cache(redis)

    @app.get("/notes")
    async def notes(ctx: Context) -> None:
        ctx.json([row["text"] for row in await db.fetch("SELECT text FROM notes ORDER BY text")])

    @app.post("/notes")
    async def add(ctx: Context) -> None:
        async with db.write() as connection:
            await connection.execute("INSERT INTO notes VALUES ($1)", ctx.query["text"])
            await cache.purge("/notes")  # after COMMIT, or not at all
        ctx.status(201)

    app.add_middleware(CacheMiddleware, cache=cache, rules=[Rule("/notes", ttl=60)])
    app.add_middleware(ConsistencyMiddleware, db=db, cache=cache, secret=secret)
    return app
