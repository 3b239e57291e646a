"""What borrowers, handlers and operators do to a pool, and what the next one sees of it."""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import replace

import asyncpg
import pytest

from ramkit.db import Database, DatabaseUnavailable, ServerEjected
from ramkit.db.backends.asyncpg import AsyncpgSession
from ramkit.kernel.context import Transaction
from tests.db.conftest import eventually, pools_of


async def test_a_session_is_nobody_elses_role_tables_or_sequences(make, table):
    """RESET ALL leaves all of these."""
    db = make(table, max_size=1)
    async with db.write() as connection:
        process = connection.get_server_pid()
        await connection.execute("CREATE SEQUENCE tickets")
        await connection.execute("SELECT nextval('tickets')")
        await connection.execute("CREATE TEMP TABLE notes (text text)")  # in place of the real one
        await connection.execute("SET ROLE pg_monitor")
    async with db.read() as connection:
        assert connection.get_server_pid() == process
        assert await connection.fetchval("SELECT current_user = session_user")
        assert await connection.fetchval("SELECT count(*) FROM notes") == 100
        with pytest.raises(Exception, match="not yet defined"):
            await connection.fetchval("SELECT lastval()")
    async with db.write() as connection:
        await connection.execute("SET SESSION AUTHORIZATION pg_monitor")
    async with db.read() as connection:
        assert connection.get_server_pid() == process
        assert await connection.fetchval("SELECT session_user") != "pg_monitor"


async def test_a_password_that_is_changed_while_running_is_an_outage(postgres_dsn):
    """Its monitor is still let in; who needs another connection hears of it as of any server that is away,
    and is let in as soon as he can be, however fast he asks again."""
    from ramkit.testing.servers.postgres import fetch

    fetch(postgres_dsn, "CREATE ROLE app LOGIN PASSWORD 'before'")
    place = postgres_dsn.rpartition("@")[2]
    db = Database(f"postgresql://app:before@{place}", min_size=0, monitor_interval=60)
    try:
        await db.start()
        fetch(postgres_dsn, "ALTER ROLE app PASSWORD 'after'")
        with pytest.raises(DatabaseUnavailable, match="password"):
            await db.fetchval("SELECT 1")
        fetch(postgres_dsn, "ALTER ROLE app PASSWORD 'before'")
        async with asyncio.timeout(2):
            assert await db.fetchval("SELECT 1") == 1
    finally:
        await db.aclose()
        fetch(postgres_dsn, "DROP ROLE app")


async def test_who_comes_while_it_closes_leaves_no_dead_database_behind(make, table):
    db = make(table, close_timeout=5)
    async with db.read() as connection:
        closing = asyncio.create_task(db.aclose())
        await asyncio.sleep(0)
        assert await db.fetchval("SELECT 1") == 1
        assert await connection.fetchval("SELECT 1") == 1
    await closing
    assert db._servers is None
    assert await asyncio.wait_for(db.fetchval("SELECT 1"), 5) == 1
    assert await asyncio.wait_for(db.fetchval("SELECT 1"), 5) == 1


async def test_who_waits_in_a_pool_that_closes_hears_of_it(make, table):
    db = make(table, max_size=1, close_timeout=0)
    async with db.read():
        waiting = asyncio.create_task(db.fetchval("SELECT 1"))
        await eventually(lambda: pools_of(db)[0]._waiters)
        (pool,) = pools_of(db)
        await db.aclose()
        with pytest.raises(DatabaseUnavailable, match="clos"):
            await asyncio.wait_for(waiting, 2)
    await asyncio.sleep(0.05)
    assert (pool.size, pool._opening) == (0, set())


async def test_what_runs_after_the_commit_is_in_no_transaction_any_more(make, table):
    """What it defers itself would wait for a COMMIT that has been."""
    db = make(table)
    seen = []

    async def action():
        seen.append(Transaction.current())

    async with db.write():
        Transaction.current().defer(action)
    assert seen == [None]
    async with db.write():
        async with db.write():
            Transaction.current().defer(action)
        assert seen == [None, None]


async def test_another_loop_does_not_take_it_from_one_that_runs(make, table):
    """``asyncio.run()`` in a thread: a mistake, which would leave the pools of this loop behind each time."""
    db = make(table)
    await db.start()
    servers, raised = db._servers, []

    def thread():
        try:
            asyncio.run(db.fetchval("SELECT 1"))
        except RuntimeError as error:
            raised.append(str(error))

    worker = threading.Thread(target=thread)
    worker.start()
    await asyncio.to_thread(worker.join)
    assert [text for text in raised if "anyio.from_thread" in text] == raised != []
    assert db._servers is servers


async def test_a_loop_that_stood_still_holds_no_server_for_dead(make, table, monkeypatch):
    db = make(table, connect_timeout=0.2, max_latency=0.1, monitor_interval=60)
    await db.start()
    (node,) = db._current()._nodes.values()
    async with db.read() as connection:
        looks, node.monitor._on_look = [], lambda outcome, error: looks.append((outcome, error))
        asked = in_flight(node.monitor, monkeypatch)
        node.monitor.wake()
        await asked.wait()
        time.sleep(0.5)  # noqa: ASYNC251 - a handler that does not await
        await eventually(lambda: looks)
        assert looks == [("", None)]
        assert await connection.fetchval("SELECT 1") == 1


def in_flight(monitor, monkeypatch):
    """An event: its question is on the way."""
    asked, status = asyncio.Event(), AsyncpgSession.status

    async def asking(session):
        if session is monitor._session:
            asyncio.get_running_loop().call_soon(asked.set)
        return await status(session)

    monkeypatch.setattr(AsyncpgSession, "status", asking)
    return asked


async def test_a_replica_of_another_cluster_is_ejected(make, pair, monkeypatch):
    """Its own identifier is told by each server; here one of them tells another's."""
    primary, replica = pair
    status, events = AsyncpgSession.status, []

    async def elsewhere(session):
        told = await status(session)
        assert told.system > 0
        return replace(told, system=5) if told.standby else told

    monkeypatch.setattr(AsyncpgSession, "status", elsewhere)
    db = make(primary, [replica], observers=[events.append])
    await db.start()
    await eventually(lambda: any(isinstance(event, ServerEjected) for event in events))
    for _ in range(5):
        assert await db.fetchval("SELECT pg_is_in_recovery()") is False
    await asyncio.sleep(0.3)  # several looks, of which one tells
    assert [event.reason for event in events if isinstance(event, ServerEjected)] == ["foreign"]
    assert list(db.lags().values()) == [None]


async def test_a_failed_statement_that_was_caught_is_no_silent_rollback(make, table):
    """PostgreSQL answers such a COMMIT by ROLLBACK, and not by an error."""
    db, ran = make(table), []

    async def action():
        ran.append("after COMMIT")

    async def write():
        async with db.write() as connection:
            await connection.execute("UPDATE notes SET text = 'new'")
            Transaction.current().defer(action)
            with suppress(asyncpg.DivisionByZeroError):
                await connection.fetchval("SELECT 1 / 0")

    with pytest.raises(asyncpg.InFailedSQLTransactionError, match="rolled back"):
        await write()
    assert ran == []
    assert await db.fetchval("SELECT count(*) FROM notes WHERE text = 'new'") == 0
    async with db.write() as connection:
        with suppress(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.fetchval("SELECT 1 / 0")
        await connection.execute("UPDATE notes SET text = 'new'")
    assert await db.fetchval("SELECT count(*) FROM notes WHERE text = 'new'") == 100


async def test_what_waited_for_a_commit_follows_it_though_its_position_is_not_told(make, table, monkeypatch):
    db, ran = make(table, max_size=1), []

    async def action():
        ran.append("after COMMIT")

    async def canceled(session):
        raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")

    async def write():
        async with db.write() as connection:
            await connection.execute("UPDATE notes SET text = 'new'")
            Transaction.current().defer(action)

    monkeypatch.setattr(AsyncpgSession, "mark", canceled)
    with pytest.raises(asyncpg.QueryCanceledError):
        await write()
    assert ran == ["after COMMIT"]
    assert await db.fetchval("SELECT count(*) FROM notes WHERE text = 'new'") == 100
