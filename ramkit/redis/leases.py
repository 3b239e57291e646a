"""Leases: one holder a key over all processes. They fulfil ``Leases`` of ramkit/cache/port.py."""

import asyncio
import secrets
from collections.abc import Iterable
from typing import Any

from ramkit.kernel.clock import SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.redis.client import Redis
from ramkit.redis.errors import RedisUnavailable
from ramkit.redis.follower import Entries
from ramkit.redis.script import Script

__all__ = ["Lease", "Leases"]

_ACQUIRE = Script.load("scripts/acquire.lua", vector=True)
_AWAIT = Script.load("scripts/await.lua", vector=True)
_RENEW = Script.load("scripts/renew.lua", vector=True)
_RELEASE = Script.load("scripts/release.lua")

_now = SystemClock.monotonic  # waits are the loop's: real time


class Lease:
    """Held until released; renewed meanwhile. A process that dies loses it after ``ttl``."""

    __slots__ = ("_leases", "key", "token")

    def __init__(self, leases: "Leases", key: bytes, token: bytes) -> None:
        self._leases = leases
        self.key = key
        self.token = token

    async def release(self) -> None:
        """Give it up and wake those who wait. Never raises: an unconfirmed one runs out."""
        await self._leases.give_up(self)


class Leases:
    """``ttl``: seconds after which a dead holder's lease is free, and the most that a lost wake-up
    delays who waits for it."""

    def __init__(self, redis: Redis, *, prefix: str = "rk:", ttl: float = 2.0) -> None:
        if not ttl >= 0.1:
            raise ConfigurationError("ttl", f"seconds, at least 0.1, not {ttl!r}")
        self.key = f"{prefix}{{log}}:wakes".encode()
        self.position = b""
        self._prefix = f"{prefix}{{log}}:lease:".encode()
        self._redis = redis
        self._ttl = ttl
        self._held: set[Lease] = set()
        self._disowning: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._waiting: dict[bytes, set[asyncio.Future[bool]]] = {}

    async def acquire(self, key: bytes) -> Lease | None:
        """The lease, or None while someone else holds it. Raises RedisUnavailable."""
        token = secrets.token_bytes(16)
        ttl = int(self._ttl * 1000)
        try:
            got = await self._redis.run(_ACQUIRE, (self._prefix + key,), (token, ttl))
        except BaseException:
            # It may be carried out all the same, or have been: nobody else should wait for nobody.
            disowning = asyncio.get_running_loop().create_task(self._disown(key, token))
            self._disowning.add(disowning)
            disowning.add_done_callback(self._disowning.discard)
            raise
        if not got:
            return None
        lease = Lease(self, key, token)
        self._held.add(lease)
        loop = asyncio.get_running_loop()
        task = self._renewing
        if task is None or task.done() or task.get_loop() is not loop:
            self._renewing = loop.create_task(self._renew(), name="ramkit.redis leases")
        return lease

    async def released(self, key: bytes, timeout: float) -> None:
        """Returns when the lease was given up, its holder died, Redis is away, or after ``timeout``
        seconds."""
        self._redis.follower.follow(self)
        until = _now() + timeout
        woken = False
        while not woken and (remaining := until - _now()) > 0:
            # first listen, then look: a wake-up in between is not missed
            future = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(key, set()).add(future)
            try:
                left: int = await self._redis.run(_AWAIT, (self._prefix + key,))
                if left == -2:
                    return
                # a key without a time to live is nobody's doing here: look again from time to time
                bound = left / 1000 + 0.001 if left >= 0 else self._ttl
                async with asyncio.timeout(min(remaining, bound)):
                    woken = await future
            except TimeoutError:
                continue
            except RedisUnavailable:
                return
            finally:
                self._leave(key, future)

    async def aclose(self) -> None:
        """Stop renewing and listening; leases still held run out."""
        self._redis.follower.forget(self)
        ending = [*self._disowning, *([self._renewing] if self._renewing is not None else ())]
        self._renewing = None
        self._held.clear()
        self._disowning.clear()
        loop = asyncio.get_running_loop()
        tasks = [task for task in ending if not task.done() and task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _disown(self, key: bytes, token: bytes) -> None:
        """Give back what may be had without knowing it, until it would have run out by itself."""
        keys, until = (self._prefix + key, self.key), _now() + 2 * self._ttl
        while _now() < until:
            try:
                if await self._redis.run(_RELEASE, keys, (token, key)):
                    return
            except RedisUnavailable:
                pass
            await asyncio.sleep(self._ttl / 8)

    async def give_up(self, lease: Lease) -> None:
        """What ``Lease.release`` does."""
        if lease not in self._held:
            return
        self._held.discard(lease)
        if not self._held and self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        keys = (self._prefix + lease.key, self.key)
        try:
            await self._redis.run(_RELEASE, keys, (lease.token, lease.key))
        except RedisUnavailable:
            return

    # -- what the follower asks and brings --

    async def check(self) -> None:
        if self.position:
            return
        final: Any = await self._redis.execute(b"XREVRANGE", self.key, b"+", b"-", b"COUNT", 1)
        self.position = bytes(final[0][0]) if final else b"0-0"
        # wake-ups before this place were not heard: look again
        self._wake(tuple(self._waiting), given_up=False)

    def feed(self, entries: Entries, sent: float) -> bool:  # noqa: ARG002 - the follower tells it to all
        for id_, fields in entries:
            self.position = id_
            self._wake((fields[1],), given_up=True)
        return True

    def _wake(self, keys: Iterable[bytes], *, given_up: bool) -> None:
        for key in keys:
            for future in self._waiting.get(key, ()):
                if not future.done():
                    future.set_result(given_up)

    def _leave(self, key: bytes, future: "asyncio.Future[bool]") -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[key]

    async def _renew(self) -> None:
        ttl = int(self._ttl * 1000)
        while self._held:
            await asyncio.sleep(self._ttl / 3)
            held = list(self._held)
            calls = (self._redis.run(_RENEW, (self._prefix + one.key,), (one.token, ttl)) for one in held)
            for lease, renewed in zip(
                held, await asyncio.gather(*calls, return_exceptions=True), strict=True
            ):
                if renewed == 0:
                    self._held.discard(lease)
