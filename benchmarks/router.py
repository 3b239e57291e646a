"""RamAPI's route and JSON reply beside Starlette's and FastAPI's, in one process without a server."""

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.goals import Goal
from benchmarks.harness import Times, median, paired, spread
from ramkit.kernel.asgi import ASGIApp
from ramkit.router import RamAPI

FEW, MANY = 5, 5000
ROWS = {
    ("ramapi", FEW): f"**RamAPI**, {FEW} routes",
    ("ramapi", MANY): f"**RamAPI**, {MANY} routes",
    ("starlette", FEW): f"Starlette, {FEW} routes",
    ("fastapi", FEW): f"FastAPI, {FEW} routes",
}


@dataclass
class Requests:
    """µs a request, by row."""

    rounds: int
    times: dict[tuple[str, int], Times] = field(default_factory=dict)


def ramapi(routes: int) -> ASGIApp:
    app = RamAPI()

    async def city(ctx: Any) -> None:
        ctx.json({"city": ctx.params["id"], "found": True})

    for number in range(routes):
        app.get(f"/things{number}/:id", city)
    return app


def starlette(routes: int) -> ASGIApp:
    async def city(request: Request) -> JSONResponse:
        return JSONResponse({"city": request.path_params["id"], "found": True})

    return Starlette(routes=[Route(f"/things{number}/{{id}}", city) for number in range(routes)])


def fastapi(routes: int) -> ASGIApp:
    app = FastAPI()

    async def city(id: str) -> dict[str, Any]:  # noqa: A002  # the parameter's name
        return {"city": id, "found": True}

    for number in range(routes):
        app.get(f"/things{number}/{{id}}")(city)
    return app


APPS: dict[str, Callable[[int], ASGIApp]] = {"ramapi": ramapi, "starlette": starlette, "fastapi": fastapi}


def scope_of(path: str) -> dict[str, Any]:
    """A fresh one for each request, as servers make it."""
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"x"), (b"accept", b"application/json")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }  # fmt: skip


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def answer(app: ASGIApp, path: str) -> bytes:
    """The body, for a look whether it is one."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of(path), receive, send)
    return b"".join(message.get("body", b"") for message in sent)


async def taken(app: ASGIApp, path: str, seconds: float) -> float:
    """µs a request."""

    async def send(message: Any) -> None:
        pass

    gc.collect()
    count, begun = 0, time.perf_counter()
    while (now := time.perf_counter()) - begun < seconds:
        for _ in range(100):
            await app(scope_of(path), receive, send)
        count += 100
    return (now - begun) / count * 1e6


async def measure(rounds: int, seconds: float) -> Requests:
    """In turn, forwards and backwards; the first round warms up. The last route is asked for."""
    seen = Requests(rounds)
    apps = {row: APPS[row[0]](row[1]) for row in ROWS}
    bodies = {(await answer(app, f"/things{row[1] - 1}/7")).replace(b" ", b"") for row, app in apps.items()}
    if bodies != {b'{"city":"7","found":true}'}:
        raise RuntimeError(f"they do not answer alike: {bodies}")
    for number in range(rounds + 1):
        for row in apps if number % 2 else reversed(apps):
            time_taken = await taken(apps[row], f"/things{row[1] - 1}/7", seconds)
            if number:
                seen.times.setdefault(row, []).append(time_taken)
    return seen


def goals_of(seen: Requests) -> list[Goal]:
    """Ratios within a round."""

    def ratio(one: tuple[str, int], other: tuple[str, int]) -> float:
        return median(paired(seen.times[one], seen.times[other]))

    few, many = ("ramapi", FEW), ("ramapi", MANY)
    wanted = [
        ("a route and a JSON reply, in the time of Starlette's", few, ("starlette", FEW), 0.5),
        ("… of FastAPI's", few, ("fastapi", FEW), 0.15),
        (f"with {MANY} routes, in the time of {FEW}", many, few, 1.1),
    ]
    goals: list[Goal] = []
    for what, one, other, most in wanted:
        found = ratio(one, other)
        goals.append(Goal(what, f"≤ {most:g} x", f"{found:.2f}", "yes" if found <= most else "**no**"))
    return goals


def run(*, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    from benchmarks.report import table, write

    seen = asyncio.run(measure(3, 0.1) if quick else measure(9, 0.3))
    goals = [[goal.what, goal.wanted, goal.seen, goal.met] for goal in goals_of(seen)]
    found = {
        "router-goals": table(["goal", "wanted", "seen", "met"], goals),
        "router": table(
            ["app", "µs a request"], [[name, spread(seen.times[row])] for row, name in ROWS.items()]
        )
        + f"\n\n{seen.rounds} rounds; the last route is asked for.",
    }
    print("\n\n".join(found.values()), flush=True)
    if quick:
        return
    write(found)
