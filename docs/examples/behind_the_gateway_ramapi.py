"""Users and orders behind the gateway: two services, one address, limits and a cache for both."""

from collections.abc import Sequence

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.gateway import Gateway, Route, Upstream
from ramkit.kernel.asgi import ASGIApp
from ramkit.limits import Policy, RateLimitMiddleware
from ramkit.router import Context, RamAPI


def create_users() -> RamAPI:
    """One service."""
    app = RamAPI()

    @app.get("/users/{number:int}")
    async def one(ctx: Context) -> None:
        ctx.json({"user": ctx.params["number"]})

    return app


def create_orders() -> RamAPI:
    """The other one."""
    app = RamAPI()
    taken: list[int] = []

    @app.post("/orders")
    async def order(ctx: Context) -> None:
        taken.append(int(ctx.query["of"]))
        ctx.status(201).json({"order": len(taken), "of": taken[-1]})

    return app


def create_gateway(redis: str, users: Sequence[str], orders: Sequence[str]) -> ASGIApp:
    """``users`` and ``orders``: the URLs of their servers."""
    gateway = Gateway(
        upstreams=[Upstream("users", users), Upstream("orders", orders)],
        routes=[Route("/users/*", "users"), Route("/orders/*", "orders")],
    )
    cached = CacheMiddleware(gateway, cache=Cache(redis), rules=[Rule("/users/*", ttl=60)])
    return RateLimitMiddleware(cached, store=redis, policies=[Policy("each", "100/s", burst=200)])
