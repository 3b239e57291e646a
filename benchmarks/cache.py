"""The cache beside its peers: everything in one run, written to docs/benchmarks.md and README.md."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from benchmarks import purge, wire
from benchmarks.environments import REQUIREMENTS
from benchmarks.harness import Team
from benchmarks.report import Results, publish, text_of

IN_PROCESS = [
    ("ramkit", "driver"),
    ("ramkit", "bare"),
    ("ramkit", "memory"),
    ("ramkit", "tiered"),
    ("cashews", "bare"),
    ("cashews", "memory"),
    ("cashews", "client side"),
    ("starlette_caches", "bare"),
    ("starlette_caches", "memory"),
    ("fastapi_cache2", "bare"),
    ("fastapi_cache2", "FastAPI alone"),
    ("fastapi_cache2", "memory"),
    ("hishel", "bare"),
    ("hishel", "sqlite"),
]
FROM_REDIS = [
    ("ramkit", "get"),
    ("ramkit", "redis"),
    ("cashews", "redis"),
    ("starlette_caches", "redis"),
    ("fastapi_cache2", "redis"),
    ("hishel", "redis"),
]
FLIGHTS = [1, 64]
LOOPS = ["asyncio", "uvloop"]
SIZES = [10, 1000, 1_000_000]


@contextlib.contextmanager
def redis_server(url: str | None) -> Iterator[str]:
    """The URL that was given, or that of a server started for this run."""
    if url is not None:
        asyncio.run(_refuse_data(url))
        yield url
        return
    from ramkit.testing.servers import RedisServer

    with RedisServer.launch() as server:
        yield server.url


async def _refuse_data(url: str) -> None:
    """The database is flushed between measurements: somebody's data must not be in it."""
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        if await client.dbsize():
            raise SystemExit("--redis: that database holds data; name an empty one")


def run(redis_url: str, *, rounds: int, seconds: float, sizes: list[int]) -> Results:
    """Everything, one thing after the other."""
    results = Results(rounds=rounds, seconds=seconds, client=wire.client_name())
    for loop in LOOPS:
        _say(f"{loop}: workers start (the first run installs the peers in .bench-*/)")
        team = Team(loop)
        try:
            team.start(["ramkit", *REQUIREMENTS], redis_url)
            for peer, worker in team.workers.items():
                results.versions[peer] = worker.versions
            _say(f"{loop}: hits in process")
            results.in_process[loop] = team.measure(IN_PROCESS, 1, rounds)
            for flight in FLIGHTS:
                _say(f"{loop}: hits in Redis, {flight} in flight")
                results.from_redis[loop, flight] = team.measure(FROM_REDIS, flight, rounds)
        finally:
            team.close()
        for who, why in team.missing.items():
            results.missing[f"{who} ({loop})"] = why
    _say(f"through uvicorn, asked by {results.client}")
    # Many short rounds: the machine's speed changes within seconds, and a ratio is taken within a round.
    results.wire = wire.measure(redis_url, "uvloop", 2 * rounds, 1.0)
    _say("purging groups")
    results.purges = purge.measure(redis_url, sizes)
    return results


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def main(redis: str | None, *, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    with redis_server(redis) as url:
        if quick:
            results = run(url, rounds=3, seconds=2, sizes=[10, 1000])
        else:
            results = run(url, rounds=9, seconds=5, sizes=SIZES)
    print(text_of(results))
    if not quick:
        publish(results)
