"""What a read on the primary may claim: a commit is in the log before anybody sees it."""

import asyncio
import contextvars

import pytest

from ramkit.cache.core.entry import Entry
from ramkit.db.backends.asyncpg import AsyncpgSession
from ramkit.kernel.context import RequestContext
from ramkit.testing.servers import PostgresServer
from ramkit.testing.servers.postgres import fetch
from tests.db.conftest import eventually

IN_BETWEEN = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def server():
    """Of these tests alone, since its settings are changed."""
    with PostgresServer.launch() as server:
        yield server


@pytest.fixture
def primary(server):
    server.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    yield server
    server.execute("DROP TABLE notes")


def rendered(context: RequestContext) -> Entry:
    return Entry(1, 1, (), "/", 0, 1, 1, 1, positions=dict(context.positions))


async def write(db, number: int, commit: str) -> RequestContext:
    context = RequestContext()
    with context.active():
        async with db.write() as connection:
            await connection.execute(f"SET LOCAL synchronous_commit = {commit}")
            await connection.execute("INSERT INTO notes VALUES ($1)", number)
    return context


async def read(db, floor: dict[str, int]) -> tuple[set[int], RequestContext]:
    context = RequestContext()
    for name, lsn in floor.items():
        context.floor.raise_position(name, lsn)
    with context.active():
        return {row["id"] for row in await db.fetch("SELECT id FROM notes")}, context


@pytest.mark.parametrize("process", ["the same", "another"])
async def test_a_page_between_two_commits_at_the_same_place_claims_one_of_them(make, primary, process):
    """The second transaction is in the log and waits for a replica that never comes, the first is behind it
    and visible. Nothing else is written: were it not for the mark, both would have the same position."""
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    primary.execute("SELECT pg_reload_conf()")
    db, other = make(primary.dsn), make(primary.dsn)
    await other.start()
    late = asyncio.create_task(write(db, 2, "on"))
    await eventually(lambda: fetch(primary.dsn, IN_BETWEEN)[0][0] == 1)
    early = await write(db, 1, "local")
    seen, context = await read(db if process == "the same" else other, early.floor.positions)
    assert seen == {1}
    primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
    primary.execute("SELECT pg_reload_conf()")
    page = rendered(context)
    assert page.misses((await late).floor.positions)
    assert not page.misses(early.floor.positions), "its own writer's next page is good for the cache"


async def test_on_an_idle_primary_the_writers_next_page_has_what_was_written(make, primary):
    db, other = make(primary.dsn), make(primary.dsn)
    await other.start()
    for number in range(20):
        wrote = await write(db, number, "on" if number % 2 else "off")
        for each in (db, other):
            seen, context = await read(each, wrote.floor.positions)
            assert number in seen
            assert not rendered(context).misses(wrote.floor.positions)


async def test_the_primary_is_asked_once_for_what_another_process_wrote(make, primary, monkeypatch):
    asked = []
    position = AsyncpgSession.position

    async def counted(session):
        asked.append(session)
        return await position(session)

    monkeypatch.setattr(AsyncpgSession, "position", counted)
    db, other = (make(primary.dsn, monitor_interval=60) for _ in range(2))
    await other.start()
    floor = (await write(db, 1, "on")).floor.positions
    for each, most in ((db, 0), (other, 1)):
        for _ in range(3):
            await read(each, floor)
        assert len(asked) == most


async def test_what_is_read_in_a_transaction_that_writes_has_a_position(make, primary):
    db = make(primary.dsn)
    context = RequestContext()
    with context.active():
        async with db.write() as connection:
            assert await connection.fetch("SELECT id FROM notes") == []
            wrote = await asyncio.create_task(write(db, 1, "on"), context=contextvars.Context())
    assert rendered(context).misses(wrote.floor.positions)


async def test_what_only_writes_is_no_read(make, primary):
    db = make(primary.dsn)
    context = RequestContext()
    with context.active():
        await db.execute("INSERT INTO notes VALUES (1)")
        await db.executemany("INSERT INTO notes VALUES ($1)", [(2,)])
        await db.copy("notes", [(3,)])
        assert context.positions == {}
        await db.fetch("SELECT id FROM notes")
    assert not rendered(context).misses(context.floor.positions)
