"""Cached users: read from the cache of every process, purged from all of them by a write."""

from fastapi import FastAPI, HTTPException, Response

from ramkit.cache import Cache, CacheMiddleware, Rule


def create_app(redis: str, users: dict[int, str]) -> FastAPI:
    """``users``: their names, as a database would have them."""
    app = FastAPI()

    @app.get("/users")
    async def everybody(response: Response) -> list[str]:
        response.headers["Cache-Groups"] = '"users"'
        return sorted(users.values())

    @app.get("/users/{number}")
    async def one(number: int) -> dict[str, int | str]:
        if number not in users:
            raise HTTPException(404, "There is no such user.")
        return {"number": number, "name": users[number]}

    @app.put("/users/{number}")
    async def rename(number: int, name: str, response: Response) -> dict[str, int | str]:
        users[number] = name
        # PUT purges its own URL (RFC 9111 §4.4); what lists it goes by its group (RFC 9875).
        response.headers["Cache-Group-Invalidation"] = '"users"'
        return {"number": number, "name": name}

    app.add_middleware(CacheMiddleware, cache=Cache(redis), rules=[Rule("/users*", ttl=300)])
    return app
