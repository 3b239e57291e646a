"""SIGTERM: before the server hears of it, balancers do."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import websockets
from starlette.applications import Starlette

from ramkit.health import Check, HealthMiddleware
from ramkit.health.draining import Draining
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


async def test_what_is_open_is_ended_or_finishes_and_resources_close_last(launch, tmp_path) -> None:
    worker, port = launch("worker", "60", "asyncio")
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
    *told, last = (tmp_path / f"{port}.log").read_text().split()
    assert sorted(told) == ["uploaded", "websocket"]
    assert last == "closed"


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
    """What the server's handler of SIGTERM was called with."""
    called = []
    with handled(lambda number, frame: called.append(number)):
        yield called


@asynccontextmanager
async def draining(seconds, *observers):
    found = Draining(seconds, None, observers)
    await found.start()
    try:
        yield found
    finally:
        await found.aclose()


async def terminate():
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)


async def test_the_first_signal_is_for_balancers(server, caplog) -> None:
    seen = []
    async with draining(0.01, seen.append) as found:
        assert not found.active
        await terminate()
        assert found.active
        assert not server
        await until(lambda: server)
    assert server == [signal.SIGTERM]
    told = [(event.metric, event.seconds, event.draining) for event in seen]
    assert told == [("health_draining", 0.01, 0), ("health_draining", 0.01, 1)]
    assert caplog.messages == ["draining for 0.01 s"]


async def test_further_signals_are_the_servers(server) -> None:
    async with draining(60):
        signal.raise_signal(signal.SIGTERM)
        await terminate()  # both before the loop hears of the first
        assert server == [signal.SIGTERM]
        await terminate()
        assert server == [signal.SIGTERM] * 2


async def test_closing_puts_the_servers_handler_back(server) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with draining(60) as found:
        await found.start()  # once more, which changes nothing
        assert signal.getsignal(signal.SIGTERM) != before
        await terminate()
    assert signal.getsignal(signal.SIGTERM) is before
    await found.start()
    assert not found.active
    await found.aclose()


async def test_a_handler_that_came_later_stays(server) -> None:
    """And nothing is lost, whether it calls the former one while that still drains or afterwards."""
    later = []

    def handler(number, frame):
        later.append(number)
        former(number, frame)

    async with draining(60) as found:
        former = signal.getsignal(signal.SIGTERM)
        with handled(handler):
            await terminate()
            assert found.active
            await terminate()
            assert server == [signal.SIGTERM]
            await found.aclose()
            assert signal.getsignal(signal.SIGTERM) is handler
            signal.raise_signal(signal.SIGTERM)
    assert server == [signal.SIGTERM] * 2
    assert later == [signal.SIGTERM] * 3


async def test_several_drain_at_the_same_time(server) -> None:
    async with draining(60) as outer, draining(0.01) as inner:
        await terminate()
        assert outer.active
        assert inner.active
        await terminate()
        await until(lambda: server)
        assert server == [signal.SIGTERM]
    async with draining(0.02) as outer, draining(0.01) as inner:
        await terminate()
        assert outer.active
        await until(lambda: len(server) == 2)
    assert signal.getsignal(signal.SIGTERM) not in (outer._handle, inner._handle)


async def test_starting_again_below_a_handler_that_stayed(server) -> None:
    """Which calls us: the two must not call each other for ever."""
    found = Draining(60, None, ())
    for number in range(1, 4):
        await found.start()
        former = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *about, former=former: former(*about))
        await terminate()
        assert found.active
        assert len(server) == number - 1
        await terminate()
        await asyncio.sleep(0)
        assert len(server) == number
        await found.aclose()


async def test_a_second_server_of_the_process(server) -> None:
    """It has handlers of its own, and has put back what was there before the first."""
    found = Draining(60, None, ())
    for number in range(1, 3):
        before = signal.getsignal(signal.SIGTERM)
        with handled(partial(before)):  # the server's
            await found.start()
            with handled(lambda *about: None):  # of a library, above
                await found.aclose()
        with handled(partial(before)):
            await found.start()
            await terminate()
            assert found.active
            await terminate()
            assert len(server) == number
            await found.aclose()


def test_a_loop_that_is_gone_gives_way_to_another(server) -> None:
    found = Draining(60, None, ())
    asyncio.run(found.start())

    async def again():
        await found.start()
        await terminate()
        assert found.active
        assert server == []
        await terminate()
        assert server == [signal.SIGTERM]
        await found.aclose()

    asyncio.run(again())


def test_a_loop_that_is_gone_holds_nothing_up(server) -> None:
    asyncio.run(Draining(60, None, ()).start())
    signal.raise_signal(signal.SIGTERM)
    assert server == [signal.SIGTERM]


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
async def test_where_nobody_waits_for_the_signal_it_is_left_alone(handler) -> None:
    with handled(handler):
        async with draining(60):
            assert signal.getsignal(signal.SIGTERM) is handler


async def test_zero_leaves_it_alone(server) -> None:
    async with draining(0) as found:
        await terminate()
        assert server == [signal.SIGTERM]
        assert not found.active


async def test_another_thread_leaves_it_alone(server) -> None:
    before = signal.getsignal(signal.SIGTERM)
    await asyncio.to_thread(asyncio.run, Draining(60, None, ()).start())
    assert signal.getsignal(signal.SIGTERM) is before


async def test_what_is_said_meanwhile(server, asgi_client) -> None:
    def never():
        raise AssertionError("checks may be about what closes already")

    health = HealthMiddleware(Starlette(), checks=[Check("never", never)], drain=60, detail_to=["127.0.0.1"])
    async with asgi_client(health) as client:
        await terminate()
        for path in ("/readyz", "/health"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert answer.json() == {"status": "fail", "output": "draining", "checks": {}}
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/elsewhere")).headers["connection"] == "close"


@pytest.mark.parametrize(("version", "closes"), [("1.0", True), ("1.1", True), ("2", False), ("3", False)])
async def test_only_http_1_has_such_a_field(version, closes) -> None:
    """RFC 9113 §8.2.2 forbids it."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Connection", b"x")]})
        await send({"type": "http.response.body"})

    health = HealthMiddleware(app)
    health._draining.began = True
    start, _ = await drive(health, http_scope(http_version=version))
    assert start["headers"] == ([(b"connection", b"close")] if closes else [(b"Connection", b"x")])
