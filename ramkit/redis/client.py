"""The one door to Redis: what a turn of the loop asks goes out together."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.observers import Observer, observers_of
from ramkit.redis.batching import Call, command, encode
from ramkit.redis.cluster import Cluster
from ramkit.redis.driver import FAILURES, Connection, ResponseError, call, drop, wrapped
from ramkit.redis.endpoint import Endpoint, Settings
from ramkit.redis.errors import RedisUnavailable
from ramkit.redis.follower import Follower
from ramkit.redis.script import Script
from ramkit.redis.urls import Opened, source

if TYPE_CHECKING:
    from redis.asyncio import Redis as Client
    from redis.asyncio import RedisCluster

__all__ = ["Redis"]

_SYSTEM = SystemClock()
#: What changes a connection that all callers share, or is not answered by one reply: after it, callers would
#: get one another's.
_OF_CONNECTION = frozenset(
    {b"ASKING", b"AUTH", b"DISCARD", b"EXEC", b"HELLO", b"MONITOR", b"MULTI", b"PSUBSCRIBE", b"PSYNC",
     b"PUNSUBSCRIBE", b"QUIT", b"READONLY", b"READWRITE", b"RESET", b"SELECT", b"SSUBSCRIBE", b"SUBSCRIBE",
     b"SUNSUBSCRIBE", b"SYNC", b"UNSUBSCRIBE", b"UNWATCH", b"WATCH"}
)  # fmt: skip
_OF_CLIENT = frozenset({b"REPLY", b"TRACKING"})


class Redis:
    """Batched commands to one Redis, Valkey, Sentinel-backed primary or cluster.

    ``url_or_client``: a URL (docs/redis.md lists the forms) or the user's ``redis.asyncio.Redis`` or
    ``RedisCluster``, whose settings are used and which is never closed. ``deadline``: seconds from a
    call to RedisUnavailable; ``cooldown``: seconds that a Redis that missed it is left alone.

    It starts with the first call on the running loop; after ``aclose``, or on another loop, the next
    call starts it anew. Replies are bytes, integers, lists and None as RESP2 has them, whatever the
    client's ``decode_responses``; an error reply raises RedisRefused.
    """

    def __init__(
        self,
        url_or_client: "str | Client | RedisCluster",
        *,
        deadline: float = 0.1,
        cooldown: float = 1.0,
        clock: Clock = _SYSTEM,
        observers: Iterable[Observer] = (),
    ) -> None:
        for name, value in (("deadline", deadline), ("cooldown", cooldown)):
            if not value > 0:
                raise ConfigurationError(name, f"seconds, more than 0, not {value!r}")
        self._source = source(url_or_client)
        self._settings = Settings(
            deadline=deadline, cooldown=cooldown, clock=clock, observers=observers_of(observers)
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._target: Endpoint | Cluster | None = None
        self._opened: Opened | None = None
        self.follower = Follower(self)

    def __repr__(self) -> str:
        return f"<ramkit.redis.Redis {self._source.name}>"

    @property
    def clock(self) -> Clock:
        return self._settings.clock

    @property
    def deadline(self) -> float:
        """Seconds."""
        return self._settings.deadline

    @property
    def clustered(self) -> bool:
        """Whether the keys of one script must share a slot."""
        return self._source.clustered

    @property
    def available(self) -> bool:
        """Whether a call now would go out: the breaker is closed, or ready to try."""
        target = self._target
        if target is None:
            return True
        return target.willing if isinstance(target, Cluster) else target.breaker.willing

    def get(self, key: bytes) -> Awaitable[bytes | None]:
        """A string's value, None if there is none. The reads of a turn go out as one MGET, for which
        a key that holds no string has no value."""
        if type(key) is not bytes:
            raise TypeError(f"a key is bytes, not {key!r}")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        target = self._target if loop is self._loop else None
        (target or self._begin(loop)).submit(Call(future, key))
        return future

    def execute(self, *args: Any) -> Awaitable[Any]:
        """One command of bytes, str, int and float, its name first; the reply as it came. A ValueError for
        one that is about its connection, such as SUBSCRIBE or MULTI."""
        if not args:
            raise TypeError("a command has a name")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        target = self._target if loop is self._loop else None
        packed = [arg if type(arg) is bytes else encode(arg) for arg in args]
        name = packed[0].upper()
        if name in _OF_CONNECTION or (name == b"CLIENT" and packed[1:] and packed[1].upper() in _OF_CLIENT):
            raise ValueError(f"{name.decode()} is about a connection, and those are shared")
        (target or self._begin(loop)).submit(Call(future, args=packed))
        return future

    async def execute_everywhere(self, *args: Any) -> list[Any]:
        """The replies of each node of a cluster to a command without keys, replicas that are away left out;
        elsewhere the one that there is."""
        if not self.clustered:
            return [await self.execute(*args)]
        await self.execute("PING")  # once that is answered, the topology is known
        target = self._target
        if not isinstance(target, Cluster):
            raise RedisUnavailable("Redis client was closed")
        return await target.ask_each([encode(arg) for arg in args])

    def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[Any] = (), *, replicas: int = 0
    ) -> Awaitable[Any]:
        """A script's reply. On a cluster its keys share a slot.

        ``replicas``: how many must have it too; it then runs on a connection of its own, followed by
        WAIT. RedisUnavailable when fewer confirm within the deadline: it was carried out nevertheless.
        """
        if script.vector and len(keys) != 1 and not (script.several and keys):
            raise TypeError(f"{script} takes one key a call")
        packed = [arg if type(arg) is bytes else encode(arg) for arg in args]
        loop = asyncio.get_running_loop()
        if replicas:
            return self._confirmed(script, keys, packed, replicas)
        future: asyncio.Future[Any] = loop.create_future()
        target = self._target if loop is self._loop else None
        (target or self._begin(loop)).submit(Call(future, tuple(keys), args=packed, script=script))
        return future

    async def start(self) -> None:
        """Prepare on the running loop; connections open with the first call. Never needed."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._target is None:
            self._begin(loop)

    async def aclose(self) -> None:
        """Close every connection of this client; calls under way raise RedisUnavailable."""
        await self.follower.aclose()
        target, opened, same = self._target, self._opened, self._loop is asyncio.get_running_loop()
        self._target = self._opened = self._loop = None
        if target is not None and same:
            await target.aclose()
        for close in opened.closers if opened is not None and same else ():
            await close()

    async def connection(self, key: bytes) -> Connection:
        """A connection of the caller's own to the server that owns ``key``; the caller drops it.

        Raises redis-py's errors, OSError or TimeoutError.
        """
        loop = asyncio.get_running_loop()
        target = (self._target if loop is self._loop else None) or self._begin(loop)
        if isinstance(target, Cluster):
            target = await target.endpoint_of(key)
        return await target.open()

    def refresh(self) -> None:
        """On a cluster, look for its nodes anew: a connection of the caller's own was lost."""
        if isinstance(self._target, Cluster):
            self._target.refresh()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> Endpoint | Cluster:
        """What another loop had is forgotten: it cannot be closed from here."""
        self._loop = loop
        self._opened = opened = self._source.open()
        if opened.connect is None:
            self._target = Cluster(
                opened.cluster, self._source.name, self._settings, ours=bool(opened.closers)
            )
        else:
            self._target = Endpoint(self._source.name, opened.connect, self._settings)
        return self._target

    async def _confirmed(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], replicas: int
    ) -> Any:
        if not self.available:
            raise RedisUnavailable(f"{self._source.name} did not answer a moment ago")
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self.deadline):
                connection = await self.connection(keys[0])
                reply = await call(connection, script, keys, args)
                # half the deadline at most, so that the count arrives when replicas do not answer
                wait = max(1, int(self.deadline * 500))
                await connection.send_packed_command([command(b"WAIT", replicas, wait)], check_health=False)
                confirmed: int = await connection.read_response(disable_decoding=True)
        except ResponseError as error:
            raise wrapped(error) from error
        except FAILURES as error:
            # whether it hangs for others too is for a call of theirs to find
            _ = self.get(keys[0])
            raise RedisUnavailable(f"{self._source.name}: not confirmed: {error}") from error
        finally:
            await drop(connection)
        if confirmed < replicas:
            raise RedisUnavailable(f"{confirmed} of {replicas} replicas confirmed")
        return reply
