"""Checks of what most apps lean on. Each takes what the app has already, and opens nothing of its own."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ramkit.health.policy import Check
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError

__all__ = ["check_disk", "check_loop", "check_postgres", "check_redis", "check_replicas"]

#: Seconds that the loop is watched for.
_SAMPLE = 0.05


class _Pings(Protocol):
    def ping(self) -> Awaitable[Any]: ...


class _Gets(Protocol):
    def get(self, key: bytes, /) -> Awaitable[Any]: ...


class _Fetches(Protocol):
    def fetchval(self, query: str, /) -> Awaitable[Any]: ...


def check_redis(client: _Pings | _Gets, *, name: str = "redis", **options: Any) -> Check:
    """Whether Redis answers. ``client``: a ``ramkit.redis.Redis``, or redis-py's asyncio client.

    ``options``: those of ``Check``, such as ``critical=False`` where the app can do without. Of a cluster one
    node is asked.
    """
    ping: Callable[[], Awaitable[Any]] | None = getattr(client, "ping", None)
    if ping is not None:
        return Check(name, ping, **options)
    get: Callable[[bytes], Awaitable[Any]] | None = getattr(client, "get", None)
    if get is None:
        raise ConfigurationError("client", f"{client!r} has neither ping nor get")
    return Check(name, lambda: _answered(get(b"rk:health")), **options)


def check_postgres(pool: _Fetches, *, name: str = "postgres", **options: Any) -> Check:
    """Whether Postgres answers. ``pool``: whatever has asyncpg's ``fetchval(query)``: a pool, a connection.

    A pool that has no connection left within the deadline fails, too. ``options``: those of ``Check``.
    """
    fetchval: Callable[[str], Awaitable[Any]] | None = getattr(pool, "fetchval", None)
    if fetchval is None:
        raise ConfigurationError("pool", f"{pool!r} has no fetchval")
    return Check(name, lambda: _answered(fetchval("SELECT 1")), **options)


def check_replicas(
    lags: Callable[[], Awaitable[Mapping[str, float | None]] | Mapping[str, float | None]],
    *,
    most: float,
    least: int = 1,
    name: str = "replicas",
    critical: bool = False,
    **options: Any,
) -> Check:
    """Whether at least ``least`` replicas are no further behind than ``most``.

    ``lags``: gives each replica's lag by its name, in the unit of ``most`` (bytes or seconds), and None for
    one that is away. A warning by default, as the primary answers instead. ``options``: those of ``Check``.
    """

    async def call() -> dict[str, object]:
        found = lags()
        each = found if isinstance(found, Mapping) else await found
        near = [replica for replica, lag in each.items() if lag is not None and lag <= most]
        if len(near) < least:
            raise RuntimeError(f"{len(near)} of {len(each)} are near enough: {dict(each)}")
        return {"lags": dict(each)}

    return Check(name, call, critical=critical, **options)


def check_disk(path: str | Path, *, free: float = 0.05, name: str = "disk", **options: Any) -> Check:
    """Whether the file system of ``path`` has room: ``free`` is a share of it, or bytes where it is 1 or more.

    Asked in a thread, since a network's file system may hang. ``options``: those of ``Check``.
    """
    if not free > 0:
        raise ConfigurationError("free", f"a share or bytes, more than 0, not {free!r}")

    def call() -> dict[str, object]:
        usage = shutil.disk_usage(path)
        wanted = free if free >= 1 else free * usage.total
        if usage.free < wanted:
            raise RuntimeError(f"{usage.free} bytes are free, not {wanted:.0f}")
        return {"free": usage.free, "total": usage.total}

    return Check(name, call, thread=True, **options)


def check_loop(
    *,
    most: float = 0.25,
    name: str = "loop",
    critical: bool = False,
    clock: Clock | None = None,
    **options: Any,
) -> Check:
    """Whether the event loop gets round: how late a timer of 50 ms fires, ``most`` seconds being well.

    A warning by default. ``options``: those of ``Check``.
    """
    if not most > 0:
        raise ConfigurationError("most", f"seconds, more than 0, not {most!r}")
    monotonic = (clock if clock is not None else SystemClock()).monotonic

    async def call() -> dict[str, object]:
        began = monotonic()
        await asyncio.sleep(_SAMPLE)
        lag = max(0.0, monotonic() - began - _SAMPLE)
        if lag > most:
            raise RuntimeError(f"a timer fired {lag:.3f} s late")
        return {"lag": round(lag, 6)}

    return Check(name, call, critical=critical, **options)


async def _answered(reply: Awaitable[Any]) -> None:
    """Any answer will do: a key that is not there, or a False."""
    await reply
