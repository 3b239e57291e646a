"""Servers that are killed, stopped, slow or break off, under the load of real clients; counts decide.

The gateway's clock is in the test's hands: an ejection lasts until the test says that its time is over.
"""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ramkit.gateway.events import GatewayEjection
from ramkit.gateway.policy import CircuitBreaker, Ejection
from ramkit.testing.clock import ManualClock
from ramkit.testing.servers.processes import Process, guard, on_free_port, until
from tests.gateway.wire import PATIENCE, Peer, connected, gateway_to, serving

CLIENTS = 16
#: Bytes: of a response that a gateway holds until it is whole, and of one that it cannot hold.
SHORT, LONG = 3_000, 300_000
#: Seconds that a server has which answers nothing, or stops. One that answers takes milliseconds.
FIRST_BYTE = 3.0
BROKEN = 0


class Server:
    """A process of upstream.py."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.folder = guard().folder("upstream")
        self.mode("ok")
        self.process: Process = self.start()

    def start(self) -> Process:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        script = Path(__file__).with_name("upstream.py")
        argv = [sys.executable, "-I", "-S", script, str(self.port)]
        self.process = guard().start(argv, self.folder)
        until(ready.exists, self.process, "upstream.py")
        return self.process

    def mode(self, mode: str) -> None:
        fresh = self.folder / "mode.new"
        fresh.write_text(mode)
        fresh.replace(self.folder / "mode")

    def signal(self, number: signal.Signals) -> None:
        self.process.signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process.status(PATIENCE) is not None

    def journal(self) -> Counter[str]:
        """How often each request arrived."""
        return Counter((self.folder / "journal").read_text().splitlines())


@contextmanager
def servers(number: int) -> Iterator[list[Server]]:
    started: list[Server] = []
    try:
        for _ in range(number):
            server = on_free_port("127.0.0.1", Server)
            started.append(server)
        yield started
    finally:
        for server in started:
            server.process.end()


@dataclass
class Load:
    """Clients, each with a connection of its own, which ask one after the other."""

    url: str
    length: int = SHORT
    #: by request: status, and BROKEN for a response that broke off
    got: dict[str, int] = field(default_factory=dict)
    names: Iterator[int] = field(default_factory=count)

    async def burst(self, requests: int, at: dict[int, Callable[[], Any]] | None = None) -> None:
        """So many requests, a quarter of them POST; after some of them, something happens."""
        events = dict(at or {})
        left = iter(range(requests))
        done = count(1)

        async def client() -> None:
            peer: Peer | None = None
            async with _Connections(self.url) as connect:
                for _ in left:
                    number = next(self.names)
                    name = f"{'POST' if number % 4 == 0 else 'GET'} {number}"
                    peer = peer or await connect()
                    status, keep = await _ask(peer, name, self.length)
                    self.got[name] = status
                    if not keep:
                        peer = None
                    if happens := events.pop(next(done), None):
                        await asyncio.to_thread(happens)

        async with asyncio.timeout(6 * PATIENCE):
            await asyncio.gather(*(client() for _ in range(CLIENTS)))
        assert not events

    def statuses(self, method: str) -> Counter[int]:
        return Counter(status for name, status in self.got.items() if name.startswith(method))

    def check(self, *all_servers: Server) -> None:
        """What is not idempotent arrived once at most, and once if it was answered."""
        arrived: Counter[str] = Counter()
        for server in all_servers:
            arrived += server.journal()
        for name, status in self.got.items():
            if name.startswith("POST"):
                assert arrived[name] <= 1, name
            if status == 200:
                assert arrived[name] >= 1, name


class _Connections:
    """Opens connections, and closes them at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: list[Any] = []

    async def __aenter__(self) -> Callable[[], Any]:
        return self._connect

    async def _connect(self) -> Peer:
        context = connected(self._url)
        peer = await context.__aenter__()
        self._open.append(context)
        return peer

    async def __aexit__(self, *error: object) -> None:
        for context in self._open:
            await context.__aexit__(None, None, None)


async def _ask(peer: Peer, name: str, length: int) -> tuple[int, bool]:
    """The status, and whether the connection can be used again."""
    method, _, number = name.partition(" ")
    body = b"x" * 100 if method == "POST" else b""
    framing = b"Content-Length: 100\r\n" if body else b""
    try:
        await peer.send(
            b"%b /%d/%b HTTP/1.1\r\nHost: h\r\n%b\r\n%b"
            % (method.encode(), length, number.encode(), framing, body)
        )
        head = (await peer.head()).lower()
        size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        content = await peer.reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return BROKEN, False
    status = int(head.split(b" ")[1])
    if status == 200:
        assert set(content.split()) == {number.encode()}
    return status, b"connection: close" not in head


@dataclass
class Scene:
    """A gateway before servers, and what was seen."""

    servers: list[Server]
    load: Load
    clock: ManualClock
    changes: list[tuple[str, str]]

    def changed(self, server: Server, change: str) -> int:
        return self.changes.count((server.url, change))

    async def all_return(self) -> None:
        """Ejections are over, the trials go well, the slow start is over; then each gets its part."""
        for _ in range(2 * len(self.servers)):
            self.clock.advance(300)
            await self.load.burst(CLIENTS)
        for server in self.servers:
            assert self.changed(server, "returned") == self.changed(server, "ejected")
        before = [server.journal().total() for server in self.servers]
        await self.load.burst(120)
        for server, earlier in zip(self.servers, before, strict=True):
            assert server.journal().total() - earlier > 120 / len(self.servers) / 4


@asynccontextmanager
async def scene(number: int = 2, *, length: int = SHORT, **options: Any) -> AsyncIterator[Scene]:
    with servers(number) as started:
        clock = ManualClock()
        changes: list[tuple[str, str]] = []

        def observe(event: object) -> None:
            if isinstance(event, GatewayEjection):
                changes.append((event.server, event.change))

        settings: dict[str, Any] = {"first_byte_timeout": FIRST_BYTE, "idle_timeout": FIRST_BYTE, **options}
        urls = [server.url for server in started]
        async with (
            gateway_to(*urls, clock=clock, observers=[observe], **settings) as gateway,
            serving(gateway) as url,
        ):
            yield Scene(started, Load(url, length), clock, changes)


async def test_a_server_is_killed() -> None:
    async with scene() as at:
        bad, good = at.servers
        await at.load.burst(600, {150: bad.kill})
        assert at.changed(bad, "ejected") == 1
        assert at.changed(good, "ejected") == 0
        assert at.load.statuses("GET") == {200: 450}
        # a POST that it had received, or may have, is not sent again
        lost = 150 - at.load.statuses("POST")[200]
        assert lost == at.load.statuses("POST")[502] <= CLIENTS
        bad.start()
        await at.all_return()
        assert set(at.load.statuses("GET")) == {200}
        at.load.check(*at.servers)


async def test_a_server_is_stopped_and_goes_on() -> None:
    async with scene() as at:
        bad, good = at.servers
        await at.load.burst(600, {150: lambda: bad.signal(signal.SIGSTOP)})
        assert at.changed(bad, "ejected") == 1
        assert at.changed(good, "ejected") == 0
        assert at.load.statuses("GET") == {200: 450}
        lost = 150 - at.load.statuses("POST")[200]
        assert lost == at.load.statuses("POST")[504] <= CLIENTS
        bad.signal(signal.SIGCONT)
        await at.all_return()
        assert set(at.load.statuses("GET")) == {200}
        at.load.check(*at.servers)


@pytest.mark.parametrize(("mode", "status"), [("slow", 504), ("busy", 503)])
async def test_a_server_is_slow_or_busy(mode: str, status: int) -> None:
    async with scene() as at:
        bad, good = at.servers
        await at.load.burst(600, {150: lambda: bad.mode(mode)})
        assert at.changed(bad, "ejected") == 1
        assert at.changed(good, "ejected") == 0
        posts = at.load.statuses("POST")
        assert 150 - posts[200] == posts[status] <= CLIENTS
        if mode == "slow":
            assert at.load.statuses("GET") == {200: 450}
        bad.mode("ok")
        await at.all_return()
        at.load.check(*at.servers)


async def test_a_server_breaks_off_in_the_middle_of_short_bodies() -> None:
    async with scene() as at:
        bad, _ = at.servers
        await at.load.burst(600, {150: lambda: bad.mode("reset")})
        assert at.changed(bad, "ejected") == 1
        assert at.load.statuses("GET") == {200: 450}
        posts = at.load.statuses("POST")
        assert 150 - posts[200] == posts[BROKEN] + posts[502] <= CLIENTS
        bad.mode("ok")
        await at.all_return()
        at.load.check(*at.servers)


async def test_a_server_breaks_off_in_the_middle_of_long_bodies() -> None:
    """What has begun to arrive cannot be taken back: the client sees that it broke off, and no more than
    until the server is ejected."""
    async with scene(length=LONG) as at:
        bad, _ = at.servers
        await at.load.burst(400, {100: lambda: bad.mode("reset")})
        assert at.changed(bad, "ejected") == 1
        everything = at.load.statuses("GET") + at.load.statuses("POST")
        assert everything.keys() == {200, BROKEN}
        assert everything[BROKEN] <= Ejection().failures + CLIENTS
        bad.mode("ok")
        await at.all_return()
        at.load.check(*at.servers)


async def test_all_servers_are_killed_and_started() -> None:
    async with scene(breaker=CircuitBreaker(cooldown=5)) as at:
        await at.load.burst(100)
        for server in at.servers:
            server.kill()
        await at.load.burst(200)
        got = Counter(at.load.got.values())
        # the breaker answers before long, for all that come
        assert got[200] == 100
        assert got[502] + got[503] == 200
        assert got[503] > 100
        for server in at.servers:
            server.start()
        at.clock.advance(5)
        await at.load.burst(1)
        await at.all_return()
        assert at.load.statuses("GET")[200] > 100
        at.load.check(*at.servers)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("balance", ["least_outstanding", "two_choices", "round_robin", "consistent_hash"])
async def test_anything_may_happen_to_all_but_one(seed: int, balance: str) -> None:
    """Two of three servers are killed, stopped, slow, busy, resetting and well again, at random."""
    chance = random.Random(f"{seed} {balance}")
    options = {"balance": balance, "hash_on": "path", "retries": 2, "ejection": Ejection(longest=20)}
    async with scene(3, **options) as at:
        bad = at.servers[:2]

        def disturb() -> None:
            server = chance.choice(bad)
            server.signal(signal.SIGCONT)
            if server.process.status() is not None:
                server.start()
            deed = chance.choice(["kill", "stop", "slow", "reset", "ok", "ok"])
            if deed == "kill":
                server.kill()
            elif deed == "stop":
                server.signal(signal.SIGSTOP)
            else:
                server.mode(deed)

        for _ in range(12):
            await at.load.burst(500, {100: disturb, 300: disturb})
            at.clock.advance(chance.choice([0, 1, 5, 20]))
        assert set(at.load.statuses("GET")) == {200}
        for server in bad:
            server.signal(signal.SIGCONT)
            if server.process.status() is not None:
                server.start()
            server.mode("ok")
        await at.all_return()
        at.load.check(*at.servers)
