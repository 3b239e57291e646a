"""One peer in its own process: answers lines of JSON on standard input with timings.

``python -m benchmarks.worker PEER LOOP REDIS_URL``; the parent decides what is measured when, so that
rounds of different peers take turns.
"""

import asyncio
import importlib
import importlib.metadata
import json
import sys
from typing import Any

from benchmarks.driver import URLS, Subject, bare, check, nothing, timed

SECONDS = 0.2
"""How long one round shall take, about."""


class Worker:
    """Its subjects and how many requests fill a round of each."""

    def __init__(self, subjects: dict[str, Subject], client: Any) -> None:
        self.subjects = subjects
        self.client = client
        self.requests: dict[tuple[str, int], int] = {}

    async def answer(self, name: str, flight: int) -> float:
        """Microseconds a request; raises if the cache did not do what is being timed."""
        subject = self.subjects[name]
        if (name, flight) not in self.requests:
            await check(subject)
            first = await timed(subject, flight, 1)
            self.requests[name, flight] = max(URLS, int(SECONDS / first * 1e6) // URLS * URLS)
        requests = self.requests[name, flight]
        renders, reads = subject.renders(), await self.reads() if subject.from_redis else 0
        seen = await timed(subject, flight, requests)
        if subject.renders() - renders > requests / 1000:
            raise RuntimeError(f"{name}: {subject.renders() - renders} of {requests} requests were no hits")
        if subject.from_redis and await self.reads() - reads < requests:
            raise RuntimeError(f"{name}: Redis was asked less than once a request")
        return seen

    async def reads(self) -> int:
        """Keys that Redis has found for anyone so far."""
        return int((await self.client.info("stats"))["keyspace_hits"])


async def serve(peer: str, redis_url: str) -> None:
    """Answer until standard input ends."""
    from redis.asyncio import Redis

    module = importlib.import_module(f"benchmarks.peers.{peer}")
    subjects = {"driver": Subject(app=nothing), "bare": Subject(app=bare), **await module.subjects(redis_url)}
    client: Any = Redis.from_url(redis_url)
    worker = Worker(subjects, client)
    versions = {name: importlib.metadata.version(name) for name in module.PACKAGES}
    reply: dict[str, Any] = {"versions": versions}
    while True:
        print(json.dumps(reply), flush=True)
        line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        if not line:
            break
        try:
            reply = {"us": await worker.answer(**json.loads(line))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    peer, loop, redis_url = sys.argv[1:]
    if loop == "uvloop":
        import uvloop

        uvloop.run(serve(peer, redis_url))
    else:
        asyncio.run(serve(peer, redis_url))


if __name__ == "__main__":
    main()
