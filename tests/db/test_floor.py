"""One reads what one wrote, whichever server answers."""

import asyncio

import asyncpg
import pytest

from ramkit.db import Database
from ramkit.kernel.context import RequestContext
from ramkit.testing.servers import PostgresReplica


@pytest.fixture
def db(make, postgres_dsn: str, postgres_replica: PostgresReplica) -> Database:
    return make(postgres_dsn, [postgres_replica.dsn])


async def both(database: Database) -> None:
    """Until both servers were heard of."""
    await database.start()
    fleet = database._current()._fleet
    while not (fleet.replicas and fleet.primary):
        await database._current()._pause()


IS_REPLICA = "SELECT pg_is_in_recovery()"


async def test_one_reads_what_one_wrote(db: Database, postgres_replica: PostgresReplica) -> None:
    await both(db)
    with db.floor():
        await db.execute("CREATE TABLE t (n int)")
        for number in range(50):
            await db.execute("INSERT INTO t VALUES ($1)", number)
            assert await db.fetchval("SELECT max(n) FROM t") == number


async def test_the_primary_answers_while_the_replay_stands_still(
    db: Database, postgres_replica: PostgresReplica
) -> None:
    await both(db)
    with db.floor() as position:
        await db.execute("CREATE TABLE t (n int)")
        await db.fetchval("SELECT count(*) FROM t")
        postgres_replica.pause()
        await db.execute("INSERT INTO t VALUES (1)")
        assert await db.fetchval("SELECT count(*) FROM t") == 1
    assert await db.fetchval("SELECT count(*) FROM t") == 0  # a stranger, from the replica
    with db.floor(str(position)):
        assert await db.fetchval("SELECT count(*) FROM t") == 1
    postgres_replica.resume()
    postgres_replica.caught_up()
    with db.floor(position):
        async with db.read() as connection:
            assert await connection.fetchval("SELECT count(*) FROM t") == 1
            assert await connection.fetchval(IS_REPLICA) is True


@pytest.mark.parametrize("alone", [False, True])
async def test_a_read_is_a_read_wherever_it_runs(
    postgres_dsn: str, postgres_replica: PostgresReplica, alone: bool
) -> None:
    database = Database(postgres_dsn, [] if alone else [postgres_replica.dsn])
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await database.fetchval("CREATE TABLE t (n int)")
    await database.execute("CREATE TABLE t (n int)")
    async with database.write(transaction=False) as connection:
        await connection.execute("VACUUM t")
        await connection.execute("INSERT INTO t VALUES (1)")
    await database.aclose()


async def test_reads_tell_their_position(db: Database) -> None:
    await both(db)
    await db.execute("CREATE TABLE t (n int)")
    context = RequestContext()
    with context.active():
        await db.execute("INSERT INTO t VALUES (1)")
        await db.fetchval("SELECT count(*) FROM t")
        assert context.positions["main"] >= context.floor.positions["main"]


async def test_a_session_is_clean_before_it_is_lent_again(postgres_dsn: str) -> None:
    database = Database(postgres_dsn, min_size=1, max_size=1)
    for _ in range(3):
        async with database.read() as connection:
            assert await connection.fetchval("SHOW work_mem") == "4MB"
            assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
            await connection.execute("SET work_mem = '5MB'; SELECT pg_advisory_lock(1)")
    with pytest.raises(asyncpg.InterfaceError, match="released"):
        await connection.fetchval("SELECT 1")
    await database.aclose()


async def test_many_at_once(db: Database) -> None:
    await db.execute("CREATE TABLE t (n int)")
    await db.copy("t", [(n,) for n in range(100)])
    await db.executemany("INSERT INTO t VALUES ($1)", [(n,) for n in range(100)])
    with db.floor():
        await db.execute("INSERT INTO t VALUES (1)")
        counts = await asyncio.gather(*(db.fetchval("SELECT count(*) FROM t") for _ in range(100)))
    assert set(counts) == {201}
