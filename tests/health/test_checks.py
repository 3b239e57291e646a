"""The checks that come along, with the servers that they are about."""

import asyncio
import time
from types import SimpleNamespace

import asyncpg
import pytest
import redis.asyncio

from ramkit.db import Database
from ramkit.health import check_disk, check_loop, check_postgres, check_redis, check_replicas
from ramkit.health.running import Runner
from ramkit.kernel.clock import SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.redis import Redis


async def outcome(check):
    runner = Runner([check], SystemClock(), ())
    try:
        return (await runner.outcomes([check]))[check]
    finally:
        await runner.aclose()


async def test_redis(redis_server, redis_url) -> None:
    ours = Redis(redis_url)
    theirs = redis.asyncio.Redis.from_url(redis_url)
    try:
        assert (await outcome(check_redis(ours))).ok
        assert (await outcome(check_redis(theirs))).ok
        redis_server.pause()
        try:
            gone = await outcome(check_redis(ours))
            late = await outcome(check_redis(theirs, deadline=0.05, critical=False))
        finally:
            redis_server.resume()
    finally:
        await ours.aclose()
        await theirs.aclose()
    assert not gone.ok
    assert gone.output.startswith("RedisUnavailable")
    assert late.output == "no answer within 0.05 s"


async def test_postgres(postgres_dsn) -> None:
    async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=1) as pool:
        assert (await outcome(check_postgres(pool))).ok
        async with pool.acquire():
            busy = await outcome(check_postgres(pool, deadline=0.05))
    assert busy.output == "no answer within 0.05 s"
    assert not (await outcome(check_postgres(pool))).ok


async def test_a_database_of_ours(postgres_dsn) -> None:
    db = Database(postgres_dsn)
    try:
        assert (await outcome(check_postgres(db))).ok
        assert (
            await outcome(check_replicas(db, most=1))
        ).output == "RuntimeError: 0 of 0 are near enough: {}"
    finally:
        await db.aclose()


@pytest.mark.parametrize(
    ("lags", "ok"),
    [({"a": 0.1, "b": 99}, True), ({"a": None, "b": 99}, False), ({}, False), ({"a": 1.0}, True)],
)
async def test_replicas(lags, ok) -> None:
    found = await outcome(check_replicas(SimpleNamespace(lags=lambda: lags), most=1.0))
    assert found.ok is ok
    assert found.details == ({"lags": lags} if ok else {})


async def test_disk(tmp_path) -> None:
    assert (await outcome(check_disk(tmp_path, free=1))).details["free"] > 1
    assert "bytes are free" in (await outcome(check_disk(tmp_path, free=1e18))).output
    assert (await outcome(check_disk(tmp_path, free=1e-9))).ok
    assert "FileNotFoundError" in (await outcome(check_disk(tmp_path / "none"))).output


class Jumping:
    """A clock by which a second passes between two readings."""

    now = 0.0

    def time(self):
        return time.time()

    def monotonic(self):
        self.now += 1
        return self.now


async def test_loop(clock) -> None:
    assert (await outcome(check_loop(clock=clock))).details == {"lag": 0.0}
    assert (await outcome(check_loop(clock=Jumping()))).output == "RuntimeError: a timer fired 0.950 s late"


def test_mistakes_are_found_at_once() -> None:
    for wrong in (
        lambda: check_redis(object()),
        lambda: check_postgres(object()),
        lambda: check_replicas(object(), most=1),
        lambda: check_disk("/", free=0),
        lambda: check_loop(most=0),
    ):
        with pytest.raises(ConfigurationError):
            wrong()


async def test_their_names_and_options() -> None:
    check = check_disk("/", name="logs", critical=False, keep=30)
    assert (check.name, check.critical, check.keep, check.thread) == ("logs", False, 30, True)
    assert asyncio.iscoroutinefunction(check_loop().call)
