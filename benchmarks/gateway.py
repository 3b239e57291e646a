"""The gateway beside nginx and fastapi-proxy-lib: requests a second through one process of each.

The server behind all is an nginx that answers from its configuration. Of our own there is besides: a hit
in the cache in front of the gateway, and a bare ASGI app under the same server, which is what a hit could
cost at best.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.driver import BODY
from benchmarks.environments import ROOT, NotInstalled, python_of
from benchmarks.goals import Goal
from benchmarks.harness import Times, median, paired, spread
from benchmarks.wire import client_name, rate

CONNECTIONS = [1, 8, 32]
#: key: name in the table
NAMES = {
    "nginx": "nginx",
    "ramkit": "**ramkit gateway**",
    "fastapi_proxy_lib": "fastapi-proxy-lib",
    "cached": "**ramkit gateway**, a hit in `--cache memory://`",
    "bare": "bare ASGI app, same server, nothing behind",
    "pyreqwest": "bare proxy with pyreqwest",
    "aiohttp": "bare proxy with aiohttp",
    "httpx": "bare proxy with httpx",
}
#: whose environment is not ours
ELSEWHERE = dict.fromkeys(("fastapi_proxy_lib", "pyreqwest", "aiohttp", "httpx"), "proxies")
_ORIGIN = """
location / {{
  default_type application/json;
  add_header Cache-Control "public, max-age=3600";
  return 200 '{body}';
}}
"""
_NGINX = """
location / {
  proxy_pass http://origin;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
}
"""


@dataclass
class Throughput:
    """Requests a second, by (name, connections)."""

    rounds: int
    seconds: float
    rates: dict[tuple[str, int], Times] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def measure(rounds: int, seconds: float) -> Throughput:
    """All that can be started, one after the other in each round."""
    from ramkit.testing.servers import NginxServer

    seen = Throughput(rounds, seconds)
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(NginxServer.launch(_ORIGIN.format(body=BODY.decode())))
        upstream = f"upstream origin {{ server {origin.url.removeprefix('http://')}; keepalive 64; }}"
        ports = {"nginx": stack.enter_context(NginxServer.launch(_NGINX, http=upstream)).port}
        for name, shown in NAMES.items():
            try:
                if name != "nginx":
                    ports[name] = stack.enter_context(_started(name, origin.url))
                _warm(ports[name])
            except (NotInstalled, RuntimeError) as error:
                ports.pop(name, None)
                seen.missing[shown.replace("*", "")] = str(error)
        for number in range(rounds):
            for connections in CONNECTIONS:
                for name in ports if number % 2 else reversed(ports):
                    times = seen.rates.setdefault((name, connections), [])
                    times.append(rate(ports[name], connections, seconds))
                    time.sleep(0.1)
    return seen


@contextlib.contextmanager
def _started(name: str, origin: str) -> Iterator[int]:
    """The port of one server process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    process = subprocess.Popen(
        _command(name, port, origin),
        cwd=ROOT,
        env={**os.environ, "GATEWAY_ORIGIN": origin},
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_ready(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _command(name: str, port: int, origin: str) -> list[str]:
    if name in ("ramkit", "cached"):
        command = [sys.executable, "-m", "ramkit", "gateway", "--upstream", origin]
        command += ["--listen", f"127.0.0.1:{port}"]
        return command + (["--cache", "memory://"] if name == "cached" else [])
    app = "benchmarks.driver:bare" if name == "bare" else f"benchmarks.gateway_peers:{name}"
    python = python_of(ELSEWHERE[name]) if name in ELSEWHERE else sys.executable
    command = [python, "-m", "uvicorn", app, "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    return [*command, "--no-access-log", "--log-level", "error", "--no-date-header", "--no-server-header"]


def _until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("it did not start")


def _warm(port: int) -> None:
    """Each URL once; raises unless the answer is the expected one."""
    for number in range(128):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/cities/{number}")
        request.add_header("Host", "cities.example")
        with urllib.request.urlopen(request, timeout=10) as response:
            if response.read() != BODY:
                raise RuntimeError("it answers something else")
    rate(port, 8, 1)


# -- what is made of it --------------------------------------------------------------------------------

#: what, compared with what, wanted at these connections
_GOALS = [
    ("fastapi_proxy_lib", "the gateway, in requests/s of fastapi-proxy-lib", {1: 4.0, 8: 15.0, 32: 15.0}),
    ("nginx", "… of nginx", {1: 0.35, 32: 0.2}),
]


def goals_of(seen: Throughput) -> list[Goal]:
    """In the order of the issue that asked for them."""
    goals: list[Goal] = []
    for peer, what, wanted in _GOALS:
        goals += [
            _goal(
                seen,
                f"{what}, {connections} connection{'s' * (connections > 1)}",
                least,
                "ramkit",
                peer,
                connections,
            )
            for connections, least in wanted.items()
        ]
    return [
        *goals,
        _goal(
            seen, "a hit in the cache, in requests/s of a bare app, 32 connections", 0.8, "cached", "bare", 32
        ),
    ]


def _goal(seen: Throughput, what: str, wanted: float, ours: str, theirs: str, connections: int) -> Goal:
    above, below = seen.rates.get((ours, connections)), seen.rates.get((theirs, connections))
    if not above or not below:
        return Goal(what, f"≥ {wanted:g} x", "not measured", "-")
    ratio = median(paired(above, below))
    return Goal(what, f"≥ {wanted:g} x", f"{ratio:.2f}", "yes" if ratio >= wanted else "**no**")


def sections(seen: Throughput) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    from benchmarks.report import table

    names = [name for name in NAMES if (name, CONNECTIONS[0]) in seen.rates]
    head = ["requests/s", *(f"{n} connection{'s' * (n > 1)}" for n in CONNECTIONS)]
    rows = [[NAMES[name], *(spread(seen.rates[name, n], 0) for n in CONNECTIONS)] for name in names]
    goals = [[goal.what, goal.wanted, goal.seen, goal.met] for goal in goals_of(seen)]
    lines = [f"{seen.rounds} rounds of {seen.seconds:g} s each; requests sent by {client_name()}."]
    lines += [f"Not measured: {who}: {why}." for who, why in seen.missing.items()]
    return {
        "gateway-goals": table(["goal", "wanted", "seen", "met"], goals),
        "gateway": table(head, rows) + "\n\n" + "\n\n".join(lines),
    }


def text_of(seen: Throughput) -> str:
    """What is printed."""
    return "\n\n".join(sections(seen).values())


def publish(seen: Throughput) -> None:
    """Write the gateway's part of docs/benchmarks.md and of the README."""
    from benchmarks.report import write

    found = sections(seen)
    write({name: found[name] for name in ("gateway-goals", "gateway")})
    write({"gateway-goals": found["gateway-goals"]}, "README.md")


def run(*, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    print(f"{time.strftime('%H:%M:%S')} the gateway and its peers", flush=True)
    seen = measure(2 if quick else 4, 1)
    print(text_of(seen))
    if not quick:
        publish(seen)
