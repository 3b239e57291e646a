"""Entries in Redis, the same for every process."""

import math
from collections.abc import Iterable
from typing import Any, Final

from ramkit.cache.core.entry import Entry, decode, encode
from ramkit.kernel.clock import Clock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.log import Fold
from ramkit.kernel.observers import Observer
from ramkit.redis import Leases, Log, Redis

__all__ = ["RedisStore"]

#: Seconds: longer lifetimes are cut to ten years, which PX takes on every version.
_LONGEST: Final = 315_360_000.0


class RedisStore:
    """One string for each entry, with its lifetime; the log and the leases of ``ramkit.redis``.

    ``server``: a URL, a ``redis.asyncio`` client or cluster client (yours: it stays open), or a
    ``ramkit.redis.Redis`` that others use, too (then ``deadline``, ``clock`` and ``observers`` are its own).
    ``name`` tells caches under one ``prefix`` apart. ``max_entry``: bytes; a larger entry is not kept.
    ``deadline``: seconds that a Redis that hangs costs, once a cool-down.
    """

    def __init__(
        self,
        server: Any,
        *,
        prefix: str = "rk:",
        name: str = "cache",
        deadline: float = 0.1,
        max_entry: int = 8 * 2**20,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if not name.isidentifier():
            raise ConfigurationError("name", f"{name!r} is no identifier")
        if max_entry <= 0:
            raise ConfigurationError("max_entry", f"{max_entry} must be positive")
        self.name, self.prefix, self.max_entry = name, prefix, max_entry
        self._key = f"{prefix}c:{name}:".encode()
        self._own = not isinstance(server, Redis)
        timing: dict[str, Any] = {} if clock is None else {"clock": clock}
        self.redis: Redis = (
            Redis(server, deadline=deadline, observers=observers, **timing) if self._own else server
        )
        self._log: Log | None = None
        self._leases = Leases(self.redis, prefix=f"{prefix}l:{name}:")

    def peek(self, key: bytes) -> Entry | None:  # noqa: ARG002  # the port's signature
        return None

    async def get(self, key: bytes) -> Entry | None:
        data = await self.redis.get(self._key + key)
        return None if data is None else decode(data)

    async def set(self, key: bytes, entry: Entry, ttl: float) -> bool:
        data = encode(entry)
        command: tuple[bytes | int, ...]
        if len(data) > self.max_entry:
            command = (b"DEL", self._key + key)
        else:
            milliseconds = max(1, math.ceil(min(ttl, _LONGEST) * 1000))
            command = (b"SET", self._key + key, data, b"PX", milliseconds)
        await self.redis.execute(*command)
        return len(data) <= self.max_entry

    def log(self, fold: Fold) -> Log:
        if self._log is not None:
            raise ConfigurationError("store", "serves another cache already; make one store for each")
        self._log = Log(self.redis, self.name, fold, prefix=self.prefix)
        return self._log

    def leases(self) -> Leases:
        return self._leases

    async def aclose(self) -> None:
        await self._leases.aclose()
        if self._log is not None:
            await self._log.aclose()
        if self._own:
            await self.redis.aclose()
