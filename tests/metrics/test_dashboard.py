"""The dashboard against a Prometheus that scrapes an app: every query has an answer."""

import asyncio
import json
from pathlib import Path

import httpx
import uvicorn
import websockets
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.cache import events as cache_events
from ramkit.metrics import MetricsMiddleware, MetricsObserver, catalogue, metrics_app
from ramkit.metrics.dashboard import dashboard
from ramkit.metrics.rules import rules
from ramkit.redis import events as redis_events
from tests.metrics.prometheus import scraping

EVENTS = [getattr(module, name) for module in (cache_events, redis_events) for name in module.__all__]


async def hello(request):
    await request.body()
    return PlainTextResponse("hello")


async def stream(request):
    async def pieces():
        yield "data: x\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def socket(websocket):
    await websocket.accept()
    await websocket.close()


async def served(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.01)
    return server, task, server.servers[0].sockets[0].getsockname()[1]


async def use(cache: Cache, port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/cached/1", "/cached/1", "/stream"):
            assert (await client.get(path)).status_code == 200
        await client.post("/cached/1", content=b"body")
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws"):
        pass
    await cache.purge_groups("all")


async def test_every_query_returns_data(redis_server, redis_url, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    cache = Cache(redis_url, observers=[MetricsObserver(registry=registry)])
    app = Starlette(
        routes=[
            Route("/cached/{id}", hello, methods=["GET", "POST"]),
            Route("/stream", stream),
            WebSocketRoute("/ws", socket),
            Mount("/metrics", metrics_app(registry=registry, token="s3cret")),
        ],
        middleware=[
            Middleware(MetricsMiddleware, registry=registry),
            Middleware(CacheMiddleware, cache=cache, rules=[Rule("/cached/*", ttl=60, groups=["all"])]),
        ],
    )
    metrics = catalogue(EVENTS)
    asked = {
        target["expr"].replace("$__rate_interval", "1m")
        for panel in json.loads(dashboard(metrics))["panels"]
        for target in panel["targets"]
    }
    (tmp_path / "rules.yml").write_text(rules(metrics))
    server, task, port = await served(app)
    try:
        async with scraping(f"127.0.0.1:{port}", "s3cret", tmp_path / "rules.yml", tmp_path) as prometheus:
            await use(cache, port)
            redis_server.pause()
            try:
                async with httpx.AsyncClient() as client:
                    await client.get(f"http://127.0.0.1:{port}/cached/2")
            finally:
                redis_server.resume()
            async with asyncio.timeout(60):
                while missing := {query for query in asked if not await prometheus.query(query)}:
                    await asyncio.sleep(0.5)
            assert missing == set()
            assert len(asked) >= len(metrics)
            assert await prometheus.query("route:http_requests:rate5m")
    finally:
        server.should_exit = True
        await task
