"""A Redis Cluster: calls go to the endpoint that owns their slot; MOVED and ASK are followed."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from redis.cluster import PRIMARY
from redis.crc import key_slot

from ramkit.redis.batching import Call
from ramkit.redis.breaker import Breaker
from ramkit.redis.driver import FAILURES, AskError, Connect, MovedError, connector
from ramkit.redis.endpoint import Endpoint, Settings
from ramkit.redis.errors import RedisUnavailable

__all__ = ["Cluster", "key_of"]

_log = logging.getLogger("ramkit.redis")

#: seconds that reading the topology may take; the callers' deadline is shorter
_LOAD = 5.0
#: where a command has its first key, if not at 1; -1: it has none
_KEY_AT = {
    **dict.fromkeys((b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"), 3),
    **dict.fromkeys((b"OBJECT", b"MEMORY", b"XINFO", b"XGROUP", b"BITOP"), 2),
    **dict.fromkeys(
        (b"PING", b"ECHO", b"TIME", b"INFO", b"SCRIPT", b"CONFIG", b"CLUSTER", b"CLIENT", b"COMMAND",
         b"DBSIZE", b"FLUSHALL", b"FLUSHDB", b"WAIT", b"FUNCTION", b"ACL", b"LATENCY", b"SLOWLOG"), -1),
}  # fmt: skip


def key_of(args: tuple[bytes, ...]) -> bytes | None:
    """The first key of a command, None for one without."""
    name = args[0].upper()
    if name in (b"XREAD", b"XREADGROUP"):
        upper = [arg.upper() for arg in args]
        at = upper.index(b"STREAMS") + 1 if b"STREAMS" in upper else -1
    else:
        at = _KEY_AT.get(name, 1)
    return args[at] if 0 < at < len(args) else None


class Cluster:
    """Topology by redis-py's RedisCluster, connections and batches by an Endpoint a node."""

    def __init__(self, cluster: Any, name: str, settings: Settings, *, ours: bool) -> None:
        self.name = name
        self._cluster = cluster
        self._ours = ours
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._endpoints: dict[tuple[str, int], Endpoint] = {}
        self._waiting: list[Call] = []
        self._loading: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._ready = False
        self._breaker = Breaker(settings.clock, settings.cooldown)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def willing(self) -> bool:
        """Whether a call now would go out, to one node at least."""
        if not self._ready:
            return self._breaker.willing
        return not self._endpoints or any(e.breaker.willing for e in self._endpoints.values())

    def submit(self, call: Call) -> None:
        if call.slot < 0:
            call.slot = self._slot_of(call)
        if self._ready:
            self._send(call)
        elif self._loading is not None or self._breaker.admit():
            self._waiting.append(call)
            self._load()
            if self._timer is None:
                self._timer = self._loop.call_later(self._settings.deadline, self._too_late)
        else:
            call.fail(RedisUnavailable(f"the cluster at {self.name} did not answer a moment ago"))

    async def endpoint_of(self, key: bytes) -> Endpoint:
        """The endpoint that owns a key, with the topology read. Raises what is in ``FAILURES``."""
        if not self._ready:
            await self._read_topology()
        return self._endpoint_at(key_slot(key))

    async def ask_each(self, args: Sequence[bytes]) -> list[Any]:
        """The replies of all primaries, and of the replicas that answer. Raises RedisUnavailable."""
        nodes: list[Any] = list(self._cluster.nodes_manager.nodes_cache.values())
        asked = (self._ask(str(node.host), int(node.port), args) for node in nodes)
        replies = await asyncio.gather(*asked, return_exceptions=True)
        found: list[Any] = []
        for node, reply in zip(nodes, replies, strict=True):
            if not isinstance(reply, BaseException):
                found.append(reply)
            elif node.server_type == PRIMARY or not isinstance(reply, RedisUnavailable):
                raise reply
        return found

    async def _ask(self, host: str, port: int, args: Sequence[bytes]) -> Any:
        """By a connection of its own: whether a replica answers is nothing to the callers of primaries."""
        endpoint = Endpoint(f"{host}:{port}", self._connect_to(host, port), self._settings)
        try:
            future: asyncio.Future[Any] = self._loop.create_future()
            endpoint.submit(Call(future, args=args))
            return await future
        finally:
            await endpoint.aclose()

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        self._fail_waiting("Redis client was closed")
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        for endpoint in endpoints:
            await endpoint.aclose()
        if self._closing:
            await asyncio.wait(set(self._closing))
        self._ready = False

    def refresh(self) -> None:
        """Read the topology anew, in the background; once at a time."""
        self._load()

    @staticmethod
    def _slot_of(call: Call) -> int:
        if call.read:
            return key_slot(call.key)
        key = call.key[0] if call.script is not None and call.key else None
        if call.script is None:
            key = key_of(tuple(call.args))
        return key_slot(key) if key is not None else 0

    def _send(self, call: Call) -> None:
        try:
            endpoint = self._endpoint_at(call.slot)
        except FAILURES as error:
            call.fail(RedisUnavailable(str(error)))
            self._load()
        else:
            endpoint.submit(call)

    def _endpoint_at(self, slot: int) -> Endpoint:
        nodes = self._cluster.nodes_manager
        if slot not in nodes.slots_cache:
            raise ConnectionError(f"no node serves slot {slot}")
        node: Any = nodes.get_node_from_slot(slot)
        return self._endpoint(str(node.host), int(node.port))

    def _endpoint(self, host: str, port: int) -> Endpoint:
        endpoint = self._endpoints.get((host, port))
        if endpoint is None:
            connect = self._connect_to(host, port)
            endpoint = Endpoint(
                f"{host}:{port}", connect, self._settings, redirect=self._redirect, lost=self.refresh
            )
            self._endpoints[host, port] = endpoint
        return endpoint

    def _connect_to(self, host: str, port: int) -> Connect:
        node: Any = next(iter(self._cluster.nodes_manager.nodes_cache.values()))
        return connector(node.connection_class, node.connection_kwargs, host=host, port=port)

    def _redirect(self, call: Call, error: AskError) -> None:
        """ASK is for this call alone; MOVED for all, so the topology is read anew."""
        moved = isinstance(error, MovedError)
        call.asking = not moved
        if moved:
            self._load()
        moved_to: Any = error
        if not moved_to.host:
            self._send(call)
            return
        host, port = self._cluster.nodes_manager.remap_host_port(moved_to.host, moved_to.port)
        self._endpoint(host, port).submit(call)

    # -- topology --

    def _load(self) -> None:
        if self._loading is None:
            self._loading = self._loop.create_task(self._loaded(), name=f"ramkit.redis {self.name} topology")

    async def _read_topology(self) -> None:
        async with asyncio.timeout(_LOAD):
            # their own client has to know that it is initialized, to close what it opened
            initialize = self._cluster.nodes_manager.initialize
            await (initialize() if self._ready or self._ours else self._cluster.initialize())
        self._ready = True
        self._breaker.close()

    async def _loaded(self) -> None:
        try:
            await self._read_topology()
        except Exception as error:
            _log.warning("the cluster at %s did not tell its topology: %s", self.name, error)
            self._breaker.open()
            self._fail_waiting(f"the cluster at {self.name} is unavailable: {error}")
        else:
            self._retire()
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                self._send(call)
        finally:
            self._loading = None

    def _retire(self) -> None:
        """Endpoints of nodes that left the cluster are closed."""
        nodes: Any = self._cluster.nodes_manager.nodes_cache.values()
        known = {(str(node.host), int(node.port)) for node in nodes}
        for address in self._endpoints.keys() - known:
            task = self._loop.create_task(self._endpoints.pop(address).aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _too_late(self) -> None:
        self._timer = None
        if self._waiting and not self._ready:
            self._breaker.open()
            self._fail_waiting(f"the cluster at {self.name} did not tell its topology in time")

    def _fail_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.fail(RedisUnavailable(reason))
