"""Frameworks with few routes or many, each as its documentation has it, in one process without a server.

``python -m benchmarks.peers.routed ROUNDS SECONDS`` prints JSON: versions, and µs a request.
"""

import asyncio
import gc
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.driver import App, receive, scope_of

FEW, MANY = 5, 5000


def ramapi(paths: list[str]) -> App:
    from ramkit.router import RamAPI

    app = RamAPI()

    async def city(ctx: Any) -> None:
        ctx.json({"city": ctx.params["id"], "found": True})

    for path in paths:
        app.get(path, city)
    return app


def starlette(paths: list[str]) -> App:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def city(request: Any) -> JSONResponse:
        return JSONResponse({"city": request.path_params["id"], "found": True})

    return Starlette(routes=[Route(path, city) for path in paths])


def fastapi(paths: list[str]) -> App:
    from fastapi import FastAPI

    app = FastAPI()

    async def city(id: str) -> dict[str, Any]:  # noqa: A002  # the parameter's name
        return {"city": id, "found": True}

    for path in paths:
        app.get(path)(city)
    return app


def falcon(paths: list[str]) -> App:
    from falcon.asgi import App as Falcon

    class City:
        async def on_get(self, req: Any, resp: Any, id: str) -> None:  # noqa: A002  # the parameter's name
            resp.media = {"city": id, "found": True}

    app = Falcon()
    for path in paths:
        app.add_route(path, City())
    return app


def litestar(paths: list[str]) -> App:
    from litestar import Litestar, get

    async def city(id: str) -> dict[str, Any]:  # noqa: A002  # the parameter's name
        return {"city": id, "found": True}

    return Litestar([get(path.replace("{id}", "{id:str}"))(city) for path in paths])


def blacksheep(paths: list[str]) -> App:
    from blacksheep import Application, Router
    from blacksheep import json as replied

    app = Application(router=Router())

    async def city(id: str) -> Any:  # noqa: A002  # the parameter's name
        return replied({"city": id, "found": True})

    for path in paths:
        app.router.get(path)(city)
    return app


APPS: dict[str, Callable[[list[str]], App]] = {
    each.__name__: each for each in (ramapi, starlette, fastapi, falcon, litestar, blacksheep)
}


async def started(app: App) -> App:
    """Its lifespan is left at startup: some have their routes only then."""
    asked, up = [{"type": "lifespan.startup"}], asyncio.Event()

    async def hear() -> Any:
        return asked.pop() if asked else await asyncio.Event().wait()

    async def tell(message: Any) -> None:
        up.set()

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    STARTED.append(asyncio.create_task(app(scope, hear, tell)))
    await up.wait()
    return app


#: the lifespans' tasks
STARTED: list[asyncio.Task[None]] = []


async def answer(app: App, path: bytes) -> bytes:
    """The body, for a look whether it is one."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of(path), receive, send)
    return b"".join(message.get("body", b"") for message in sent).replace(b" ", b"")


async def taken(app: App, path: bytes, seconds: float) -> float:
    """µs a request."""

    async def send(message: Any) -> None:
        pass

    gc.collect()
    gc.freeze()  # 5,000 routes of one framework are not looked through for another
    count, begun = 0, time.perf_counter()
    while (now := time.perf_counter()) - begun < seconds:
        for _ in range(50):
            await app(scope_of(path), receive, send)
        count += 50
    return (now - begun) / count * 1e6


async def measure(rounds: int, seconds: float) -> dict[str, list[float]]:
    """In turn, forwards and backwards; the first round warms up. The last route is asked for."""
    apps = {
        (name, routes): await started(make([f"/things{number}/{{id}}" for number in range(routes)]))
        for routes in (FEW, MANY)
        for name, make in APPS.items()
    }
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for (name, routes), app in apps.items() if number % 2 else reversed(apps.items()):
            path = b"/things%d/7" % (routes - 1)
            if not number and (body := await answer(app, path)) != b'{"city":"7","found":true}':
                raise RuntimeError(f"{name} answers {body!r}")
            seen = await taken(app, path, seconds)
            if number:
                times.setdefault(f"{name} {routes}", []).append(seen)
    return times


def main() -> None:
    rounds, seconds = int(sys.argv[1]), float(sys.argv[2])
    versions = {name: importlib.metadata.version(name) for name in APPS if name != "ramapi"}
    print(json.dumps({"versions": versions, "times": asyncio.run(measure(rounds, seconds))}))


if __name__ == "__main__":
    main()
