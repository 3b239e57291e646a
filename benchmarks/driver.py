"""What every worker does alike: the requests, the app behind the caches, the timed loops.

Standard library only: it is imported in the environments of all peers.
"""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]

#: The body that everything serves: JSON of about 1 KiB, in the spelling of json.dumps without spaces.
VALUE: dict[str, Any] = {
    "id": 2950159,
    "name": "Berlin",
    "country": {"code": "DE", "name": "Germany", "continent": "EU"},
    "location": {"latitude": 52.52437, "longitude": 13.41053, "timezone": "Europe/Berlin"},
    "population": 3426354,
    "names": [f"Berlin in language number {n}, spelled at some length" for n in range(16)],
}
BODY = json.dumps(VALUE, separators=(",", ":")).encode()

URLS = 128
PATHS = [b"/cities/%d" % number for number in range(URLS)]

#: What a browser behind one proxy sends.
REQUEST_HEADERS = [
    (b"host", b"cities.example"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.8,de;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"connection", b"keep-alive"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-forwarded-proto", b"https"),
]
RESPONSE_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
    (b"cache-control", b"public, max-age=3600"),
]
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_CLIENT, _SERVER = ("127.0.0.1", 50000), ("127.0.0.1", 8000)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The unit: an ASGI app that sends the body and does nothing else."""
    await send({"type": "http.response.start", "status": 200, "headers": RESPONSE_HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """What the driver itself costs: the making of a scope and a call."""


class Origin:
    """``bare`` behind a cache: counts how often it was asked after all."""

    def __init__(self) -> None:
        self.renders = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.renders += 1
            await bare(scope, receive, send)


@dataclass
class Subject:
    """One thing to be timed: an ASGI app, or an async function of the path.

    ``renders`` says how often a request was not answered by the cache; ``from_redis`` that each
    request must be read from Redis, which the worker checks by the server's own count.
    """

    app: App | None = None
    call: Callable[[bytes], Awaitable[Any]] | None = None
    renders: Callable[[], int] = lambda: 0
    from_redis: bool = False


def scope_of(path: bytes) -> dict[str, Any]:
    """A fresh scope as uvicorn makes it."""
    return {
        "type": "http", "asgi": _ASGI, "http_version": "1.1", "server": _SERVER, "client": _CLIENT,
        "scheme": "http", "method": "GET", "root_path": "", "path": path.decode(), "raw_path": path,
        "query_string": b"", "headers": list(REQUEST_HEADERS), "state": {},
    }  # fmt: skip


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    pass


async def check(subject: Subject) -> None:
    """Ask for each URL twice; raises unless both answers are the expected ones."""
    for path in PATHS * 2:
        if subject.app is None or subject.app is nothing:
            continue
        messages: list[Any] = []

        async def collect(message: Any, messages: list[Any] = messages) -> None:
            messages.append(message)

        await subject.app(scope_of(path), receive, collect)
        body = b"".join(message.get("body", b"") for message in messages[1:])
        if messages[0]["status"] != 200 or json.loads(body) != VALUE:
            raise RuntimeError(f"wrong answer for {path!r}: {messages[0]} {body[:80]!r}")


async def _serve(app: App, paths: list[bytes], rounds: int) -> None:
    for _ in range(rounds):
        for path in paths:
            await app(scope_of(path), receive, send)
        await asyncio.sleep(0)  # a server's loop turns, too


async def _call(call: Callable[[bytes], Awaitable[Any]], paths: list[bytes], rounds: int) -> None:
    for _ in range(rounds):
        for path in paths:
            await call(path)
        await asyncio.sleep(0)


async def timed(subject: Subject, flight: int, requests: int) -> float:
    """Microseconds a request: ``requests`` of them, ``flight`` at a time, over all URLs.

    ``flight`` divides URLS: each request in flight is for another URL, so that joining equal ones gains
    nothing.
    """
    repeats = max(1, requests // URLS)
    share = URLS // flight
    jobs: list[Coroutine[Any, Any, None]] = []
    for number in range(flight):
        own = PATHS[number * share : (number + 1) * share]
        paths, rounds = (own, repeats) if flight == 1 else (own * repeats, 1)
        if subject.call is not None:
            jobs.append(_call(subject.call, paths, rounds))
        elif subject.app is not None:
            jobs.append(_serve(subject.app, paths, rounds))
    gc.collect()
    gc.freeze()
    began = time.perf_counter()
    if flight == 1:
        await jobs[0]
    else:
        await asyncio.gather(*jobs)
    return (time.perf_counter() - began) / (repeats * URLS) * 1e6
