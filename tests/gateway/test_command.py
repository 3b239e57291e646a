"""`ramkit gateway` as a process, and what it says of bad arguments."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ramkit.cli import main
from tests.gateway.wire import PATIENCE, serving


@asynccontextmanager
async def running(*arguments: str | Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Its URL, and the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ramkit", "gateway", "--listen", f"127.0.0.1:{port}", *map(str, arguments),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            await says(process, b"running on")
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert b"Traceback" not in errors, errors.decode()


async def says(process: asyncio.subprocess.Process, what: bytes) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while line := await process.stderr.readline():
            if what in line:
                return
    raise AssertionError(f"it ended without {what!r}")


def named(name: str, ready: asyncio.Event | None = None, go: asyncio.Event | None = None):
    """An app that says its name; with events it waits in the middle of its response."""

    async def app(scope, receive, send) -> None:
        headers = [(b"cache-control", b"max-age=60"), (b"x-path", scope["raw_path"])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if ready is not None and go is not None and scope["path"] == "/slow":
            await send({"type": "http.response.body", "body": b"slow ", "more_body": True})
            ready.set()
            await go.wait()
        await send({"type": "http.response.body", "body": name.encode()})

    return app


async def test_it_serves_with_a_cache() -> None:
    async with (
        serving(named("one")) as up,
        running("--upstream", up, "--cache", "memory://") as (url, _),
        httpx.AsyncClient() as client,
    ):
        first, second = await client.get(url), await client.get(url)
    assert first.text == second.text == "one"
    assert "uri-miss" in first.headers["cache-status"]
    assert "hit" in second.headers["cache-status"]
    assert first.headers["via"] == "1.1 ramkit"
    assert len(first.headers.get_list("date")) == 1
    assert "server" not in first.headers


async def test_several_upstreams_share_the_requests() -> None:
    async with (
        serving(named("one")) as one,
        serving(named("two")) as two,
        running("--upstream", one, "--upstream", two) as (url, _),
        httpx.AsyncClient() as client,
    ):
        seen = {(await client.get(url)).text for _ in range(4)}
    assert seen == {"one", "two"}


def description(server: str, more: str = "") -> str:
    return f"""
        [upstreams.origin]
        servers = ["{server}"]
        [[routes]]
        path = "/*"
        upstream = "origin"
        {more}
    """


async def test_sighup_reads_the_file_again_without_losing_a_request(tmp_path: Path) -> None:
    """Under load: each answer is whole, of one server or the other; what began before ends as it began."""
    config = tmp_path / "gateway.toml"
    ready, go, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    answers: list[str] = []

    async def load(client: httpx.AsyncClient, url: str) -> None:
        while not stop.is_set():
            response = await client.get(url)
            assert response.status_code == 200
            answers.append(response.text)

    async with serving(named("one", ready, go)) as one, serving(named("two")) as two:
        config.write_text(description(one))
        async with running("--config", config) as (url, process), httpx.AsyncClient() as client:
            slow = asyncio.create_task(client.get(f"{url}/slow"))
            await ready.wait()
            loads = [asyncio.create_task(load(client, url)) for _ in range(4)]
            while len(answers) < 50:
                await asyncio.sleep(0)
            for server in (two, one, two):
                config.write_text(description(server))
                process.send_signal(signal.SIGHUP)
                await says(process, b"is in force")
            seen = len(answers)
            while len(answers) < seen + 50:
                await asyncio.sleep(0)
            go.set()
            assert (await slow).text == "slow one"
            config.write_text("nonsense")
            process.send_signal(signal.SIGHUP)
            await says(process, b"all stays as it was")
            stop.set()
            await asyncio.gather(*loads)
            assert (await client.get(url)).text == "two"
    assert set(answers) == {"one", "two"}


async def test_the_file_has_rules_for_the_cache(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    async with serving(named("one")) as up:
        rules = '[cache]\nstore = "memory://"\n[[cache.rules]]\npath = "/*"\nquery_ignore = ["a"]'
        config.write_text(description(up, rules))
        async with running("--config", config) as (url, _), httpx.AsyncClient() as client:
            await client.get(f"{url}/?a=1")
            assert "hit" in (await client.get(f"{url}/?a=2")).headers["cache-status"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "--upstream: is missing"),
        (["--upstream", "ftp://x"], "--upstream: 'ftp://x'"),
        (["--upstream", "http://a", "--upstream", "http://a"], "--upstream: "),
        (["--upstream", "http://a", "--listen", "8002"], "--listen: '8002'"),
        (["--upstream", "http://a", "--trust", "everybody"], "--trust: 'everybody'"),
        (["--upstream", "http://a", "--trust", "0.0.0.0/0"], "--trust: "),
        (["--upstream", "http://a", "--cache", "memcached://x"], "memcached"),
        (["--upstream", "http://a", "--config", "x"], "--upstream: says nothing beside --config"),
        (["--config", "/does/not/exist"], "--config: "),
        (["--config", "{bad}"], "bad.toml"),
        (["--config", "{unknown}"], "cache.rules[0]: there is no tll"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(
    arguments: list[str], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, unknown = tmp_path / "bad.toml", tmp_path / "unknown.toml"
    bad.write_text("nonsense")
    rules = '[cache]\nstore = "memory://"\n[[cache.rules]]\npath = "/*"\ntll = 1'
    unknown.write_text(description("http://a", rules))
    assert main(["gateway", *(each.format(bad=bad, unknown=unknown) for each in arguments)]) == 2
    error = capsys.readouterr().err
    assert wanted.replace("bad.toml", "TOML") in error
    assert error.startswith("ramkit gateway: ")
    assert error.count("\n") == 1


async def test_a_port_that_is_taken_is_a_failure_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ramkit", "gateway", "--upstream", "http://127.0.0.1:9",
            "--listen", f"127.0.0.1:{listener.getsockname()[1]}", stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 3  # uvicorn's
    assert b"address already in use" in errors
    assert b"Traceback" not in errors
