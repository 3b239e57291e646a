"""Cached users: read from the cache of every process, purged from all of them by a write."""

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.router import Context, HTTPError, RamAPI


def create_app(redis: str, users: dict[int, str]) -> RamAPI:
    """``users``: their names, as a database would have them."""
    app = RamAPI()

    @app.get("/users")
    async def everybody(ctx: Context) -> None:
        ctx.header("Cache-Groups", '"users"').json(sorted(users.values()))

    @app.get("/users/{number:int}")
    async def one(ctx: Context) -> None:
        number = ctx.params["number"]
        if number not in users:
            raise HTTPError(404, "There is no such user.")
        ctx.json({"number": number, "name": users[number]})

    @app.put("/users/{number:int}")
    async def rename(ctx: Context) -> None:
        number, name = ctx.params["number"], ctx.query["name"]
        users[number] = name
        # PUT purges its own URL (RFC 9111 §4.4); what lists it goes by its group (RFC 9875).
        ctx.header("Cache-Group-Invalidation", '"users"').json({"number": number, "name": name})

    app.add_middleware(CacheMiddleware, cache=Cache(redis), rules=[Rule("/users*", ttl=300)])
    return app
