"""Serving alone: in a loop, in a script."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ramkit.router import RamAPI


async def hello(ctx):
    ctx.text("hello")


async def test_it_listens_and_closes_and_listens_again():
    lived = []

    @asynccontextmanager
    async def lifespan(app):
        lived.append("+")
        yield
        lived.append("-")

    app = RamAPI(lifespan=lifespan)
    app.get("/", hello)
    for _ in "ab":
        port = await app.listen(0, log_level="critical")
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{port}/")).text == "hello"
        with pytest.raises(RuntimeError, match="listens already"):
            await app.listen(0)
        await app.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    assert lived == ["+", "-"] * 2
    await app.close()


async def test_requests_finish_before_it_closes():
    app, inside, go = RamAPI(), asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def slow(ctx):
        inside.set()
        await go.wait()
        ctx.text("finished")

    port = await app.listen(0, log_level="critical")
    async with httpx.AsyncClient() as http:
        asked = asyncio.create_task(http.get(f"http://127.0.0.1:{port}/"))
        await inside.wait()
        closing = asyncio.create_task(app.close())
        await asyncio.sleep(0)
        go.set()
        assert (await asked).text == "finished"
        await closing


async def test_a_port_that_is_taken_and_an_app_that_does_not_start():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await RamAPI().listen(taken.getsockname()[1])

    @asynccontextmanager
    async def lifespan(app):
        raise ValueError("no database")
        yield

    with pytest.raises(RuntimeError, match="did not start"):
        await RamAPI(lifespan=lifespan).listen(0, log_level="critical")


async def test_what_a_client_sends_as_no_http_client_would():
    """Through a real server: what the tests of paths and bodies hand in by themselves."""
    app = RamAPI(max_body=100)

    @app.all("/*path")
    async def show(ctx):
        ctx.json([ctx.params["path"], len(await ctx.body())])

    port = await app.listen(0, log_level="critical")

    async def asked(head, body=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"\r\nhost: x\r\nconnection: close\r\n" + body)
        got = await reader.read()
        writer.close()
        return int(got.split()[1]), got.rpartition(b"\r\n\r\n")[2]

    try:
        assert await asked(b"GET /a/%2e%2e/..%2F%00%ff HTTP/1.1", b"\r\n") == (
            200, '["a/../../\\u0000\ufffd",0]'.encode()
        )  # fmt: skip
        assert await asked(b"GET //a//b HTTP/1.1", b"\r\n") == (200, b'["/a//b",0]')
        assert (await asked(b"POST /a HTTP/1.1", b"content-length: 101\r\nexpect: 100-continue\r\n\r\n"))[
            0
        ] == 413
        chunked = b"transfer-encoding: chunked\r\n\r\n" + (b"32\r\n" + b"x" * 50 + b"\r\n") * 3
        assert (await asked(b"POST /a HTTP/1.1", chunked))[0] == 413
    finally:
        await app.close()


async def test_a_script_serves_until_a_signal(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from ramkit.router import RamAPI\n"
        "app = RamAPI()\n"
        "@app.get('/')\n"
        "async def hello(ctx): ctx.text('hello')\n"
        "with __import__('socket').create_server(('127.0.0.1', 0)) as free: port = free.getsockname()[1]\n"
        "print(port, flush=True)\n"
        "app.listen(port, access_log=False)\n"
    )
    script = await asyncio.create_subprocess_exec(
        sys.executable, script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    port = int(await script.stdout.readline())
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10)) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/")).text == "hello"
    script.send_signal(signal.SIGINT)
    _, log = await script.communicate()
    assert b"Application shutdown complete" in log


def test_what_uvicorn_does_not_know():
    with pytest.raises(TypeError, match="no_such_option"):
        RamAPI().listen(0, no_such_option=True)
