"""Servers that die, hang, lag, return and are promoted, while they are asked."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count, pairwise
from urllib.parse import urlsplit

import asyncpg
import pytest
from hasql.driver.asyncpg import PoolManager

from ramkit.db import DatabaseUnavailable, Failover, ServerEjected
from ramkit.testing.servers import PostgresServer
from tests.conftest import SOAK
from tests.db.conftest import eventually, pools_of

STANDBY = "SELECT pg_is_in_recovery()"


@pytest.fixture
def own_pair():
    """A primary and a replica of the test's own, with a table."""
    with PostgresServer.launch() as primary, primary.replica() as replica:
        primary.execute("CREATE TABLE notes (id bigint PRIMARY KEY)")
        replica.caught_up()
        yield primary, replica


@asynccontextmanager
async def running(*work):
    """Tasks for the time of the body."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
        assert [task.exception() for task in tasks if task.done()] == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def counted(errors, kind):
    """What may happen to a caller while a server dies; whatever else there is fails the test."""
    try:
        yield
    except DatabaseUnavailable as error:
        errors[kind, type(error).__name__] += 1


async def write(db, numbers, acknowledged, errors):
    loop = asyncio.get_running_loop()
    for number in numbers:
        with counted(errors, "write"):
            await db.execute("INSERT INTO notes VALUES ($1)", number)
            acknowledged.append((loop.time(), number))
        await asyncio.sleep(0.002)


async def write_by_hasql(pool, numbers, acknowledged):
    loop = asyncio.get_running_loop()
    for number in numbers:
        try:
            async with pool.acquire_master(timeout=1) as connection:
                await connection.execute("INSERT INTO notes VALUES ($1)", number, timeout=2)
            acknowledged.append((loop.time(), number))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            pass
        await asyncio.sleep(0.002)


@asynccontextmanager
async def hasql_writing(dsn, numbers, acknowledged):
    """A task that writes by hasql. Its pools are ended within a bound: closed in order, they may wait for
    ever for connections to the server that was killed."""
    pool = PoolManager(dsn, fallback_master=True)
    await pool.ready()
    task = asyncio.create_task(write_by_hasql(pool, numbers, acknowledged))
    try:
        yield
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await pool.terminate()
        task.cancel()
        await asyncio.wait([task], timeout=5)


async def read(db, errors, in_a_row):
    """By itself, and in bodies, which are the caller's to repeat."""
    failed = 0
    while True:
        with counted(errors, "fetch"):
            await db.fetchval("SELECT count(*) FROM notes")
        failed += 1
        with counted(errors, "read"):
            async with db.read() as connection:
                await connection.fetchval("SELECT count(*) FROM notes")
                failed = 0
        in_a_row.append(failed)
        await asyncio.sleep(0.001)


def longest(acknowledged):
    return max(after - before for (before, _), (after, _) in pairwise(acknowledged))


async def test_a_promotion_is_followed_under_load(own_pair, make, capsys):
    primary, replica = own_pair
    events, errors, in_a_row = [], Counter(), [0]
    ours, theirs = [], []
    db = make(primary.dsn, [replica.dsn], monitor_interval=1, observers=[events.append])
    hosts = f"{urlsplit(primary.dsn).netloc},127.0.0.1:{replica.port}"
    await db.start()
    async with (
        hasql_writing(f"postgresql://{hosts}/postgres", count(1, 2), theirs),
        running(write(db, count(0, 2), ours, errors), *(read(db, errors, in_a_row) for _ in range(4))),
    ):
        await eventually(lambda: len(ours) > 50 and len(theirs) > 50)
        await asyncio.to_thread(primary.stop)
        before = len(ours), len(theirs)
        await asyncio.to_thread(replica.promote)
        await eventually(lambda: len(ours) > before[0] + 50, within=30)
        with suppress(TimeoutError):  # it is compared with, and does not decide
            await eventually(lambda: len(theirs) > before[1] + 10, within=20)
    with capsys.disabled():
        print(f"\ntime without writes: {longest(ours):.3f} s, hasql {longest(theirs):.3f} s; {dict(errors)}")
    assert errors["fetch", "DatabaseUnavailable"] == 0
    assert max(in_a_row) <= 1
    assert [event.server for event in events if isinstance(event, Failover)] == [f"127.0.0.1:{replica.port}"]


async def test_with_a_synchronous_replica_no_acknowledged_write_is_lost(own_pair, make):
    primary, replica = own_pair
    primary.synchronous()
    db = make(primary.dsn, [replica.dsn])
    acknowledged, errors, numbers = [], Counter(), count()
    async with running(*(write(db, numbers, acknowledged, errors) for _ in range(4))):
        await eventually(lambda: len(acknowledged) > 100)
        await asyncio.to_thread(primary.stop)
        before = len(acknowledged)
        await asyncio.to_thread(replica.promote)
        await eventually(lambda: len(acknowledged) > before + 20)
    there = {row["id"] for row in await db.fetch("SELECT id FROM notes")}
    assert {number for _, number in acknowledged} - there == set()


async def test_a_primary_that_returns_after_a_promotion_takes_no_writes(own_pair, make):
    primary, replica = own_pair
    db = make(primary.dsn, [replica.dsn])
    await db.execute("INSERT INTO notes VALUES (0)")
    replica.caught_up()
    await asyncio.to_thread(primary.stop)
    await asyncio.to_thread(replica.promote)
    await eventually(lambda: db._current()._fleet.primary is db._current()._fleet.members[1])
    await asyncio.to_thread(primary.start)
    await eventually(lambda: db._current()._fleet.members[0].healthy)
    newcomer = make(primary.dsn, [replica.dsn])
    for number in range(1, 20, 2):
        await db.execute("INSERT INTO notes VALUES ($1)", number)
        await newcomer.execute("INSERT INTO notes VALUES ($1)", number + 1)
    assert primary.execute("SELECT count(*) FROM notes") == [(1,)]
    assert replica.execute("SELECT count(*) FROM notes") == [(21,)]
    assert await db.fetchval("SELECT count(*) FROM notes") == 21


async def test_another_replica_that_follows_the_promoted_one_goes_on_answering(own_pair, make):
    primary, replica = own_pair
    with primary.replica() as other:
        db = make(primary.dsn, [replica.dsn, other.dsn])
        with db.floor() as position:
            await db.execute("INSERT INTO notes VALUES (1)")
            replica.caught_up()
            other.caught_up()
            await asyncio.to_thread(primary.stop)
            await asyncio.to_thread(replica.promote)
            await asyncio.to_thread(other.follow, replica)
            await db.execute("INSERT INTO notes VALUES (2)")
            assert await db.fetchval("SELECT count(*) FROM notes") == 2
        await asyncio.to_thread(other.caught_up)

        async def by_the_other():
            with db.floor(position):
                rows = await db.fetchrow("SELECT count(*), pg_is_in_recovery() FROM notes")
            assert rows[0] == 2
            return rows[1]

        await eventually(by_the_other)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_replica_that_fails_is_ejected_and_returns(how, pair, postgres_replica, make):
    events = []
    db = make(pair[0], [pair[1]], max_latency=0.2, connect_timeout=0.5, observers=[events.append])
    await db.start()
    await eventually(lambda: db.fetchval(STANDBY))
    fail, mend = {
        "killed": (postgres_replica.stop, postgres_replica.start),
        "frozen": (postgres_replica.freeze, postgres_replica.thaw),
    }[how]
    await asyncio.to_thread(fail)
    assert await asyncio.gather(*(db.fetchval(STANDBY) for _ in range(20))) == [False] * 20
    await asyncio.sleep(0.7)  # several looks, of which one tells
    ejected = [event.reason for event in events if isinstance(event, ServerEjected)]
    assert ejected == ["slow" if how == "frozen" else "lost"]
    assert list(db.lags().values()) == [None]
    await asyncio.to_thread(mend)
    await eventually(lambda: db.fetchval(STANDBY))


async def test_a_replica_too_many_bytes_behind_is_not_asked(pair, postgres_replica, make):
    db = make(pair[0], [pair[1]], max_lag_bytes=50_000)
    await eventually(lambda: db.fetchval(STANDBY))
    postgres_replica.pause()
    await db.execute(
        "UPDATE notes SET text = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 40) n)"
    )
    await eventually(lambda: _is_false(db.fetchval(STANDBY)))
    assert db._current()._fleet.members[1].lag_bytes > 50_000
    postgres_replica.resume()
    await eventually(lambda: db.fetchval(STANDBY))
    assert db._current()._fleet.members[1].lag_bytes <= 50_000


async def test_a_replica_too_many_seconds_behind_is_not_asked(pair, postgres_replica, make, clock):
    db = make(pair[0], [pair[1]], max_lag=30, clock=clock)
    await eventually(lambda: db.fetchval(STANDBY))
    member = db._current()._fleet.members[1]
    clock.advance(1000)  # an idle primary: nobody is behind
    await asyncio.sleep(0.3)
    assert await db.fetchval(STANDBY)
    postgres_replica.pause()
    await db.execute("UPDATE notes SET text = 'new'")
    await eventually(lambda: member.lag_bytes)
    clock.advance(29)
    await eventually(lambda: member.lag >= 29)
    assert db.lags() == {member.name: member.lag}
    assert await db.fetchval(STANDBY)
    clock.advance(2)
    await eventually(lambda: _is_false(db.fetchval(STANDBY)))
    postgres_replica.resume()
    await eventually(lambda: db.fetchval(STANDBY))
    assert await db.fetchval("SELECT text FROM notes WHERE id = 1") == "new"


async def test_reads_leave_the_primary_to_writes(pair, postgres_replica, make):
    db = make(pair[0], [pair[1]], max_size=4, primary_share=0.5)
    await db.start()
    await eventually(lambda: db.fetchval(STANDBY))
    await asyncio.to_thread(postgres_replica.stop)
    await eventually(lambda: not db._current()._fleet.replicas)  # else some reads are under way on it
    reading = []

    async def work():
        async with db.read() as connection:
            reading.append(db._current()._fleet.members[0].reading)
            await connection.fetchval("SELECT pg_sleep(0.02)")

    reads = [asyncio.create_task(work()) for _ in range(30)]
    await eventually(lambda: len(reading) > 2)
    await db.execute("UPDATE notes SET text = 'new' WHERE id = 1")
    assert not all(task.done() for task in reads)
    await asyncio.gather(*reads)
    assert len(reading) == 30
    assert max(reading) == 2


async def test_after_restarts_the_pools_count_right(pair, postgres_server, make):
    db = make(pair[0], [pair[1]], max_size=4)
    acknowledged, errors, in_a_row = [], Counter(), []
    pair_write = "UPDATE notes SET text = $1 WHERE id = 1"

    async def change():
        for number in count():
            with counted(errors, "write"):
                await db.execute(pair_write, str(number))
                acknowledged.append(number)
            await asyncio.sleep(0.001)

    async with running(change(), change(), *(read(db, errors, in_a_row) for _ in range(4))):
        for _ in range(100 if SOAK else 10):
            before = len(acknowledged)
            await eventually(lambda before=before: len(acknowledged) > before + 3)
            await asyncio.to_thread(postgres_server.stop)
            await asyncio.to_thread(postgres_server.start)
    assert errors["fetch", "DatabaseUnavailable"] == 0
    pools, members = pools_of(db), db._current()._fleet.members
    await eventually(lambda: not any(member.busy or member.reading for member in members))
    await eventually(lambda: not any(pool._resets or pool._opening or pool._waiters for pool in pools))
    assert all(pool.size <= 4 and not pool.lent for pool in pools)
    assert await asyncio.gather(*(db.fetchval("SELECT 1") for _ in range(40))) == [1] * 40
    await db.execute(pair_write, "last")


async def _is_false(answer):
    return await answer is False
