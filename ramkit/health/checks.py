"""Checks of what most apps lean on. Each takes what the app has already, and opens nothing of its own."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
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


class _Executes(Protocol):
    def execute(self, *args: Any) -> Awaitable[Any]: ...


class _Fetches(Protocol):
    def fetchval(self, query: str, /) -> Awaitable[Any]: ...


class _Lags(Protocol):
    def lags(self) -> Mapping[str, float | None]: ...


def check_redis(client: _Pings | _Executes, *, name: str = "redis", **options: Any) -> Check:
    """Whether Redis answers. ``client``: redis-py's asyncio client, or a ``ramkit.redis.Redis``.

    ``options``: those of ``Check``, such as ``critical=False`` where the app can do without.
    """
    if hasattr(client, "ping"):
        return Check(name, _method("client", client, "ping"), **options)
    return Check(name, partial(_method("client", client, "execute"), "PING"), **options)


def check_postgres(pool: _Fetches, *, name: str = "postgres", **options: Any) -> Check:
    """Whether Postgres answers. ``pool``: what has asyncpg's ``fetchval(query)``: its pool, a
    ``ramkit.db.Database``, which asks any server that can be read from.

    A pool that has no connection left within the deadline fails, too. ``options``: those of ``Check``.
    """
    return Check(name, partial(_method("pool", pool, "fetchval"), "SELECT 1"), **options)


def check_replicas(
    database: _Lags,
    *,
    most: float,
    least: int = 1,
    name: str = "replicas",
    critical: bool = False,
    **options: Any,
) -> Check:
    """Whether at least ``least`` replicas are no more than ``most`` seconds behind.

    ``database``: what has the ``lags()`` of ``ramkit.db.Database``: seconds by the replica's name, None for
    one that is away. A warning by default, as the primary answers instead. ``options``: those of ``Check``.
    """
    lags: Callable[[], Mapping[str, float | None]] = _method("database", database, "lags")

    def call() -> dict[str, object]:
        found = dict(lags())
        near = [lag for lag in found.values() if lag is not None and lag <= most]
        if len(near) < least:
            raise RuntimeError(f"{len(near)} of {len(found)} are near enough: {found}")
        return {"lags": found}

    return Check(name, call, critical=critical, **options)


def check_disk(path: str | Path, *, free: float = 0.05, name: str = "disk", **options: Any) -> Check:
    """Whether the file system of ``path`` has room: ``free`` is a share of it below 1, bytes from there on.

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


def _method(argument: str, owner: object, name: str) -> Callable[..., Any]:
    method: Callable[..., Any] | None = getattr(owner, name, None)
    if method is None:
        raise ConfigurationError(argument, f"{owner!r} has no {name}()")
    return method
