"""One run: the origin, ``ramkit gateway`` before it, and the suite's client."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cache_tests.suite import Suite, node
from benchmarks.environments import ROOT

__all__ = ["OPTIONS", "results_of"]

#: What the second column is run with: a description's [[cache.rules]].
OPTIONS: dict[str, object] = {
    "path": "*",
    "ttl": 0,
    "heuristic": 0.1,
    "negative_ttl": 60,
    "stale_if_error": 60,
    "set_cookie": "everybody",
    "client_control": "follow",
    "accept_language": "negotiate",
}
_HERE = Path(__file__).parent
#: Seconds for a program to listen, and for the client to be through.
_START, _CLIENT = 20.0, 600.0


def results_of(
    suite: Suite, store: str, options: dict[str, object] | None = None, ids: Sequence[str] = ()
) -> dict[str, Any]:
    """The suite's results by id: True, or what it said against it. ``store``: the cache's URL; ``options``:
    one rule's arguments; ``ids``: these tests alone."""
    origin, gateway = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as folder, _origin(suite, origin, Path(folder)):
        command = [sys.executable, "-m", "ramkit", "gateway", "--listen", f"127.0.0.1:{gateway}"]
        upstream = f"http://127.0.0.1:{origin}"
        if options is None:
            command += ["--upstream", upstream, "--cache", store]
        else:
            file = Path(folder) / "gateway.toml"
            file.write_text(_description(upstream, store, options))
            command += ["--config", str(file)]
        with _process(command, gateway, os.environ.copy()):
            client = [node(), "--no-warnings", str(_HERE / "client.mjs"), str(suite.root)]
            done = subprocess.run(
                [*client, f"http://127.0.0.1:{gateway}", *ids],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_CLIENT,
            )
    return dict(json.loads(done.stdout))


def _description(upstream: str, store: str, options: dict[str, object]) -> str:
    rule = "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    return f"""
[upstreams.origin]
servers = ["{upstream}"]

[[routes]]
path = "/*"
upstream = "origin"

[cache]
store = "{store}"

[[cache.rules]]
{rule}
"""


@contextlib.contextmanager
def _origin(suite: Suite, port: int, folder: Path) -> Iterator[None]:
    said = {"protocol": "http", "port": str(port), "pidfile": str(folder / "origin.pid")}
    environment = os.environ | {f"npm_config_{name}": value for name, value in said.items()}
    with _process([node(), "--no-warnings", str(suite.server)], port, environment, suite.root):
        yield


@contextlib.contextmanager
def _process(
    command: list[str], port: int, environment: dict[str, str], folder: Path = ROOT
) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + _START
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)}: does not listen")
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
