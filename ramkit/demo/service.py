"""The service: countries and cities over HTTP, as somebody would write it with FastAPI and asyncpg."""

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import HTMLResponse, StreamingResponse

from ramkit.cache import Cache, CacheMiddleware, RedisStore, Rule, TieredStore
from ramkit.db import ConsistencyMiddleware, Database
from ramkit.demo.places import City, CityChange, Country, CountryPage, Places
from ramkit.health import Check, HealthMiddleware, check_loop, check_postgres, check_redis, check_replicas
from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send, raw_headers
from ramkit.kernel.observers import Observer
from ramkit.logs import AccessLogMiddleware
from ramkit.metrics import MetricsMiddleware, MetricsObserver, metrics_app

__all__ = ["RULES", "create_app", "create_service"]

RULES = (
    Rule("/countries", ttl=3600),
    Rule("/countries/*", ttl=300),
    Rule("/cities*", ttl=300),
    # Nothing purges it: it is as old as it may be, for those who have written nothing since.
    Rule("/largest", ttl=300),
    Rule("/search", ttl=60, groups=["search"], query_select=["q"], stale_while_revalidate=30),
    # A mistake, left in on purpose: what one visitor gets stays theirs all the same.
    Rule("/me", ttl=60),
)
#: Seconds from which on a query is told of: all are, since none takes long here.
_SLOW = 0
#: Seconds that balancers have to notice that a worker is going.
_DRAIN = 0.5
#: Seconds after which nothing that was stored earlier is alive.
_LIFETIME = max(rule.ttl + rule.stale_while_revalidate for rule in RULES)


class WorkerName:
    """Says in ``X-Worker`` which process answered, whoever rendered what it answers with."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._pair = (b"x-worker", str(os.getpid()).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_name(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*raw_headers(message), self._pair]}
            await send(message)

        await self.app(scope, receive, send_with_name if scope["type"] == "http" else send)


def create_app(
    dsn: str,
    replicas: Sequence[str],
    redis: str,
    *,
    prefix: str,
    secret: bytes,
    folder: Path,
    stopping: asyncio.Event | None = None,
) -> ASGIApp:
    """The service behind its cache, the same in all workers. ``folder``: for the access log."""
    observer = MetricsObserver()
    db = Database(
        dsn,
        replicas,
        name="demo",
        min_size=1,
        max_size=5,
        monitor_interval=0.2,
        slow_query=_SLOW,
        observers=[observer],
    )
    store = RedisStore(redis, name="demo", prefix=prefix, observers=[observer])
    cache = Cache(TieredStore(store), name="demo", observers=[observer])
    service = create_service(db, stopping=stopping)
    service.add_middleware(CacheMiddleware, cache=cache, rules=RULES)
    # In a header: cookies would have to be Secure, and the demo speaks plain http.
    service.add_middleware(
        ConsistencyMiddleware, db=db, cache=cache, secret=secret, lifetime=_LIFETIME, carrier="header"
    )
    # Without Redis or replicas it goes on, and says so.
    checks = [check_postgres(db), check_loop(), check_redis(store.redis, critical=False)]
    if replicas:
        checks.append(check_replicas(db, most=10))
    _watch(service, checks, folder, observer)
    service.add_middleware(WorkerName)
    return service


def _watch(service: FastAPI, checks: Sequence[Check], folder: Path, observer: Observer) -> None:
    """Metrics, log and health, outside of all that answers."""
    service.mount("/metrics", metrics_app())  # of all workers, whichever is asked
    service.add_middleware(MetricsMiddleware)
    log = (folder / "access.log").as_uri()
    service.add_middleware(AccessLogMiddleware, sink=log, observers=[observer])
    service.add_middleware(
        HealthMiddleware, checks=checks, drain=_DRAIN, detail_to=["127.0.0.1", "::1"], observers=[observer]
    )


def create_service(db: Database, *, stopping: asyncio.Event | None = None) -> FastAPI:
    """The service alone. ``stopping``: set when endless responses have to end."""
    service = FastAPI(title="Cities of the world")
    service.state.places = Places(db)
    service.state.renders = Counter[str]()
    service.state.stopping = stopping if stopping is not None else asyncio.Event()
    service.include_router(_router)
    return service


_router = APIRouter()


def _places(request: Request) -> Places:
    places: Places = request.app.state.places
    return places


def _rendered(request: Request, response: Response) -> None:
    """Counts what is rendered, and names each render in ``X-Render``."""
    renders: Counter[str] = request.app.state.renders
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    renders[target] += 1
    response.headers["X-Render"] = f"{os.getpid()}-{renders.total()}"


_Places = Annotated[Places, Depends(_places)]
_counted = [Depends(_rendered)]


def _groups(*names: str) -> str:
    return ", ".join(f'"{name}"' for name in names)


@_router.get("/countries", dependencies=_counted, response_model=list[Country])
async def countries(places: _Places) -> Any:
    """All countries by name."""
    return await places.countries()


@_router.get("/countries/{code}", dependencies=_counted, response_model=CountryPage)
async def country(code: str, places: _Places, response: Response) -> Any:
    """A country, and what its cities add up to."""
    found = await places.country(code.upper())
    if found is None:
        raise HTTPException(404, f"There is no country {code!r}.")
    response.headers["Cache-Groups"] = _groups(f"cities-{found['code']}")
    return found


@_router.get("/cities", dependencies=_counted, response_model=list[City])
async def cities(
    places: _Places,
    response: Response,
    country: Annotated[str | None, Query(pattern="^[A-Z]{2}$")] = None,
    page: Annotated[int, Query(ge=1, le=1000)] = 1,
) -> Any:
    """A page of cities, the largest first."""
    response.headers["Cache-Groups"] = _groups(f"cities-{country}" if country else "cities")
    return await places.cities(country, page)


@_router.get("/largest", dependencies=_counted, response_model=list[City])
async def largest(places: _Places, country: Annotated[str, Query(pattern="^[A-Z]{2}$")]) -> Any:
    """The ten largest cities of a country."""
    return (await places.cities(country, 1))[:10]


@_router.get("/cities/{city}", dependencies=_counted, response_model=City)
async def city(city: int, places: _Places) -> Any:
    """One city."""
    found = await places.city(city)
    if found is None:
        raise HTTPException(404, f"There is no city {city}.")
    return found


@_router.put("/cities/{city}", response_model=City)
async def change_city(city: int, body: CityChange, places: _Places, response: Response) -> Any:
    """Set a city's population."""
    changed = await places.change(city, body.population)
    if changed is None:
        raise HTTPException(404, f"There is no city {city}.")
    # The city itself goes by RFC 9111 §4.4; what lists it or adds it up, by its groups (RFC 9875).
    response.headers["Cache-Group-Invalidation"] = _groups("cities", f"cities-{changed['country']}", "search")
    return changed


@_router.get("/search", dependencies=_counted, response_model=list[City])
async def search(q: Annotated[str, Query(min_length=2, max_length=80)], places: _Places) -> Any:
    """The largest cities with that text in one of their names, in any script."""
    return await places.search(q)


@_router.get("/me", dependencies=_counted)
async def me(
    response: Response,
    authorization: Annotated[str | None, Header()] = None,
    visitor: Annotated[str | None, Cookie()] = None,
) -> dict[str, str]:
    """Who asks: the bearer named in Authorization, or a visitor known by a cookie."""
    if authorization is not None:
        return {"you": authorization.removeprefix("Bearer ")}
    name = visitor or f"visitor-{secrets.token_hex(4)}"
    response.set_cookie("visitor", name, httponly=True, samesite="lax")
    return {"you": name}


@_router.get("/ticks")
async def ticks(request: Request, every: Annotated[float, Query(ge=0.01, le=10)] = 1) -> StreamingResponse:
    """The time as server-sent events, ``every`` so many seconds."""
    events = (f"{tick}\n\n" async for tick in _ticks(every, request.app.state.stopping))
    return StreamingResponse(events, media_type="text/event-stream")


@_router.websocket("/ticks")
async def ticking(websocket: WebSocket, every: Annotated[float, Query(ge=0.01, le=10)] = 1) -> None:
    """The same over a WebSocket."""
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        async for tick in _ticks(every, websocket.app.state.stopping):
            await websocket.send_text(tick)


@_router.get("/renders")
async def renders(request: Request, response: Response) -> dict[str, Any]:
    """How often this worker rendered what."""
    response.headers["Cache-Control"] = "no-store"
    return {"worker": os.getpid(), "renders": dict(request.app.state.renders)}


@_router.get("/", response_class=HTMLResponse)
async def index() -> str:
    """Links to all of it."""
    return _INDEX


async def _ticks(every: float, stop: asyncio.Event) -> AsyncIterator[str]:
    number = 0
    while not stop.is_set():
        number += 1
        yield f"id: {number}\ndata: {time.strftime('%H:%M:%S')} from worker {os.getpid()}"
        try:
            await asyncio.wait_for(stop.wait(), every)
        except TimeoutError:
            continue


_LINKS = (
    ("/countries", "the countries of the world; cached for an hour"),
    ("/countries/IS", "a country and what its cities add up to; in the group cities-IS"),
    ("/cities?country=DE&amp;page=1", "the cities of a country, the largest first; in the group cities-DE"),
    (
        "/largest?country=DE",
        "the largest of them; nothing purges it, and who wrote reads it anew all the same",
    ),
    ("/cities/2950159", "one city"),
    ("/search?q=san", "a search through three million letters of names; one render, however many ask"),
    ("/me", "who you are; sets a cookie, so it is never shared"),
    ("/ticks", "server-sent events; passed through as they come"),
    ("/renders", "how often this worker rendered what; <code>no-store</code>"),
    ("/health", "what each check of this worker says"),
    ("/metrics/", "what both workers did, for Prometheus"),
    ("/docs", "all of it, to try: PUT /cities/{city} purges what it changes"),
)
_INDEX = (
    """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>ramkit demo</title>
<style>body { font: 1rem/1.6 system-ui; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>Cities of the world</h1>
<p>Two workers serve this, with one cache. See the headers <code>X-Worker</code> (who answered),
<code>X-Render</code> (who rendered), <code>X-Cache</code>, <code>Cache-Status</code> and <code>Age</code>
of each response.</p>
<ul>
"""
    + "".join(f'<li><a href="{link}">{link}</a>: {text}\n' for link, text in _LINKS)
    + "</ul></html>\n"
)
