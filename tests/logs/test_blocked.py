"""A pipe that nobody reads: nothing waits for it, nothing grows, and what is missing is counted."""

import asyncio
import fcntl
import json
import os
import time
import tracemalloc

import pytest

from ramkit.logs import AccessLogMiddleware, LogLinesDropped, Sink
from ramkit.logs.backends.files import StreamOutlet
from ramkit.testing.client import drive, http_scope
from tests.logs.reading import answering

BOUND = 100_000
SECONDS = 60


async def load(app, until):
    """64 clients at once; how many requests were answered."""
    answered = 0

    async def client():
        nonlocal answered
        while not until(answered):
            messages = await drive(app, http_scope(path="/" + "x" * 100))
            assert messages[0]["status"] == 200
            answered += 1
            await asyncio.sleep(0)

    await asyncio.gather(*(client() for _ in range(64)))
    return answered


async def blocked(until):
    """How many requests were answered while the queue was full."""
    dropped = 0

    def count(event):
        nonlocal dropped
        assert isinstance(event, LogLinesDropped)
        dropped += event.lines

    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    sink = Sink(StreamOutlet(write), max_bytes=BOUND, observers=[count], shutdown_timeout=20)
    app = AccessLogMiddleware(answering(b"x"), sink=sink)
    answered_before = await load(app, lambda answered: dropped > 0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    dropped_before = dropped
    answered = await load(app, until)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The queue is full: they were answered although their lines, but for a short one or two, were not taken.
    assert answered - 10 <= dropped - dropped_before <= answered
    assert after - before < BOUND
    with os.fdopen(read, "rb") as pipe:
        reading = asyncio.create_task(asyncio.to_thread(pipe.read))
        await sink.aclose()
        os.close(write)
        lines = [json.loads(line) for line in (await reading).splitlines()]
    assert sum(line.get("dropped", 0) for line in lines) == dropped
    assert sum("path" in line for line in lines) + dropped == answered_before + answered
    return answered


async def test_a_blocked_pipe_under_load():
    await blocked(lambda answered: answered >= 2000)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 60)
async def test_a_blocked_pipe_for_a_minute():
    end = time.monotonic() + SECONDS
    print(f"{await blocked(lambda _: time.monotonic() > end)} requests answered")
