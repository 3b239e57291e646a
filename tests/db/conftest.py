import asyncio

import pytest

from ramkit.db import Database
from ramkit.kernel.context import RequestContext


@pytest.fixture
async def make(postgres_dsn):
    """Makes databases and closes them, before the server is asked who is left: nothing may be lent out."""
    made: list[Database] = []

    def make(*arguments, **options):
        options = {"monitor_interval": 0.05, "min_size": 1, "max_lag": None, **options}
        made.append(Database(*arguments, **options))
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
