"""One database of one or two real servers: who answers, and what is given back."""

import asyncio
import random
from contextlib import suppress

import asyncpg
import pytest

from ramkit.db import (
    Database,
    DatabaseUnavailable,
    DeadlineExceeded,
    PoolTimeout,
    PoolWait,
    ReadOnly,
    ReplicaLag,
    SlowQuery,
)
from ramkit.kernel.context import RequestContext, Transaction
from ramkit.kernel.errors import ConfigurationError
from tests.conftest import SOAK
from tests.db.conftest import eventually, pools_of

STANDBY = "SELECT pg_is_in_recovery()"


async def test_reads_go_to_the_replica_and_writes_to_the_primary(make, pair):
    primary, replica = pair
    db = make(replica, [primary])  # which is which is found out
    await db.start()
    await eventually(lambda: db.fetchval(STANDBY))
    async with db.read() as connection:
        assert await connection.fetchval(STANDBY)
    async with db.write() as connection:
        assert not await connection.fetchval(STANDBY)


async def test_a_multi_host_string_names_them_all(make, pair):
    primary, replica = pair
    hosts = f"{primary.rpartition('@')[2].partition('/')[0]},{replica.rpartition('@')[2].partition('/')[0]}"
    db = make(f"{primary.rpartition('@')[0]}@{hosts}/{primary.rpartition('/')[2]}")
    assert await db.execute("UPDATE notes SET text = 'new' WHERE id = 1") == "UPDATE 1"
    await eventually(lambda: db.fetchval(STANDBY))


async def test_a_database_may_be_named_by_the_environment(make, table, monkeypatch):
    monkeypatch.setenv("SHOP_DSN", table)
    assert await make("SHOP_DSN").fetchval("SELECT count(*) FROM notes") == 100


async def test_shortcuts(make, table):
    db = make(table)
    assert [row["id"] for row in await db.fetch("SELECT id FROM notes WHERE id < $1 ORDER BY 1", 3)] == [1, 2]
    assert (await db.fetchrow("SELECT * FROM notes WHERE id = $1", 7))["text"] == "old"
    assert await db.fetchrow("SELECT * FROM notes WHERE id = 0") is None
    await db.executemany("INSERT INTO notes VALUES ($1, $2)", [(200, "a"), (201, "b")])
    assert await db.copy("notes", [(300, "c")], columns=["id", "text"]) == "COPY 1"
    with pytest.raises(asyncpg.UniqueViolationError):
        await db.executemany("INSERT INTO notes VALUES ($1, $2)", [(400, "d"), (1, "e")])
    assert await db.fetchval("SELECT count(*) FROM notes WHERE id >= 200") == 3


async def test_a_read_cannot_write_even_on_the_primary(make, table):
    db = make(table)
    async with db.read() as connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("DELETE FROM notes")
    assert await db.fetchval("SELECT count(*) FROM notes") == 100


async def test_a_write_is_all_or_nothing(make, table):
    db = make(table)

    async def fail():
        async with db.write() as connection:
            await connection.execute("DELETE FROM notes")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await db.fetchval("SELECT count(*) FROM notes") == 100
    async with db.write(isolation="serializable") as connection:
        assert await connection.fetchval("SHOW transaction_isolation") == "serializable"
        async with connection.transaction():
            await connection.execute("DELETE FROM notes WHERE id = 1")
    assert await db.fetchval("SELECT count(*) FROM notes") == 99
    async with db.write(transaction=False) as connection:
        await connection.execute("VACUUM notes")
    async with db.read() as connection:
        assert await connection.fetchval("SHOW default_transaction_read_only") == "on"


async def test_nothing_of_a_borrower_is_left_for_the_next(make, table):
    db = make(table, max_size=1)
    async with db.write() as connection:
        process = connection.get_server_pid()
    async with db.read() as connection:
        await connection.execute("SET search_path TO nowhere")
        await connection.execute("SELECT pg_advisory_lock(7)")
        await connection.add_listener("news", lambda *_: None)
        await connection.execute("BEGIN")
    async with db.read() as connection:
        assert connection.get_server_pid() == process
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SHOW search_path") == '"$user", public'
        assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert await connection.fetch("SELECT pg_listening_channels()") == []
        kept = connection
    with pytest.raises(asyncpg.InterfaceError):
        await kept.fetchval("SELECT 1")


async def test_a_wait_for_a_connection_is_bounded_and_says_so(make, table):
    events = []
    db = make(table, max_size=1, acquire_timeout=0.05, observers=[events.append])
    await db.start()
    async with db.read():
        with pytest.raises(PoolTimeout, match=r"no connection became free within 0.05 s") as caught:
            await db.fetchval("SELECT 1")
    assert (caught.value.status_code, caught.value.headers) == (503, {"retry-after": "1"})
    waits = [event for event in events if isinstance(event, PoolWait)]
    assert [event.outcome for event in waits][-1] == "timeout"
    assert waits[-1].seconds >= 0.05

    async def answered():
        with suppress(PoolTimeout):  # the reset of what was lent may take longer than that
            return await db.fetchval("SELECT 1") == 1

    await eventually(answered)


async def test_who_waits_is_served_in_order(make, table):
    db, order = make(table, max_size=1), []

    async def ask(number):
        async with db.read() as connection:
            order.append(number)
            await connection.fetchval("SELECT 1")

    await asyncio.gather(*(ask(number) for number in range(20)))
    assert order == list(range(20))


async def test_cancelled_at_any_point_the_pool_counts_right(make, pair):
    """Breaks when a connection stays lent, or comes back in the middle of something (asyncpg #467, #547)."""
    draw = random.Random(4711)
    db = make(*pair[:1], [pair[1]], max_size=4)
    tries = 1000 if SOAK else 100

    async def work(number):
        if number % 3 == 0:
            async with db.write() as connection:
                await connection.execute("UPDATE notes SET text = $1 WHERE id = 5", str(number))
                await asyncio.sleep(0)
        elif number % 3 == 1:
            async with db.read() as connection:
                await connection.fetch("SELECT pg_sleep(0.002), * FROM notes")
        else:
            await db.fetch("SELECT * FROM notes")

    await db.start()
    for begin in range(0, tries, 20):
        tasks = [asyncio.create_task(work(number)) for number in range(begin, begin + 20)]
        for task in tasks:
            await asyncio.sleep(draw.random() * 0.003)
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in done} <= {asyncio.CancelledError, type(None), list}
    members, pools = db._current()._fleet.members, pools_of(db)
    await eventually(lambda: not any(member.busy or member.reading for member in members))
    await eventually(lambda: not any(pool._resets or pool._opening or pool._waiters for pool in pools))
    assert all(pool.size <= 4 for pool in pools)
    assert await asyncio.gather(*(db.fetchval("SELECT 1") for _ in range(40))) == [1] * 40


async def test_a_request_that_is_late_asks_nothing_more(make, table, clock, request_context):
    db = make(table, clock=clock)
    request_context.deadline = clock.monotonic() + 0.1
    with pytest.raises(DeadlineExceeded):
        await db.fetchval("SELECT pg_sleep(30)")

    async def write():
        async with db.write() as connection:
            await connection.execute("UPDATE notes SET text = 'late'")
            await connection.fetchval("SELECT pg_sleep(30)")

    with pytest.raises(DeadlineExceeded):
        await write()
    clock.advance(1)
    with pytest.raises(DeadlineExceeded):
        await db.fetchval("SELECT 1")
    request_context.deadline = None
    assert await db.fetchval("SELECT count(*) FROM notes WHERE text = 'late'") == 0


@pytest.mark.parametrize("method", ["read", "write"])
async def test_a_deadline_that_passes_while_waiting_keeps_no_connection(
    method, make, table, clock, request_context
):
    db = make(table, max_size=1, clock=clock)

    async def ask():
        async with getattr(db, method)() as connection:
            return await connection.fetchval("SELECT 1")

    async with db.read():
        request_context.deadline = clock.monotonic() + 0.05
        with pytest.raises(DeadlineExceeded):
            await ask()
        request_context.deadline = clock.monotonic() + 10
        waiting = asyncio.create_task(ask())
        await eventually(lambda: pools_of(db)[0]._waiters)
        clock.advance(20)
    assert await waiting == 1


async def test_a_primary_that_hangs_holds_nobody_beyond_the_deadline(
    make, table, postgres_server, clock, request_context
):
    db = make(table, clock=clock)
    await db.execute("UPDATE notes SET text = 'new'")
    postgres_server.pause()
    for ask in (db.execute, db.fetchval):
        request_context.deadline = clock.monotonic() + 0.1
        with pytest.raises(DeadlineExceeded):
            await ask("SELECT 1")
    postgres_server.resume()
    request_context.deadline = None
    await db.execute("UPDATE notes SET text = 'newer'")
    assert await db.fetchval("SELECT text FROM notes WHERE id = 1") == "newer"


async def test_slow_statements_and_lag_are_told(make, pair):
    events = []
    db = make(pair[0], [pair[1]], slow_query=0.01, observers=[events.append], application_name="shop")
    assert await db.fetchval("SELECT current_setting('application_name') FROM pg_sleep(0.02)") == "shop"
    await eventually(lambda: any(isinstance(event, SlowQuery) for event in events))
    slow = [event for event in events if isinstance(event, SlowQuery)]
    assert "pg_sleep(0.02)" in slow[0].query
    assert slow[0].seconds >= 0.02
    await eventually(lambda: any(isinstance(event, ReplicaLag) for event in events))


async def test_idle_connections_end(make, table, postgres_server):
    db = make(table, min_size=1, max_size=5, idle_timeout=0.2)
    await asyncio.gather(*(db.fetchval("SELECT pg_sleep(0.02)") for _ in range(5)))
    (pool,) = pools_of(db)
    assert pool.size == 5
    await eventually(lambda: pool.size == 1)


async def test_it_closes_within_a_bound_and_opens_again(make, table):
    db = make(table, close_timeout=0.1)
    context = db.read()
    connection = await context.__aenter__()
    await db.aclose()
    with pytest.raises((asyncpg.InterfaceError, asyncpg.ConnectionDoesNotExistError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises(DatabaseUnavailable):
        await context.__aexit__(asyncpg.InterfaceError, asyncpg.InterfaceError("closed"), None)
    assert await db.fetchval("SELECT 1") == 1


async def test_what_waits_for_a_commit_runs_after_it_and_never_after_a_rollback(make, table):
    db, done = make(table), []

    async def note():
        context = RequestContext.current()
        seen = await db.fetchval("SELECT text FROM notes WHERE id = 1")
        done.append((seen, context.floor.positions["main"] > 0))

    async with db.write() as connection:
        await connection.execute("UPDATE notes SET text = 'new' WHERE id = 1")
        Transaction.current().defer(note)
        assert not done
    assert done == [("new", True)]

    async def fail():
        async with db.write():
            Transaction.current().defer(note)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert len(done) == 1
    assert Transaction.current() is None


async def test_nobody_takes_writes(make, pair):
    db = make(pair[1], connect_timeout=0.3)
    assert await db.fetchval("SELECT count(*) FROM notes") == 100
    with pytest.raises(ReadOnly) as caught:
        await db.execute("DELETE FROM notes")
    assert caught.value.status_code == 503


async def test_nobody_is_there(make, free_port):
    db = make(f"postgresql://nobody@127.0.0.1:{free_port}/none", connect_timeout=0.3, acquire_timeout=0.3)
    with pytest.raises(DatabaseUnavailable):
        await db.fetchval("SELECT 1")
    with pytest.raises(ReadOnly):
        await db.execute("SELECT 1")


@pytest.mark.parametrize(
    ("argument", "arguments", "options"),
    [
        ("primary", ["mysql://x/y"], {}),
        ("primary", ["NO_SUCH_VARIABLE"], {}),
        ("replicas", ["postgresql://x/y", ["nonsense"]], {}),
        ("max_size", ["postgresql://x/y"], {"max_size": 0}),
        ("min_size", ["postgresql://x/y"], {"min_size": 11}),
        ("acquire_timeout", ["postgresql://x/y"], {"acquire_timeout": float("nan")}),
        ("connect_timeout", ["postgresql://x/y"], {"connect_timeout": 0}),
        ("max_lag", ["postgresql://x/y"], {"max_lag": -1}),
        ("primary_share", ["postgresql://x/y"], {"primary_share": 0}),
        ("name", ["postgresql://x/y"], {"name": "a b"}),
    ],
)
def test_mistakes_name_the_argument(argument, arguments, options):
    with pytest.raises(ConfigurationError) as caught:
        Database(*arguments, **options)
    assert str(caught.value).startswith(argument)


def test_a_password_is_in_no_message():
    with pytest.raises(ConfigurationError) as caught:
        Database("mysql://ada:secret@x/y")
    assert "secret" not in str(caught.value)
