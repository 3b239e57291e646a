"""Four workers, killed and replaced under load: the sums are what the client counted."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ramkit.metrics import Processes
from tests.conftest import SOAK

WORKERS, CLIENTS = 4, 6
KILLS = 20 if SOAK else 5
ROOT = Path(__file__).parents[2]


@dataclass
class Counted:
    """``broken``: requests that got no whole answer."""

    answered: int = 0
    broken: int = 0
    done: bool = False


def start(listener: socket.socket, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("worker.py")), str(listener.fileno())]
    return subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])


async def ask(url: str, counted: Counted) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        while not counted.done:
            try:
                response = await client.get(f"{url}/items/{counted.answered}")
                assert response.status_code == 200
                counted.answered += 1
            except httpx.TransportError:
                counted.broken += 1
            await asyncio.sleep(0.002)


def requests_in(text: str) -> float:
    return sum(
        sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
        if sample.name == "http_requests_total" and sample.labels["route"] == "/items/{id}"
    )


async def scrape(url: str, counted: Counted, seen: list[float]) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        while not counted.done:
            with suppress(httpx.TransportError):  # the worker that was asked is the one that was killed
                seen.append(requests_in((await client.get(f"{url}/metrics/")).raise_for_status().text))
            await asyncio.sleep(0.05)


@pytest.mark.timeout(600)
async def test_sums_are_what_the_client_counted(tmp_path: Path) -> None:
    counted, seen = Counted(), list[float]()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        workers = [start(listener, tmp_path) for _ in range(WORKERS)]
        tasks = [asyncio.create_task(ask(url, counted)) for _ in range(CLIENTS)]
        tasks.append(asyncio.create_task(scrape(url, counted, seen)))
        try:
            for _ in range(KILLS):
                await until(lambda enough=counted.answered + 150: counted.answered >= enough)
                await until(lambda: len(list(tmp_path.glob("gauge_livesum_[0-9]*.db"))) >= WORKERS)
                victim = workers.pop(0)
                victim.kill()
                await asyncio.to_thread(victim.wait)
                workers.append(start(listener, tmp_path))
            await until(lambda enough=counted.answered + 150: counted.answered >= enough)
            counted.done = True
            await asyncio.gather(*tasks)
        finally:
            counted.done = True
            for task in tasks:
                task.cancel()
            for worker in workers:
                worker.kill()
                worker.wait()
    total = sum(
        sample.value
        for metric in Processes(tmp_path).collect()
        for sample in metric.samples
        if sample.name == "http_requests_total" and sample.labels["route"] == "/items/{id}"
    )
    # a worker counts what it has just answered before it does anything else: one a kill may be missing
    assert counted.answered - KILLS - WORKERS <= total <= counted.answered + counted.broken
    assert counted.broken <= KILLS * CLIENTS
    assert seen
    assert seen == sorted(seen)
    assert not list(tmp_path.glob("*_[0-9]*.db"))


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.02)
