import asyncio
import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from ramkit.demo.data import world
from ramkit.demo.errors import DemoError
from ramkit.demo.processes import Workers, address, listen, loopback
from ramkit.demo.worker import WorkerConfig


def has_ipv6() -> bool:
    try:
        listen("::1", 0).close()
    except OSError:
        return False
    return True


def test_without_a_port_the_first_free_one_is_taken() -> None:
    with closing(listen(loopback(), None)) as first, closing(listen(loopback(), None)) as second:
        assert second.getsockname()[1] > first.getsockname()[1] >= 8000


def test_a_port_that_is_taken_is_refused() -> None:
    with closing(listen(loopback(), 0)) as taken, pytest.raises(OSError, match="in use"):
        listen(loopback(), taken.getsockname()[1])


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_ipv6_addresses_are_in_brackets() -> None:
    with closing(listen("::1", 0)) as opened:
        assert address(opened) == f"[::1]:{opened.getsockname()[1]}"


def test_a_machine_that_has_only_ipv6_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_ipv6(host: str, port: int | None) -> socket.socket:
        if ":" not in host:
            raise OSError("no such address")
        return socket.socket()

    monkeypatch.setattr("ramkit.demo.processes.listen", only_ipv6)
    assert loopback() == "::1"


async def test_a_worker_that_cannot_serve_ends_it(redis_url: str, tmp_path: Path) -> None:
    config = WorkerConfig(
        "postgres://nobody@127.0.0.1:1/none", (), redis_url, "test:", "00" * 32, str(tmp_path)
    )
    with closing(listen(loopback(), 0)) as public, pytest.raises(DemoError, match="before it served"):
        async with Workers(config, public, note=print):
            pass


async def test_a_worker_that_dies_is_replaced(redis_url: str, postgres_dsn: str, tmp_path: Path) -> None:
    notes: asyncio.Queue[str] = asyncio.Queue()
    config = WorkerConfig(postgres_dsn, (), redis_url, "test:", "00" * 32, str(tmp_path))
    with closing(listen(loopback(), 0)) as public:
        async with world(postgres_dsn), Workers(config, public, note=notes.put_nowait) as workers:
            first, second = [await pid_of(each) for each in workers.addresses]
            os.kill(first, signal.SIGKILL)
            async with asyncio.timeout(60):
                assert f"worker {first} is gone" in await notes.get()
                # The socket is the parent's: a request meanwhile waits for the new worker.
                assert await pid_of(workers.addresses[0]) not in (first, second)
            assert await pid_of(workers.addresses[1]) == second
        with pytest.raises(ProcessLookupError):
            os.kill(second, 0)


async def pid_of(where: str) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return int((await client.get(f"http://{where}/renders")).json()["worker"])
