"""Sessions as Starlette's and FastAPI's users meet them, beside ramkit's cache."""

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from ramkit.auth.sessions import MemorySessionStore, SessionMiddleware, SessionUnavailable
from ramkit.cache import Cache, CacheMiddleware


@pytest.fixture(params=["starlette", "fastapi"])
def app(request):
    async def visit(request: Request):
        request.session.setdefault("visits", []).append(1)
        return JSONResponse(dict(request.session))

    async def leave(request: Request):
        request.session.clear()
        return JSONResponse(request.session)

    async def plain(request: Request):
        return PlainTextResponse("plain")

    routes = [Mount("/sub", routes=[Route("/visit", visit)]), Route("/leave", leave), Route("/plain", plain)]
    return Starlette(routes=routes) if request.param == "starlette" else FastAPI(routes=routes)


async def test_request_session(app, asgi_client, redis_url):
    app.add_middleware(SessionMiddleware, store=redis_url)
    async with asgi_client(app, base_url="https://testserver") as client:
        for number in range(1, 4):
            assert (await client.get("/sub/visit")).json() == {"visits": [1] * number}
        assert (await client.get("/leave")).json() == {}
        assert (await client.get("/sub/visit")).json() == {"visits": [1]}
    async with asgi_client(app, base_url="https://testserver") as client:  # its lifespan begins anew
        assert (await client.get("/sub/visit")).json() == {"visits": [1]}


async def test_a_store_that_is_away_is_a_503_of_the_framework(app, asgi_client):
    class Away(MemorySessionStore):
        async def read(self, key):
            raise SessionUnavailable("away")

    app.add_middleware(SessionMiddleware, store=Away())
    async with asgi_client(
        app, base_url="https://testserver", cookies={"__Host-session": "x" * 43}
    ) as client:
        answer = await client.get("/sub/visit")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await client.get("/plain")).text == "plain"


@pytest.mark.parametrize("outside", [True, False])
async def test_beside_the_cache(app, asgi_client, outside):
    """What a session was looked into for is not shared; what was not, is, also with a session's cookie."""
    layers = [(SessionMiddleware, {}), (CacheMiddleware, {"cache": Cache(), "default_ttl": 60})]
    for middleware, options in reversed(layers) if outside else layers:
        app.add_middleware(middleware, **options)
    async with asgi_client(app, base_url="https://testserver") as one:
        assert (await one.get("/sub/visit")).json() == {"visits": [1]}
        assert (await one.get("/sub/visit")).json() == {"visits": [1, 1]}
    async with asgi_client(app, base_url="https://testserver") as other:
        assert (await other.get("/sub/visit")).json() == {"visits": [1]}
        other.cookies.clear()
        await other.get("/plain")
        assert (await other.get("/plain")).headers["x-cache"] == "HIT"
