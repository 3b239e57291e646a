"""pytest fixtures: real servers, an ASGI client, and a clock that stands still. See docs/testing.md.

pytest finds this plugin by its entry point. It imports nothing but pytest until a fixture is asked for.
"""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ramkit.kernel.asgi import ASGIApp
    from ramkit.testing.client import ASGIClient
    from ramkit.testing.clock import ManualClock
    from ramkit.testing.servers import (
        NginxServer,
        PostgresReplica,
        PostgresServer,
        RedisCluster,
        RedisServer,
    )

_Call = Generator[None, Any, Any]

#: Seconds that a server has to notice that a connection was closed.
_PATIENCE = 5.0


@pytest.fixture
def clock() -> "ManualClock":
    """A clock that moves only when the test moves it."""
    from ramkit.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def asgi_client() -> "Iterator[Callable[..., ASGIClient]]":
    """A factory; ``async with`` what it makes for an app, an ``httpx.AsyncClient`` with lifespan.

    The test fails when a client is left open, or when tasks outlive it.
    """
    from ramkit.testing.client import ASGIClient

    made: list[ASGIClient] = []

    def make(app: "ASGIApp", **options: Any) -> ASGIClient:
        made.append(ASGIClient(app, **options))
        return made[-1]

    yield make
    if not all(each.is_closed for each in made):
        pytest.fail("an asgi_client was not closed: use it in async with", pytrace=False)


@pytest.fixture(scope="session")
def redis_server() -> "Iterator[RedisServer]":
    """A Redis or Valkey server for the whole session; tests that want it clean ask for ``redis_url``."""
    from ramkit.testing.servers.redis import RedisServer, foreign_redis

    with ExitStack() as stack:
        server = foreign_redis(_worker()) or stack.enter_context(RedisServer.launch())
        server.clean()
        yield server


@pytest.fixture
def redis_url(redis_server: "RedisServer") -> Iterator[str]:
    """The URL of ``redis_server``: running, empty, and with its settings as they were at first.

    The test fails when it leaves connections open.
    """
    redis_server.clean()
    before = redis_server.connections()
    yield redis_server.url
    if redis_server.ours:
        redis_server.revive()
        _fail_on_leaks(
            lambda: [how for each, how in redis_server.connections().items() if each not in before]
        )


@pytest.fixture(scope="session")
def _redis_cluster() -> "Iterator[RedisCluster]":
    from ramkit.testing.servers import RedisCluster

    with RedisCluster.launch() as cluster:
        cluster.clean()
        yield cluster


@pytest.fixture
def redis_cluster(_redis_cluster: "RedisCluster") -> "RedisCluster":
    """A Redis Cluster of three nodes: running, empty, and with its settings as they were at first."""
    _redis_cluster.clean()
    return _redis_cluster


@pytest.fixture(scope="session")
def postgres_server() -> "Iterator[PostgresServer]":
    """A PostgreSQL server for the whole session; tests that want a database ask for ``postgres_dsn``."""
    from ramkit.testing.servers.postgres import PostgresServer, foreign_postgres

    with ExitStack() as stack:
        yield foreign_postgres() or stack.enter_context(PostgresServer.launch())


@pytest.fixture(scope="session")
def postgres_template() -> str:
    """The database that each ``postgres_dsn`` is a copy of; override it to prepare a schema once."""
    return "template1"


@pytest.fixture
def postgres_dsn(postgres_server: "PostgresServer", postgres_template: str) -> Iterator[str]:
    """The DSN of a fresh database, dropped afterwards; the server runs, whatever the last test did to it.

    The test fails when it leaves connections open.
    """
    from ramkit.testing.servers.postgres import database_of

    postgres_server.clean()
    with postgres_server.database(postgres_template) as dsn:
        yield dsn
        postgres_server.clean()
        _fail_on_leaks(lambda: postgres_server.connections(database_of(dsn)))


@pytest.fixture(scope="session")
def _postgres_replica(postgres_server: "PostgresServer") -> "Iterator[PostgresReplica]":
    with postgres_server.replica() as replica:
        yield replica


@pytest.fixture
def postgres_replica(_postgres_replica: "PostgresReplica", postgres_dsn: str) -> "PostgresReplica":
    """A streaming replica of ``postgres_server``, caught up; its ``dsn`` is of the test's database."""
    from ramkit.testing.servers.postgres import database_of, with_database

    _postgres_replica.dsn = with_database(_postgres_replica.dsn, "postgres")
    _postgres_replica.clean()
    _postgres_replica.dsn = with_database(_postgres_replica.dsn, database_of(postgres_dsn))
    return _postgres_replica


@pytest.fixture
def nginx_server() -> "Iterator[Callable[..., NginxServer]]":
    """A factory with the arguments of ``NginxServer.launch``; what it starts ends with the test."""
    from ramkit.testing.servers import NginxServer

    with ExitStack() as stack:

        def start(server: str = "", *, upstream: str | None = None, http: str = "") -> NginxServer:
            return stack.enter_context(NginxServer.launch(server, upstream=upstream, http=http))

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> _Call:
    """A test whose server cannot be had is skipped, or fails with ``RAMKIT_REQUIRE_SERVERS=1``."""
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> _Call:
    """As in setup: what cannot be done with somebody else's server is found out in the test."""
    return (yield from _skipping())


def _skipping() -> _Call:
    try:
        return (yield)
    except Exception as error:
        # Without an import: most tests have no server.
        if not any(each.__name__ == "ServerUnavailable" for each in type(error).__mro__):
            raise
        reason = str(error)
    if os.environ.get("RAMKIT_REQUIRE_SERVERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _worker() -> int:
    """The number of this pytest-xdist worker; 0 without pytest-xdist."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _fail_on_leaks(connections: Callable[[], Iterable[str]]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while left := list(connections()):
        if time.monotonic() > deadline:
            pytest.fail(f"the test left connections open: {'; '.join(left)}", pytrace=False)
        time.sleep(0.01)
