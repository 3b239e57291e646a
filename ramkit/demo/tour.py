"""The guided tour: real requests, what each is to show, and whether it did."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ramkit.demo.client import Client, Reply
from ramkit.demo.databases import Databases
from ramkit.demo.outage import Outages
from ramkit.demo.report import Report
from ramkit.demo.servers import Servers
from ramkit.demo.watching import Watching

__all__ = ["Tour", "take"]

T = TypeVar("T")

_BERLIN, _HAMBURG = "/cities/2950159", "/cities/2911298"
_GERMANY, _GERMAN_CITIES, _FRENCH_CITIES = "/countries/DE", "/cities?country=DE", "/cities?country=FR"
_SEARCH = "/search?q=san"
_ROUNDS, _CROWD = 25, 100


@dataclass(frozen=True, slots=True)
class Tour:
    """What the steps work with. ``folder``: where the workers log; ``servers``: those that may be stopped."""

    client: Client
    report: Report
    folder: Path
    servers: Servers | None = None

    async def get(self, path: str, *, worker: int | None = None, **headers: str) -> Reply:
        """GET, printed."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = await self.client.get(path, worker=worker, headers=named)
        self.report.reply(reply)
        return reply

    async def renders(self, path: str) -> int:
        """How often all workers together have rendered that path."""
        replies = [await self.client.other().get("/renders", worker=worker) for worker in self.client.workers]
        return sum(reply.json["renders"].get(path, 0) for reply in replies)


async def take(tour: Tour) -> bool:
    """Go through all steps; whether each showed what it should."""
    for step in (_first_read, _other_worker, _validation, _write, _rounds, _crowd, _private, _stream):
        await _attempt(tour, step)
    watching = Watching(tour.client, tour.report, tour.folder)
    await _attempt(tour, lambda _: watching.metrics())
    await _attempt(tour, lambda _: watching.log())
    await _attempt(tour, lambda _: watching.health())
    servers = tour.servers
    if servers is None or servers.primary is None:
        tour.report.step(
            "Replicas are paused, and the primary is killed", "Who wrote reads what was written."
        )
        tour.report.note("left out: this Postgres is yours, and the demo does not stop it")
    else:
        databases = Databases(tour.client, tour.report, servers.primary, servers.standbys)
        await _attempt(tour, lambda _: databases.paused())
        await _attempt(tour, lambda _: databases.killed())
    if servers is None or servers.valkey is None:
        tour.report.step("Valkey is stopped and started", "Nobody notices.")
        tour.report.note("left out: this server is yours, and the demo does not stop it")
    else:
        outages = Outages(tour.client, tour.report, servers.valkey)
        await _attempt(tour, lambda _: outages.hangs())
        await _attempt(tour, lambda _: outages.restarts())
    return not tour.report.failures


async def _attempt(tour: Tour, step: Callable[[Tour], Awaitable[None]]) -> None:
    try:
        await step(tour)
    except Exception as error:  # whatever a wrong answer breaks, it is the step that failed
        tour.report.fail(f"the step came to an end: {type(error).__name__}: {error}")


async def _first_read(tour: Tour) -> None:
    tour.report.step(
        "A first read", "Nobody has asked before: one worker renders it from Postgres and stores it."
    )
    reply = await tour.get(_BERLIN, worker=0)
    tour.report.expect("status", 200, reply.status)
    tour.report.expect("X-Cache", "MISS", reply.cache)
    tour.report.expect("city", "Berlin", reply.json["name"])


async def _other_worker(tour: Tour) -> None:
    tour.report.step(
        "The other worker", "It never rendered this: it finds it in Valkey, then in its own memory."
    )
    renders = await tour.renders(_BERLIN)
    replies = [await tour.get(_BERLIN, worker=1), await tour.get(_BERLIN, worker=1), await tour.get(_BERLIN)]
    tour.report.expect("X-Cache", ["HIT", "HIT", "HIT"], [reply.cache for reply in replies])
    made_by, answered = {reply.render.partition("-")[0] for reply in replies[:2]}, replies[0].worker
    tour.report.check("rendered by the other worker than the one that answers", holds=answered not in made_by)
    tour.report.expect("further renders", 0, await tour.renders(_BERLIN) - renders)
    tour.report.note(
        f"Cache-Status: {replies[0].headers.get('cache-status')}; Age: {replies[0].headers.get('age')}"
    )


async def _validation(tour: Tour) -> None:
    tour.report.step(
        "An ETag", "Who has it already gets 304 and no body; from either worker, the ETag is the same."
    )
    known = [await tour.get(_BERLIN, worker=worker) for worker in (0, 1)]
    etags = sorted({reply.headers.get("etag", "") for reply in known})
    tour.report.check("both workers give the same ETag", holds=len(etags) == 1 and etags[0] != "")
    for worker in (1, 0):
        reply = await tour.get(_BERLIN, worker=worker, If_None_Match=etags[0])
        tour.report.expect("status and bytes", (304, 0), (reply.status, len(reply.content)))


async def _write(tour: Tour) -> None:
    tour.report.step(
        "A write",
        "PUT changes Berlin's population. What shows it goes, in both workers at once: the city by its URL, "
        'its country and the list of cities by their group, "cities-DE". What does not show it stays.',
    )
    shown = (_BERLIN, _GERMANY, _GERMAN_CITIES)
    for path in (*shown, _FRENCH_CITIES):
        for worker in (0, 1):
            await tour.client.get(path, worker=worker)
    population = (await tour.client.get(_BERLIN)).json["population"] + 1000
    reply = await tour.client.put(_BERLIN, {"population": population}, worker=0)
    tour.report.reply(reply)
    tour.report.expect("status", 200, reply.status)
    tour.report.check("the response carries a floor for this client", holds=tour.client.floor is not None)
    for path in shown:
        replies = [await tour.get(path, worker=worker) for worker in (1, 0)]
        seen = [_population(reply) for reply in replies]
        tour.report.expect("Berlin, in both workers", [population, population], seen)
        tour.report.expect("rendered anew, once", ["MISS", "HIT"], [reply.cache for reply in replies])
    # This client has a floor now, and what was rendered before its write is not for it.
    other = tour.client.other()
    replies = [await other.get(_FRENCH_CITIES, worker=worker) for worker in (0, 1)]
    tour.report.reply(replies[0])
    tour.report.expect(
        "X-Cache of what is not in the group", ["HIT", "HIT"], [reply.cache for reply in replies]
    )


def _population(reply: Reply) -> int:
    """Berlin's, wherever a response has it."""
    found: Any = reply.json
    rows: Any = found.get("largest", [found]) if hasattr(found, "get") else found
    return next((int(row["population"]) for row in rows if row["name"] == "Berlin"), -1)


async def _rounds(tour: Tour) -> None:
    tour.report.step(
        f"{_ROUNDS} writes, each read at once in both workers",
        "The floor that a PUT answered with goes with the next requests: no worker may show anything older.",
    )
    stale, slowest = 0, 0.0
    for number in range(_ROUNDS):
        written = 2_000_000 + number
        await tour.client.put(_HAMBURG, {"population": written}, worker=number % 2)
        replies = await asyncio.gather(*(tour.client.get(_HAMBURG, worker=worker) for worker in (0, 1, 0, 1)))
        stale += sum(reply.json["population"] != written for reply in replies)
        slowest = max(slowest, *(reply.seconds for reply in replies))
    tour.report.expect(f"older answers among {4 * _ROUNDS}", 0, stale)
    tour.report.note(f"slowest read: {slowest * 1000:.1f} ms")


async def _crowd(tour: Tour) -> None:
    tour.report.step(
        f"{_CROWD} clients ask for what nobody has",
        "A search through all names takes Postgres a while. Half of them ask one worker, half the other; "
        "one render serves all.",
    )
    before = await tour.renders(_SEARCH)
    crowd = [tour.client.other().get(_SEARCH, worker=number % 2) for number in range(_CROWD)]
    replies = await asyncio.gather(*crowd)
    tour.report.reply(replies[0])
    tour.report.expect("answers", {200: _CROWD}, _counts([reply.status for reply in replies]))
    tour.report.expect("workers that answered", 2, len({reply.worker for reply in replies}))
    tour.report.expect("renders", 1, await tour.renders(_SEARCH) - before)
    slowest = max(reply.seconds for reply in replies)
    tour.report.note(
        f"X-Cache: {_counts([reply.cache for reply in replies])}; slowest: {slowest * 1000:.0f} ms"
    )


def _counts(values: list[T]) -> dict[T, int]:
    return dict(Counter(values).most_common())


async def _private(tour: Tour) -> None:
    tour.report.step(
        "What is one user's own",
        "A rule caches /me by mistake. Authorization and Set-Cookie keep each answer with whom it is for.",
    )
    for name in ("Ada", "Grace"):
        reply = await tour.get("/me", worker=0, Authorization=f"Bearer {name}")
        tour.report.expect("you are", name, reply.json["you"])
        tour.report.check("not from the cache", holds=reply.cache != "HIT")
    visitors = [(await tour.get("/me", worker=0)).json["you"] for _ in range(2)]
    tour.report.expect("visitors told apart by a cookie", 2, len(set(visitors)))


async def _stream(tour: Tour) -> None:
    tour.report.step(
        "Server-sent events, and a WebSocket", "The streams have no end, and pass through event by event."
    )
    async with asyncio.timeout(10):
        lines = await tour.client.first_lines("/ticks?every=0.05", 6)
        messages = await tour.client.first_messages("/ticks?every=0.05", 2)
    tour.report.expect("events", ["id: 1", "id: 2"], [line for line in lines if line.startswith("id")])
    tour.report.expect("messages", ["id: 1", "id: 2"], [message.partition("\n")[0] for message in messages])
