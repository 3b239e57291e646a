"""Reads of one row beside asyncpg's own pool and hasql: what it costs to find a server and a connection."""

import asyncio
import gc
import importlib.metadata
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import uvloop
from hasql.driver.asyncpg import PoolManager

from benchmarks.goals import Goal, goal
from benchmarks.harness import Times, paired, spread
from benchmarks.report import table, write
from ramkit.db import Database
from ramkit.kernel.context import RequestContext
from ramkit.testing.servers import PostgresServer

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
FLIGHTS = [1, 32]
ROWS = 100
SIZES = {"min_size": 2, "max_size": 10}
QUERY = "SELECT n, name FROM bench WHERE n = $1"
STANDBY = "SELECT pg_is_in_recovery()"
#: seconds that one round shall take, about
SECONDS = 0.2
Ask = Callable[[int], Awaitable[Any]]

NAMES = {
    "asyncpg": "asyncpg, `pool.acquire()`, one server",
    "hasql": "hasql, `acquire_replica()`, two servers",
    "read": "**ramkit**, `db.read()`, one replica",
    "fetchrow": "**ramkit**, `db.fetchrow()`, one replica",
    "two replicas": "**ramkit**, `db.fetchrow()`, two replicas",
    "no floor": "**ramkit**, `db.fetchrow()` in a request",
    "floor": "**ramkit**, `db.fetchrow()` in a request with a floor that is passed",
}


@dataclass
class Results:
    """Microseconds a read, by (loop, in flight) and row."""

    rounds: int
    times: dict[tuple[str, int], dict[str, Times]] = field(default_factory=dict)


async def timed(ask: Ask, flight: int, reads: int) -> float:
    """Microseconds a read."""

    async def worker() -> None:
        for number in range(reads // flight):
            await ask(number % ROWS)

    gc.collect()
    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(flight)))
    return (time.perf_counter() - began) / (reads // flight * flight) * 1e6


async def peers(stack: AsyncExitStack, primary: str, replicas: list[str]) -> dict[str, Ask]:
    pool = await stack.enter_async_context(asyncpg.create_pool(replicas[0], **SIZES))
    hosts = ",".join(each.rpartition("@")[2].partition("/")[0] for each in (primary, replicas[0]))
    both = f"{primary.rpartition('@')[0]}@{hosts}/{primary.rpartition('/')[2]}"
    routed = PoolManager(both, pool_factory_kwargs=dict(SIZES))
    stack.push_async_callback(routed.close)
    await routed.ready()

    async def from_pool(number: int) -> Any:
        async with pool.acquire() as connection:
            return await connection.fetchrow(QUERY, number)

    async def from_hasql(number: int) -> Any:
        async with routed.acquire_replica() as connection:
            return await connection.fetchrow(QUERY, number)

    return {"asyncpg": from_pool, "hasql": from_hasql}


async def ours(stack: AsyncExitStack, primary: str, replicas: list[str]) -> dict[str, Ask]:
    db, two = Database(primary, replicas[:1], **SIZES), Database(primary, replicas, **SIZES)
    for each, number in ((db, 1), (two, 2)):
        stack.push_async_callback(each.aclose)
        await each.start()
        asked = range(20 * number)
        # A bounded poll is how it waits for its monitors.
        while sum([await each.fetchval(STANDBY) for _ in asked]) < len(asked):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)
    free, floored = RequestContext(), RequestContext()
    floored.floor.raise_position(db.name, 1)

    async def read(number: int) -> Any:
        async with db.read() as connection:
            return await connection.fetchrow(QUERY, number)

    def in_request(context: RequestContext) -> Ask:
        async def ask(number: int) -> Any:
            with context.active():
                return await db.fetchrow(QUERY, number)

        return ask

    return {
        "read": read,
        "fetchrow": lambda number: db.fetchrow(QUERY, number),
        "two replicas": lambda number: two.fetchrow(QUERY, number),
        "no floor": in_request(free),
        "floor": in_request(floored),
    }


async def measure_on(loop: str, dsns: list[str], results: Results) -> None:
    """All in one process; in each round one after the other."""
    async with AsyncExitStack() as stack:
        asked = {**await peers(stack, dsns[0], dsns[1:]), **await ours(stack, dsns[0], dsns[1:])}
        for flight in FLIGHTS:
            print(f"{time.strftime('%H:%M:%S')} db: {loop}, {flight} in flight", flush=True)
            seen = results.times[loop, flight] = {name: [] for name in asked}
            reads: dict[str, int] = {}
            for name, ask in asked.items():
                row = await ask(7)
                assert (row["n"], row["name"]) == (7, "row 7"), name
                warm = await timed(ask, flight, 20 * flight)
                reads[name] = max(int(SECONDS / warm * 1e6), 4 * flight)
            for _ in range(results.rounds):
                for name, ask in asked.items():
                    seen[name].append(await timed(ask, flight, reads[name]))


def measure(rounds: int) -> Results:
    results = Results(rounds)
    with ExitStack() as stack:
        primary = stack.enter_context(PostgresServer.launch())
        primary.execute("CREATE TABLE bench (n int PRIMARY KEY, name text)")
        primary.execute(f"INSERT INTO bench SELECT n, 'row ' || n FROM generate_series(0, {ROWS}) AS n")
        replicas = [stack.enter_context(primary.replica()) for _ in range(2)]
        for each in replicas:
            each.caught_up()
        for loop, factory in LOOPS.items():
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(measure_on(loop, [primary.dsn, *(each.dsn for each in replicas)], results))
    return results


def goals_of(results: Results) -> list[Goal]:
    """In the order of the issue that asked for them."""

    def ratios(flight: int, above: str, below: str) -> dict[str, Times]:
        return {
            loop: paired(times[above], times[below])
            for (loop, each), times in results.times.items()
            if each == flight
        }

    wanted = [
        (
            "a routed read of one row, one in flight, in the time of asyncpg's pool",
            0.7,
            1,
            "fetchrow",
            "asyncpg",
        ),
        ("… of hasql", 0.5, 1, "fetchrow", "hasql"),
        ("… 32 in flight, of asyncpg's pool", 1.0, 32, "fetchrow", "asyncpg"),
        ("… of hasql", 0.7, 32, "fetchrow", "hasql"),
        ("with a floor that is passed, one in flight, of one without", 1.05, 1, "floor", "no floor"),
        ("… 32 in flight", 1.05, 32, "floor", "no floor"),
        ("with two replicas, one in flight, of one", 1.05, 1, "two replicas", "fetchrow"),
        ("… 32 in flight", 1.05, 32, "two replicas", "fetchrow"),
    ]
    return [
        goal(what, most, ratios(flight, above, below), least=False)
        for what, most, flight, above, below in wanted
    ]


def sections(results: Results) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    head = ["µs a read", *(f"{flight} in flight, {loop}" for loop, flight in results.times)]
    rows = [[name, *(spread(times[row]) for times in results.times.values())] for row, name in NAMES.items()]
    goals = [[each.what, each.wanted, each.seen, each.met] for each in goals_of(results)]
    used = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("asyncpg", "hasql", "ramkit"))
    return {
        "db-goals": table(["goal", "wanted", "seen", "met"], goals),
        "db": f"{table(head, rows)}\n\n{results.rounds} rounds of about {SECONDS:g} s; {used}.",
    }


def run(*, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    found = sections(measure(3 if quick else 9))
    print("\n\n".join(found.values()))
    if quick:
        return
    write(found)
