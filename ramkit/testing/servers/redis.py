"""Redis or Valkey: one server, or a cluster of three nodes."""

import os
import re
import signal
import socket
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from ramkit.testing.servers.finding import Program, ServerUnavailable, driver, redis_program
from ramkit.testing.servers.processes import (
    Process,
    free_port,
    guard,
    loopback,
    netloc,
    on_free_port,
    remove,
    until,
)

__all__ = ["RedisCluster", "RedisServer"]

_SLOTS = 16384
#: Seconds that a helper's command may take: a paused server does not answer.
_TIMEOUT = 5.0
#: Seconds until three nodes agree; Redis itself waits two before a node that was started takes writes.
_CLUSTER_TIMEOUT = 20.0


class _Node:
    """A server of our own: its command line, its process and its folder."""

    def __init__(self, program: Program, host: str, options: Sequence[str]) -> None:
        self.folder = guard().folder("redis")
        self._host = host
        self._argv = [str(program.path), *_OPTIONS, "--bind", host, "--dir", str(self.folder), *options]
        self.port, self.process = on_free_port(host, lambda port: (port, self._start(port)))

    def start(self) -> None:
        self.process.end()
        self.process = self._start(self.port)

    def close(self) -> None:
        self.process.end()
        remove(self.folder)

    def _start(self, port: int) -> Process:
        # It has nothing to save, and a paused one cannot be asked.
        process = guard().start([*self._argv, "--port", str(port)], self.folder, ending=signal.SIGKILL)
        try:
            until(lambda: _pid(self._host, port) == process.pid, process, "the Redis server")
        except BaseException:
            process.end()
            raise
        return process


_OPTIONS = (
    *("--save", "", "--appendonly", "no", "--daemonize", "no", "--protected-mode", "no"),
    *("--enable-debug-command", "local"),
)


def _pid(host: str, port: int) -> int | None:
    """Who answers there: another server may have taken the port just before ours."""
    with suppress(OSError), socket.create_connection((host, port), timeout=_TIMEOUT) as connection:
        connection.sendall(b"INFO server\r\n")
        answer = b""
        while (found := re.search(rb"\nprocess_id:(\d+)\r", answer)) is None:
            data = connection.recv(65536)
            if not data:
                return None
            answer += data
        return int(found[1])
    return None


class RedisServer:
    """A Redis or Valkey server. What it holds is gone after ``stop()``: it keeps nothing on disk.

    Made with a URL it is somebody else's, and what can only be done to a server of one's own raises
    ``ServerUnavailable``.
    """

    def __init__(self, url: str, node: _Node | None = None) -> None:
        self.url = url
        self._node = node
        self._settings: dict[str, str] | None = None

    @classmethod
    @contextmanager
    def launch(cls, *options: str) -> "Generator[RedisServer]":
        """Start a server; ``options`` are further words of its command line.

        Raises ``ServerUnavailable``.
        """
        node = _Node(redis_program(), loopback(), options)
        try:
            yield cls(f"redis://{netloc(loopback(), node.port)}/0", node)
        finally:
            node.close()

    @property
    def ours(self) -> bool:
        """Whether it was started here."""
        return self._node is not None

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 6379

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._own("its process is not known").process.pid

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections, accepts more, and answers nothing."""
        self._own("it cannot be paused").process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it answers all that it was asked meanwhile."""
        self._own("it cannot be resumed").process.signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it: its connections end, and its port refuses new ones."""
        self._own("it cannot be stopped").process.end()

    def start(self) -> None:
        """Start it again, empty, on the same port; returns when it answers."""
        self._own("it cannot be started").start()

    def execute(self, *command: str | bytes | float) -> Any:
        """A command's reply (bytes undecoded), on a connection of its own; blocks.

        Raises ``redis.RedisError``, also when it has no answer for five seconds.
        """
        with self._client() as client:
            return client.execute_command(*command)

    def revive(self) -> None:
        """Have it run again, if it was paused or stopped."""
        node = self._own("it cannot be started")
        node.process.signal(signal.SIGCONT)
        if node.process.status() is not None:
            node.start()

    def clean(self) -> None:
        """Empty it; one of our own also runs again, with the settings that it had at the first call.

        Of somebody else's server only the database that the URL names is emptied.
        """
        if self._node is None:
            self.execute("FLUSHDB")
            return
        self.revive()
        with self._client() as client:
            for command in ("CLIENT UNPAUSE", "FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH"):
                client.execute_command(command)
            self._restore_settings(client)

    def connections(self) -> dict[int, str]:
        """The connections of clients, by their ids, each as ``CLIENT LIST`` describes it."""
        with self._client() as client:
            own = client.client_id()
            listed = client.client_list(_type="normal")
        return {int(each["id"]): _described(each) for each in listed if int(each["id"]) != own}

    def _restore_settings(self, client: Any) -> None:
        now: dict[str, str] = client.config_get("*")
        if self._settings is None:
            self._settings = now
        changed = {name: value for name, value in self._settings.items() if now.get(name) != value}
        if changed:
            pairs = [each for pair in changed.items() for each in pair]
            client.execute_command("CONFIG SET", *pairs)

    def _client(self) -> Any:
        redis = driver("redis", "redis")
        once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        return redis.Redis.from_url(
            self.url, retry=once, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
        )

    def _own(self, missing: str) -> _Node:
        if self._node is None:
            raise ServerUnavailable(f"the Redis of RAMKIT_TEST_REDIS_URL was not started here: {missing}")
        return self._node


class RedisCluster:
    """Three primaries, with all slots; each of ``nodes`` is a ``RedisServer`` that remembers its slots."""

    def __init__(self, nodes: Sequence[RedisServer]) -> None:
        self.nodes = tuple(nodes)
        self.url = "redis+cluster://" + ",".join(urlsplit(each.url).netloc for each in self.nodes)

    @classmethod
    @contextmanager
    def launch(cls, *options: str) -> "Generator[RedisCluster]":
        """Start three nodes and wait until they take writes (about two seconds).

        Raises ``ServerUnavailable``.
        """
        host = loopback()
        with ExitStack() as stack:
            nodes: list[RedisServer] = []
            for _ in range(3):
                cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port(host)))
                nodes.append(stack.enter_context(RedisServer.launch(*cluster, *options)))
            made = cls(nodes)
            made._join(host)
            made._settle()
            yield made

    def clean(self) -> None:
        """Empty all nodes, and have them run again."""
        for each in self.nodes:
            each.clean()
        self._settle()

    def node_of(self, key: str | bytes) -> RedisServer:
        """The node that holds the key's slot."""
        slot: int = self.nodes[0].execute("CLUSTER", "KEYSLOT", key)
        return self.nodes[_share(slot)]

    def _join(self, host: str) -> None:
        for index, each in enumerate(self.nodes):
            slots = [slot for slot in range(_SLOTS) if _share(slot) == index]
            each.execute("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
            each.execute("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for each in self.nodes:
            for other in self.nodes:
                if other is not each:
                    bus = other.execute("CONFIG GET", "cluster-port")["cluster-port"]
                    each.execute("CLUSTER", "MEET", host, other.port, bus)

    def _settle(self) -> None:
        deadline = time.monotonic() + _CLUSTER_TIMEOUT
        while not all(_settled(each) for each in self.nodes):
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"the Redis cluster did not form within {_CLUSTER_TIMEOUT:g} s")
            time.sleep(0.02)


def _settled(node: RedisServer) -> bool:
    told: dict[str, str] = node.execute("CLUSTER INFO")
    return told["cluster_state"] == "ok" and told["cluster_slots_ok"] == str(_SLOTS)


def _share(slot: int) -> int:
    """Which of the three nodes has the slot."""
    return slot * 3 // _SLOTS


def _described(client: dict[str, Any]) -> str:
    return f"{client['addr']} (name {client.get('name') or 'none'}, last command {client['cmd']})"


def foreign_redis(number: int) -> RedisServer | None:
    """The server that the environment names, if it does.

    Its URL's database is the first of several: the one with ``number`` is this process's alone.
    """
    url = os.environ.get("RAMKIT_TEST_REDIS_URL")
    if not url:
        return None
    parts = urlsplit(url)
    first = parts.path.removeprefix("/") or "0"
    if not first.isdigit():
        raise ServerUnavailable(f"RAMKIT_TEST_REDIS_URL: {first!r} is no number of a database")
    return RedisServer(parts._replace(path=f"/{int(first) + number}").geturl())
