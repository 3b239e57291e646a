"""Servers that are there and do not let us in: an error that says so, in time, whoever asked."""

import asyncio

import pytest

from ramkit.db import Database, DatabaseUnavailable, ReadOnly, Server
from ramkit.testing.servers import PgBouncer

#: Each way to ask, and what it raises where nobody can be asked.
CALLS = [
    (lambda db: db.start(), DatabaseUnavailable),
    (lambda db: db.fetchval("SELECT 1"), DatabaseUnavailable),
    (lambda db: db.execute("SELECT 1"), ReadOnly),
]
WRONG = "swordfish"


def with_wrong_password(dsn):
    login, _, rest = dsn.partition("@")
    return f"{login.rpartition(':')[0]}:{WRONG}@{rest}"


async def assert_refused(calls, reason, *given, **options):
    """Each call raises its error with the reason in it, and hangs for no longer than the bound here."""
    for call, expected in calls:
        db = Database(*given, connect_timeout=0.5, acquire_timeout=0.5, min_size=0, **options)
        try:
            with pytest.raises(expected, match=reason) as raised:
                await asyncio.wait_for(call(db), 30)
        finally:
            await db.aclose()
        assert type(raised.value) is expected
        assert WRONG not in str(raised.value)
        assert raised.value.detail == "A service that this needs does not answer."


@pytest.fixture
def behind(postgres_dsn):
    """A server behind a pgbouncer that ignores no startup parameter, and the way to its server."""
    with PgBouncer.launch(postgres_dsn) as bouncer:
        yield Server(bouncer.dsn(postgres_dsn), direct=postgres_dsn)


async def test_a_wrong_password_is_an_error_in_time(postgres_dsn):
    await assert_refused(CALLS, "password authentication failed for user", with_wrong_password(postgres_dsn))


async def test_a_wrong_password_for_pgbouncer_is_an_error_in_time(behind):
    """Its server is well, as the monitor sees, and nobody gets through to it."""
    wrong = Server(with_wrong_password(behind.dsn), direct=behind.direct)
    await assert_refused(CALLS[1:], "password authentication failed", wrong)


async def test_a_pgbouncer_that_is_gone_is_an_error_in_time(postgres_dsn, free_port):
    address = postgres_dsn.rpartition("@")[2].partition("/")[0]
    gone = Server(postgres_dsn.replace(address, f"127.0.0.1:{free_port}"), direct=postgres_dsn)
    await assert_refused(CALLS[1:], "Connect call failed", gone)


async def test_pgbouncer_is_sent_no_parameter_that_it_does_not_know(behind):
    db = Database(behind, application_name="shop")
    try:
        assert await db.fetchval("SELECT current_setting('application_name')") == "shop"
    finally:
        await db.aclose()


async def test_a_parameter_that_pgbouncer_refuses_is_told(behind):
    for name, value in {"extra_float_digits": "1", "statement_timeout": "60s"}.items():
        reason = f"unsupported startup parameter: {name}"
        await assert_refused(CALLS[1:], reason, behind, server_settings={name: value})
