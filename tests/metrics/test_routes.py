"""Route templates, of every framework, learned from the scope."""

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse as FastText
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from ramkit.metrics import MetricsMiddleware
from ramkit.testing.client import ASGIClient, drive, http_scope
from tests.metrics.reading import all_series, samples


async def hello(request):
    return PlainTextResponse("hello")


async def echo(websocket):
    await websocket.accept()
    await websocket.close()


async def raw(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"raw"})


def starlette():
    inner = [Route("/x/{id:int}", hello), Route("/", hello), WebSocketRoute("/ws/{id}", echo)]
    return Starlette(
        routes=[
            Route("/plain", hello),
            Route("/users/{id}", hello, methods=["GET", "DELETE"]),
            Mount("/a", routes=[Mount("/b", routes=inner)]),
            Mount("/tenants/{tenant}", routes=inner),
            Mount("/tree/{rest:path}/end", routes=inner),
            Mount("/files", raw),
            WebSocketRoute("/ws/{id}", echo),
        ]
    )


def fastapi():
    deep = APIRouter(prefix="/inner")
    deep.add_api_route("/x/{id}", lambda: 1, methods=["GET"])

    @deep.websocket("/ws/{id}")
    async def socket(websocket: WebSocket):
        await echo(websocket)

    middle = APIRouter()
    middle.include_router(deep, prefix="/mid/{m}")
    app = FastAPI()
    app.include_router(middle, prefix="/api")
    app.add_route("/starlette/{id}", lambda request: FastText("x"))
    within = FastAPI()
    within.include_router(middle, prefix="/v")
    app.mount("/sub/{tenant}", within)
    app.mount("/files", raw)
    return app


CASES = {
    starlette: {
        "/plain": "/plain",
        "/users/7": "/users/{id}",
        "/a/b/x/5": "/a/b/x/{id:int}",
        "/a/b/": "/a/b/",
        "/tenants/t/x/5": "/tenants/{tenant}/x/{id:int}",
        "/tenants/tenants/x/5": "/tenants/{tenant}/x/{id:int}",
        "/tree/a/b/c/end/x/5": "/tree/{rest}/end/x/{id:int}",
        "/files/what/ever": "/files/*",
        "/a/b/nothing": "/a/b/*",
        "/nothing": "unmatched",
    },
    fastapi: {
        "/api/mid/3/inner/x/5": "/api/mid/{m}/inner/x/{id}",
        "/sub/t/v/mid/3/inner/x/5": "/sub/{tenant}/v/mid/{m}/inner/x/{id}",
        "/sub/t/nothing": "/sub/{tenant}/*",
        "/files/what/ever": "/files/*",
        "/docs": "/docs",
        "/starlette/7": "/starlette/{id}",
        "/nothing": "unmatched",
    },
}


@pytest.mark.parametrize(
    ("make", "path", "route"),
    [(make, path, route) for make, cases in CASES.items() for path, route in cases.items()],
)
@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
async def test_template(make, path, route, root_path):
    registry = CollectorRegistry()
    app = MetricsMiddleware(make(), registry=registry)

    async def served(scope, receive, send):
        if scope["type"] == "http":
            scope = {**scope, "root_path": root_path, "path": root_path + scope["path"]}
        await app(scope, receive, send)

    async with ASGIClient(served) as client:
        await client.get(path)
    [(_, seen, _)] = samples(registry, "http_requests_total")
    assert seen == route


@pytest.mark.parametrize(
    ("make", "path", "route"),
    [
        (starlette, "/ws/1", "/ws/{id}"),
        (starlette, "/a/b/ws/1", "/a/b/ws/{id}"),
        (starlette, "/tenants/t/ws/1", "/tenants/{tenant}/ws/{id}"),
        (starlette, "/nothing", "unmatched"),
        (fastapi, "/api/mid/3/inner/ws/5", "/api/mid/{m}/inner/ws/{id}"),
        (fastapi, "/sub/t/v/mid/3/inner/ws/5", "/sub/{tenant}/v/mid/{m}/inner/ws/{id}"),
    ],
)
async def test_template_of_a_websocket(make, path, route):
    registry = CollectorRegistry()
    await connect(MetricsMiddleware(make(), registry=registry), path)
    outcome = "refused" if route == "unmatched" else "accepted"
    assert samples(registry, "websocket_duration_seconds_count") == {(route, outcome): 1.0}
    assert samples(registry, "http_requests_total") == {}


async def connect(app, path):
    scope = http_scope(path=path, type="websocket", scheme="ws", subprotocols=[])
    del scope["method"]
    await drive(app, scope)


async def test_a_router_of_another_kind_says_it_in_the_scope():
    async def router(scope, receive, send):
        scope["ramkit.route"] = "/teams/:id"
        await raw(scope, receive, send)

    registry = CollectorRegistry()
    async with ASGIClient(MetricsMiddleware(router, registry=registry)) as client:
        await client.get("/teams/5")
    assert samples(registry, "http_requests_total") == {("GET", "/teams/:id", "200"): 1.0}


async def test_a_function_says_it_or_leaves_it():
    registry = CollectorRegistry()

    def route(scope):
        return "/odd" if scope["path"].endswith("1") else None

    async with ASGIClient(MetricsMiddleware(starlette(), registry=registry, route=route)) as client:
        await client.get("/users/1")
        await client.get("/users/2")
    assert {route for _, route, _ in samples(registry, "http_requests_total")} == {"/odd", "/users/{id}"}


@pytest.mark.parametrize("make", [starlette, fastapi])
async def test_invented_paths_and_methods_make_no_series(make):
    """10,000 of them: what the first few of each kind made is all there is."""
    registry = CollectorRegistry()
    app = MetricsMiddleware(make(), registry=registry)
    known = None
    for number in range(1250):
        if number == 2:
            known = all_series(registry)
        for path in (
            f"/{number}/invented",
            f"/users/{number}/x",
            f"/files/{number}",
            f"/sub/{number}/nothing",
            f"/tenants/{number}/nothing",
        ):
            await drive(app, http_scope(path=path))
        await drive(app, http_scope(f"M{number}", f"/users/{number}"))
        await drive(app, http_scope(f"M{number}", f"/api/mid/3/inner/x/{number}"))
        await drive(app, http_scope("DELETE", f"/api/mid/{number}/inner/x/5"))
    assert all_series(registry) == known
    assert sum(samples(registry, "http_requests_total").values()) == 10_000


async def test_beyond_the_bound_the_label_says_overflow():
    async def app(scope, receive, send):
        scope["ramkit.route"] = scope["path"]
        status = 500 if scope["path"].endswith("0") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    registry = CollectorRegistry()
    bounded = MetricsMiddleware(app, registry=registry, max_label_sets=5)
    for number in range(1, 101):
        await drive(bounded, http_scope(path=f"/{number}"))
    seen = samples(registry, "http_requests_total")
    assert len(seen) == 5 + 2
    assert seen["_OTHER", "overflow", "5xx"] == 10
    assert seen["_OTHER", "overflow", "2xx"] == 85
