"""SIGTERM: before the server hears of it, balancers do."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import websockets

from ramkit.health import HealthMiddleware
from ramkit.testing.client import drive, http_scope
from ramkit.testing.servers.processes import free_port

HERE = Path(__file__).parent
#: Seconds; only a test that fails meets it.
PATIENCE = 30.0


async def until(done):
    async with asyncio.timeout(PATIENCE):
        while not done():
            await asyncio.sleep(0.01)


async def until_ready(*ports):
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as client:
        for port in ports:
            while not await ready(client, port):
                await asyncio.sleep(0.02)


async def ready(client, port):
    with suppress(httpx.TransportError):
        return (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success


@pytest.fixture
def launch(tmp_path):
    """``launch("worker", …)`` gives the process and its port."""
    started = []

    def launch(script, *arguments):
        port = free_port("127.0.0.1")
        command = [sys.executable, HERE / f"{script}.py", str(port), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment))
        return started[-1], port

    yield launch
    for process in started:
        process.kill()
        process.wait()


async def test_no_request_fails_behind_a_proxy_that_follows_readyz(launch) -> None:
    (leaver, first), (stayer, second) = launch("worker", "2", "uvloop"), launch("worker", "2", "asyncio")
    await until_ready(first, second)
    _, port = launch("proxy", f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}")
    await until_ready(port)
    answers, over = [], asyncio.Event()

    async def ask():
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            while not over.is_set():
                response = await client.get("/")
                answers.append((response.status_code, response.text))

    async def more(number):
        enough = len(answers) + number
        await until(lambda: len(answers) >= enough or any(client.done() for client in clients))

    clients = [asyncio.create_task(ask()) for _ in range(4)]
    await more(100)
    before = len(answers)
    leaver.send_signal(signal.SIGTERM)
    await until(lambda: leaver.poll() is not None or any(client.done() for client in clients))
    await more(100)
    over.set()
    await asyncio.gather(*clients)
    assert leaver.poll() == -signal.SIGTERM
    assert {status for status, _ in answers} == {200}
    assert {pid for _, pid in answers[:before]} == {str(leaver.pid), str(stayer.pid)}
    assert {pid for _, pid in answers[-50:]} == {str(stayer.pid)}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_what_is_open_is_ended_or_finishes_and_resources_close_last(launch, tmp_path, loop) -> None:
    worker, port = launch("worker", "60", loop)
    log = tmp_path / f"{port}.log"
    url = f"http://127.0.0.1:{port}"
    await until_ready(port)

    async def body():
        yield b"before"
        await go.wait()
        yield b" and after"

    go = asyncio.Event()
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        uploading = asyncio.create_task(client.post("/upload", content=body()))
        socket = await websockets.connect(f"ws://127.0.0.1:{port}/socket")
        stream = await client.send(client.build_request("GET", "/events"), stream=True)
        ticks = stream.aiter_raw()
        await anext(ticks)

        worker.send_signal(signal.SIGTERM)
        while (await client.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.01)
        # Draining: all goes on, on connections of its own.
        assert (await client.get("/livez")).status_code == 200
        for asked in ({}, {"connection": "close"}, {"connection": "keep-alive"}):
            response = await client.get("/", params=asked, headers=asked)
            assert response.status_code == 200
            assert response.headers.get_list("connection") == ["close"]
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await anext(ticks)

        worker.send_signal(signal.SIGTERM)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == 1012  # "service restart": the listener is closed by now
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient().get(url)
        go.set()
        assert (await uploading).text == "before and after"
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in ticks:
                pass
        await until(lambda: worker.poll() is not None)
    assert worker.poll() == -signal.SIGTERM
    told = log.read_text().split("\n")[:-1]
    assert sorted(told) == ["closed", "event stream ended", "uploaded", "websocket ended"]
    assert told.index("uploaded") < told.index("closed")


# -- the handler itself ------------------------------------------------------------------------------


@contextmanager
def handled(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def server():
    """What the server's handler was called with."""
    called = []
    with handled(lambda number, frame: called.append(number)):
        yield called


def app(**options):
    async def ok(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return HealthMiddleware(ok, **options)
