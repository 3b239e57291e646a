"""The cache as its users meet it: FastAPI and Starlette, with their own middlewares, over lifespan."""

import asyncio
from typing import Annotated

import anyio.from_thread
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from ramkit.cache import Cache, CacheMiddleware, PurgeUnconfirmed, Rule
from ramkit.testing.client import ASGIClient


@pytest.fixture
def api(redis_url):
    cache = Cache(redis_url)
    app = FastAPI()
    app.state.renders = 0

    @app.get("/cities/{city}")
    def read(city: int):
        app.state.renders += 1
        return {"city": city, "render": app.state.renders}

    @app.put("/cities/{city}")
    def write(city: int):
        anyio.from_thread.run(cache.purge_groups, "cities")
        return {"city": city}

    @app.get("/me")
    def me(token: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]):
        return {"token": token.credentials}

    app.add_middleware(CacheMiddleware, cache=cache, rules=[Rule("/*", groups=["cities"])])
    return app


async def test_fastapi_over_redis(api, asgi_client):
    app = api
    async with asgi_client(app) as client:
        first = await client.get("/cities/1")
        second = await client.get("/cities/1")
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
        assert second.json() == first.json()
        not_modified = await client.get("/cities/1", headers={"if-none-match": second.headers["etag"]})
        assert (not_modified.status_code, not_modified.content) == (304, b"")
        await client.get("/cities/2")
        await client.put("/cities/1")
        assert (await client.get("/cities/2")).headers["x-cache"] == "MISS"
        for token in ("a", "b", "a"):
            answer = await client.get("/me", headers={"authorization": f"Bearer {token}"})
            assert answer.json() == {"token": token}
    # The lifespan closed the cache; it works again for whoever asks.
    async with asgi_client(app) as client:
        assert (await client.get("/cities/2")).headers["x-cache"] == "HIT"


async def test_an_app_starts_and_answers_without_redis(asgi_client):
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("up"))])
    app.add_middleware(CacheMiddleware, cache=Cache("redis://127.0.0.1:1/0"), default_ttl=60)
    async with asgi_client(app) as client:
        for _ in range(2):
            answer = await client.get("/")
            assert (answer.text, answer.headers["x-cache"]) == ("up", "BYPASS")


async def test_purge_through_a_handler_is_a_503_when_unconfirmed(asgi_client):
    cache = Cache("redis://127.0.0.1:1/0")

    async def purge(request):
        with pytest.raises(PurgeUnconfirmed):
            await cache.purge("/a")
        await cache.purge("/a")

    app = Starlette(routes=[Route("/purge", purge, methods=["POST"])])
    app.add_middleware(CacheMiddleware, cache=cache)
    async with asgi_client(app) as client:
        answer = await client.post("/purge")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


class ByKey(AuthenticationBackend):
    async def authenticate(self, conn):
        key = conn.headers.get("x-api-key")
        return (AuthCredentials(["authenticated"]), SimpleUser(key)) if key else None


async def test_whoever_is_known_by_another_header_keeps_what_is_theirs(asgi_client):
    async def mine(request: Request):
        return PlainTextResponse(request.user.display_name)

    async def everyones(request: Request):
        return PlainTextResponse("same")

    inner = Starlette(routes=[Mount("/sub", routes=[Route("/mine", mine), Route("/all", everyones)])])
    inner.add_middleware(AuthenticationMiddleware, backend=ByKey())
    inner.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
    app = CacheMiddleware(inner, cache=Cache(), default_ttl=60)
    async with asgi_client(app) as client:
        for key in ("ada", "grace", "ada"):
            assert (await client.get("/sub/mine", headers={"x-api-key": key})).text == key
        assert (await client.get("/sub/mine")).text == ""
        assert (await client.get("/sub/mine", headers={"x-api-key": "eve"})).text == "eve"
        await client.get("/sub/all")
        assert (await client.get("/sub/all")).headers["x-cache"] == "HIT"


@pytest.mark.parametrize("outside", [True, False])
async def test_compression_on_either_side(asgi_client, outside):
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("x" * 5000))])
    layers = [
        (GZipMiddleware, {"minimum_size": 100}),
        (CacheMiddleware, {"cache": Cache(), "default_ttl": 60}),
    ]
    for middleware, options in reversed(layers) if outside else layers:
        app.add_middleware(middleware, **options)
    async with asgi_client(app) as client:
        for encoding in ("gzip", "identity", "gzip", "identity"):
            answer = await client.get("/", headers={"accept-encoding": encoding})
            assert answer.text == "x" * 5000
            assert answer.headers.get("content-encoding", "identity") == encoding
        assert answer.headers["x-cache"] == "HIT"


async def test_server_sent_events_pass_one_by_one(asgi_client):
    produced = []
    more = asyncio.Event()

    async def events():
        for number in range(3):
            produced.append(number)
            yield f"data: {number}\n\n"
            await more.wait()
            more.clear()

    async def stream(request):
        return StreamingResponse(events(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/", stream)])
    app.add_middleware(CacheMiddleware, cache=Cache(), default_ttl=60)
    async with asgi_client(app) as client, client.stream("GET", "/") as response:
        assert response.headers["x-cache"] == "MISS"
        number = 0
        async for chunk in response.aiter_text():
            assert chunk == f"data: {number}\n\n"
            assert produced == list(range(number + 1))
            number += 1
            more.set()
    assert number == 3


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_middlewares_outside_see_where_the_request_went(method):
    """What routing leaves in the scope, a Mount's root_path, too."""
    seen = []

    def outside(inner):
        async def app(scope, receive, send):
            await inner(scope, receive, send)
            if scope["type"] == "http":
                seen.append((scope["root_path"], scope["path_params"], scope["route"].path))

        return app

    page = Route("/{name}", lambda request: PlainTextResponse("x"), methods=["GET", "POST", "HEAD"])
    inner = Starlette(routes=[Mount("/sub", routes=[page])])
    app = CacheMiddleware(inner, cache=Cache("memory://"), rules=[Rule("*", ttl=60)])
    async with ASGIClient(outside(app)) as client:
        assert (await client.request(method, "/sub/a")).status_code == 200
    assert seen == [("/sub", {"name": "a"}, "/{name}")]
