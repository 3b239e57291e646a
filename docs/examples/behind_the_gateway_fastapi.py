"""Users and orders behind the gateway: two services, one address, limits and a cache for both."""

from collections.abc import Sequence

from fastapi import FastAPI

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.gateway import Gateway, Route, Upstream
from ramkit.kernel.asgi import ASGIApp
from ramkit.limits import Policy, RateLimitMiddleware


def create_users() -> FastAPI:
    """One service."""
    app = FastAPI()

    @app.get("/users/{number}")
    async def one(number: int) -> dict[str, int]:
        return {"user": number}

    return app


def create_orders() -> FastAPI:
    """The other one."""
    app = FastAPI()
    taken: list[int] = []

    @app.post("/orders", status_code=201)
    async def order(of: int) -> dict[str, int]:
        taken.append(of)
        return {"order": len(taken), "of": of}

    return app


def create_gateway(redis: str, users: Sequence[str], orders: Sequence[str]) -> ASGIApp:
    """``users`` and ``orders``: the URLs of their servers."""
    gateway = Gateway(
        upstreams=[Upstream("users", users), Upstream("orders", orders)],
        routes=[Route("/users/*", "users"), Route("/orders/*", "orders")],
    )
    cached = CacheMiddleware(gateway, cache=Cache(redis), rules=[Rule("/users/*", ttl=60)])
    return RateLimitMiddleware(cached, store=redis, policies=[Policy("each", "100/s", burst=200)])
