"""Through a real server: uvicorn, one worker each, asked by wrk or, without it, by a client of ours."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from benchmarks.driver import PATHS
from benchmarks.environments import ROOT
from benchmarks.harness import Times

APPS = ["plain", "memory", "tiered", "redis"]
CONNECTIONS = 64


def client_name() -> str:
    """What sends the requests."""
    return "wrk" if shutil.which("wrk") else "benchmarks/wire_client.py (no wrk found)"


class Server:
    """uvicorn with one of ``wire_app``'s apps on a free port."""

    def __init__(self, app: str, loop: str, redis_url: str) -> None:
        # By port and not by --fd: of an inherited socket uvicorn does not know that it is TCP, leaves Nagle's
        # algorithm on, and every app answers after the client's delayed acknowledgement, 40 ms.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", f"benchmarks.wire_app:{app}", "--port", str(self.port)]
        command += ["--loop", loop, "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        self._process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "BENCH_REDIS_URL": redis_url})
        try:
            self._ready()
        except BaseException:
            self.close()
            raise

    def _ready(self) -> None:
        """Returns when it has answered for each URL."""
        until = time.monotonic() + 20
        while time.monotonic() < until and self._process.poll() is None:
            try:
                for path in PATHS:
                    url = f"http://127.0.0.1:{self.port}{path.decode()}"
                    urllib.request.urlopen(
                        urllib.request.Request(url, headers={"Host": "cities.example"})
                    ).read()
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError):
                    raise
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("uvicorn did not answer")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def rate(port: int, connections: int, seconds: float) -> float:
    """Requests a second."""
    if not shutil.which("wrk"):
        command = [sys.executable, "-m", "benchmarks.wire_client", str(port), str(connections), str(seconds)]
        return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", "benchmarks/cities.lua"]
    url = f"http://127.0.0.1:{port}"
    done = subprocess.run([*command, url], cwd=ROOT, check=True, capture_output=True, text=True)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(done.stdout)
    return float(found[1])


def measure(redis_url: str, loop: str, rounds: int, seconds: float) -> dict[str, Times]:
    """Requests a second of each app, in turn, ``rounds`` times."""
    servers: dict[str, Any] = {}
    rates: dict[str, Times] = {app: [] for app in APPS}
    try:
        for app in APPS:
            servers[app] = Server(app, loop, redis_url)
        for app in APPS:
            rate(servers[app].port, CONNECTIONS, 1)
        for number in range(rounds):
            # forwards and backwards, so that none always follows the same one
            for app in APPS if number % 2 else reversed(APPS):
                rates[app].append(rate(servers[app].port, CONNECTIONS, seconds))
                time.sleep(0.2)
    finally:
        for server in servers.values():
            server.close()
    return rates
