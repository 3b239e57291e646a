"""Steps of the tour: what operators see of the workers, and a worker that leaves."""

import asyncio
import json
import os
import re
import signal
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from ramkit.demo.client import Client, Reply
from ramkit.demo.report import Report

__all__ = ["Watching"]

#: The first from the cache, the second always rendered, and asked for by nobody else meanwhile.
_ASKED, _COUNTED = "/countries/NZ", "/renders"
#: What is shown of the metrics, with some of the labels.
_SHOWN = (
    ("http_request_duration_seconds_count", f'route="{_COUNTED}"'),
    ("cache_lookups_total", 'result="hit"'),
    ("redis_batch_size_count", ""),
    ("db_pool_wait_seconds_count", ""),
)
_REQUESTS = 20
_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # of the W3C's own example
#: What is shown of a line.
_FIELDS = (
    "time",
    "request_id",
    "method",
    "path",
    "query",
    "route",
    "status",
    "cache",
    "duration_ms",
    "waits_ms",
)
#: Clients that go on asking, the seconds between two looks at ``/readyz``, and within which a worker has to
#: be replaced.
_READERS, _LOOK, _WITHIN = 4, 0.05, 15.0


class Watching:
    """Metrics, the log, readiness, draining. ``folder``: where the workers log."""

    def __init__(self, client: Client, report: Report, folder: Path) -> None:
        self._client, self._report, self._log = client, report, folder / "access.log"

    async def metrics(self) -> None:
        """Both workers count, and either of them tells what both have counted."""
        self._report.step(
            "Metrics",
            "Prometheus asks /metrics, and whichever worker answers tells what both have counted: requests "
            "by route, and what the cache, Redis and the pools did.",
        )
        before = await self._requests()
        for number in range(_REQUESTS):
            await self._client.get(_COUNTED, worker=number % 2)
        self._report.expect(
            f"{_COUNTED} asked of both, and counted", _REQUESTS, await self._requests() - before
        )
        text = (await self._client.get("/metrics/", worker=1)).content.decode()
        for name, label in _SHOWN:
            line = next((line for line in text.splitlines() if line.startswith(name) and label in line), "")
            self._report.check(name, holds=bool(line))
            self._report.note(line)

    async def log(self) -> None:
        """A line for each request, found by its id; what is secret in it is not there."""
        self._report.step(
            "The log",
            "One line of JSON a request, written off its path. X-Request-ID says which one it is; a caller's "
            "trace goes on in it, and a token in the query does not stand there.",
        )
        reply = await self._client.get(f"{_ASKED}?token=hunter2", headers={"traceparent": _TRACEPARENT})
        self._report.reply(reply)
        line = await self._line(reply.headers["x-request-id"])
        self._report.note(json.dumps({name: line[name] for name in _FIELDS if name in line}))
        self._report.expect("trace_id", _TRACEPARENT.split("-")[1], line["trace_id"])
        self._report.expect("query", "token=[redacted]", line["query"])

    async def _line(self, request_id: str) -> dict[str, Any]:
        """That of the request, once it is written."""
        async with asyncio.timeout(_WITHIN):
            while True:
                text = await asyncio.to_thread(self._log.read_text)
                for line in reversed(text.splitlines()):
                    if request_id in line:
                        return dict(json.loads(line))
                await asyncio.sleep(_LOOK)

    async def health(self) -> None:
        """A worker is told to end; a balancer that follows ``/readyz`` has sent it nothing more by then."""
        self._report.step(
            "A worker leaves, while requests go on",
            "On SIGTERM it is not ready any more, and goes on answering until balancers have noticed. "
            "Another worker takes its place.",
        )
        reply = await self._client.get("/health", worker=0)
        self._report.reply(reply)
        self._report.expect("status", "pass", reply.json["status"])
        self._report.note(f"checks: {', '.join(reply.json['checks'])}")
        balancer = _Balancer(self._client)
        looking = asyncio.create_task(balancer.look())
        readers = [asyncio.create_task(balancer.read_on()) for _ in range(_READERS)]
        try:
            seen = await self._replaced(int(reply.worker))
        finally:
            balancer.over = True
            counts = await asyncio.gather(*readers)
            looking.cancel()
        self._report.expect("what /readyz said", [200, 503, 200], seen)
        self._report.expect(f"requests that failed, of {sum(counts)}", [], balancer.errors[:3])

    async def _replaced(self, worker: int) -> list[int]:
        """Ends a worker; what ``/readyz`` at its address says until another one answers there."""
        seen, loop = [200], asyncio.get_running_loop()
        os.kill(worker, signal.SIGTERM)
        until = loop.time() + _WITHIN
        while loop.time() < until:
            reply = await _ready(self._client, 0)
            if reply is not None and reply.status != seen[-1]:
                seen.append(reply.status)
            if reply is not None and reply.status == 200 and int(reply.worker) != worker:
                break
            await asyncio.sleep(_LOOK / 2)
        return seen

    async def _requests(self) -> float:
        """How many both have answered, as one of them tells it."""
        text = (await self._client.get("/metrics/", worker=0)).content.decode()
        found = re.findall(rf'^http_requests_total{{.*route="{_COUNTED}".*}} (\S+)$', text, re.MULTILINE)
        return sum(map(float, found))


class _Balancer:
    """Sends each request to the next worker that was ready when it looked."""

    def __init__(self, client: Client) -> None:
        self._client, self._ready = client, list(client.workers)
        self._turns = count()
        self.errors: list[str] = []
        self.over = False

    async def look(self) -> None:
        while True:
            replies = [(worker, await _ready(self._client, worker)) for worker in self._client.workers]
            self._ready = [worker for worker, reply in replies if reply is not None and reply.status == 200]
            await asyncio.sleep(_LOOK)

    async def read_on(self) -> int:
        number = 0
        while not self.over:
            number += 1
            ready = self._ready or self._client.workers  # with none it asks any
            worker = ready[next(self._turns) % len(ready)]
            try:
                reply = await self._client.get(_ASKED, worker=worker)
            except httpx.HTTPError as error:
                self.errors.append(repr(error))
            else:
                if reply.status != 200:
                    self.errors.append(f"{reply.request}: {reply.status}")
            await asyncio.sleep(_LOOK / 5)
        return number


async def _ready(client: Client, worker: int) -> Reply | None:
    try:
        return await client.get("/readyz", worker=worker)
    except httpx.HTTPError:
        return None  # it is gone, and its place not taken yet
