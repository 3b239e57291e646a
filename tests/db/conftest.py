import asyncio
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from ramkit.db import Database, Server
from ramkit.kernel.context import RequestContext
from ramkit.testing.servers import PgBouncer

#: What cannot hold behind pgbouncer in transaction mode (docs/db.md): what is of a session there is nobody's.
OF_A_SESSION = {
    "test_a_read_cannot_write_even_on_the_primary",
    "test_a_read_is_a_read_wherever_it_runs",
    "test_a_session_is_clean_before_it_is_lent_again",
    "test_a_session_is_nobody_elses_role_tables_or_sequences",
    "test_a_write_is_all_or_nothing",  # asks for the session's default_transaction_read_only
    "test_nothing_of_a_borrower_is_left_for_the_next",
}


def pytest_generate_tests(metafunc):
    if "way" in metafunc.fixturenames:
        ways = ["direct"] if metafunc.function.__name__ in OF_A_SESSION else ["direct", "pgbouncer"]
        metafunc.parametrize("way", ways)


@pytest.fixture
def through(way, postgres_dsn):
    """Where a server is, as ``Database`` is told: the server itself, or a pgbouncer in front of it."""
    bouncers: dict[str, PgBouncer] = {}
    with ExitStack() as stack:

        def server(dsn):
            if way == "direct" or not isinstance(dsn, str) or not urlsplit(dsn).password or "," in dsn:
                return dsn
            address = urlsplit(dsn).netloc
            if address not in bouncers:
                bouncers[address] = stack.enter_context(PgBouncer.launch(dsn))
            return Server(bouncers[address].dsn(dsn), direct=dsn)

        yield server


@pytest.fixture
async def make(postgres_dsn, through):
    """Makes databases and closes them, before the server is asked who is left; none may be lent out."""
    made: list[Database] = []

    def make(primary, replicas=(), **options):
        options = {"monitor_interval": 0.05, "min_size": 1, "max_lag": None, **options}
        made.append(Database(through(primary), [through(each) for each in replicas], **options))
        return made[-1]

    yield make
    for each in made:
        servers = each._servers
        await each.aclose()
        if servers is not None:
            members = servers._fleet.members
            assert [(m.name, m.busy, m.reading) for m in members if m.busy or m.reading] == []
            assert [node.pool.size for node in servers._nodes.values() if node.pool.size] == []


@pytest.fixture
def table(postgres_server, postgres_dsn):
    """A table on the primary."""
    from ramkit.testing.servers.postgres import fetch

    fetch(postgres_dsn, "CREATE TABLE notes (id int PRIMARY KEY, text text NOT NULL)")
    fetch(postgres_dsn, "INSERT INTO notes SELECT n, 'old' FROM generate_series(1, 100) AS n")
    return postgres_dsn


@pytest.fixture
def pair(table, postgres_replica):
    """The DSNs of a primary with the table, and of a replica that has it too."""
    postgres_replica.caught_up()
    return table, postgres_replica.dsn


@pytest.fixture
def request_context():
    """A request's context, active in the test's task."""
    context = RequestContext()
    with context.active():
        yield context


@pytest.fixture
def free_port():
    """Where nobody listens."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as opened:
        return opened.getsockname()[1]


async def eventually(true, *, within=10.0):
    """Wait until it is true."""
    async with asyncio.timeout(within):
        while True:
            found = true()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


def pools_of(database):
    return [node.pool for node in database._current()._nodes.values()]
