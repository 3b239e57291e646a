import os
import time

import asyncpg
import pytest

from ramkit.testing.servers import PostgresServer, ServerUnavailable, finding, postgres, postgres_instance


@pytest.fixture(scope="session")
def postgres_template(postgres_server):
    postgres_server.execute('CREATE DATABASE "prepared"')
    postgres_server.execute("CREATE TABLE notes (text text)", database="prepared")
    yield "prepared"
    postgres_server.execute('DROP DATABASE "prepared"')


async def test_a_database_is_fresh_and_made_from_the_template(postgres_dsn):
    connection = await asyncpg.connect(postgres_dsn)
    try:
        assert await connection.fetch("SELECT * FROM notes") == []
        await connection.execute("INSERT INTO notes VALUES ('x')")
        assert await connection.fetchval("SELECT text FROM notes") == "x"
    finally:
        await connection.close()


async def test_nothing_is_left_of_the_test_before(postgres_dsn, postgres_server):
    assert postgres_server.execute("SELECT * FROM notes", database=postgres.database_of(postgres_dsn)) == []
    names = postgres_server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'ramkit%'")
    assert names == [(postgres.database_of(postgres_dsn),)]


def test_an_insert_is_visible_at_the_replica(postgres_server, postgres_dsn, postgres_replica):
    assert postgres_replica.dsn != postgres_dsn
    postgres.fetch(postgres_dsn, "INSERT INTO notes VALUES ('x')")
    postgres_replica.caught_up()
    assert postgres_replica.execute("SELECT text FROM notes") == [("x",)]
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        postgres_replica.execute("INSERT INTO notes VALUES ('y')")


def test_a_paused_replay_shows_nothing_new(postgres_dsn, postgres_replica):
    postgres_replica.pause()
    postgres.fetch(postgres_dsn, "INSERT INTO notes VALUES ('x')")
    assert postgres_replica.execute("SELECT text FROM notes") == []
    postgres_replica.resume()
    postgres_replica.caught_up()
    assert postgres_replica.execute("SELECT text FROM notes") == [("x",)]


def test_a_promoted_replica_takes_writes(postgres_dsn, postgres_replica):
    postgres_replica.promote()
    postgres_replica.execute("INSERT INTO notes VALUES ('x')")
    assert postgres_replica.execute("SELECT text FROM notes") == [("x",)]
    assert postgres.fetch(postgres_dsn, "SELECT text FROM notes") == []


def test_after_a_promotion_the_next_test_has_a_replica_again(postgres_dsn, postgres_replica):
    assert postgres_replica.execute("SELECT pg_is_in_recovery()") == [(True,)]
    postgres.fetch(postgres_dsn, "INSERT INTO notes VALUES ('x')")
    postgres_replica.caught_up()
    assert postgres_replica.execute("SELECT text FROM notes") == [("x",)]
    postgres_replica.freeze()
    with pytest.raises(TimeoutError):
        postgres.fetch(postgres_replica.dsn, "SELECT 1", timeout=0.2)


def test_a_frozen_replica_runs_again_in_the_next_test(postgres_replica):
    assert postgres_replica.execute("SELECT 1") == [(1,)]
    postgres_replica.stop()


def test_and_so_does_a_stopped_one(postgres_replica):
    assert postgres_replica.execute("SELECT 1") == [(1,)]


def test_a_primary_can_hang_and_crash(postgres_server, postgres_dsn):
    postgres.fetch(postgres_dsn, "INSERT INTO notes VALUES ('x')")
    postgres_server.pause()
    with pytest.raises(TimeoutError):
        postgres.fetch(postgres_dsn, "SELECT 1", timeout=0.2)
    postgres_server.resume()
    postgres_server.stop()
    with pytest.raises(OSError):  # noqa: PT011 refused: its number is the system's
        postgres.fetch(postgres_dsn, "SELECT 1")
    postgres_server.start()
    assert postgres.fetch(postgres_dsn, "SELECT text FROM notes") == [("x",)]


def test_other_users_of_the_machine_are_kept_out(postgres_server):
    with pytest.raises(asyncpg.InvalidPasswordError):
        postgres.fetch(postgres_server.dsn.replace(":", ":wrong", 2).replace(":wrong//", "://"), "SELECT 1")


def test_the_server_of_the_wheel(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(finding, "_POSTGRES_HOME", finding.Path("/nowhere"))
    try:
        finding.postgres_program()
    except ServerUnavailable as error:
        pytest.skip(str(error))
    began = time.perf_counter()
    with PostgresServer.launch() as server:
        started = time.perf_counter()
        with server.replica() as replica:
            print(
                f"primary {1000 * (started - began):.0f} ms, "
                f"replica {1000 * (time.perf_counter() - started):.0f} ms"
            )
            replica.caught_up()
            assert server.execute("SELECT current_setting('data_checksums') IS NOT NULL") == [(True,)]
            assert server.execute("SELECT lower('Ä')") == [("ä",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its server to another user")
def test_a_wheel_in_a_closed_home_is_copied(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(finding, "_POSTGRES_HOME", finding.Path("/nowhere"))
    monkeypatch.setattr(finding, "reachable", lambda path: False)
    monkeypatch.setattr(finding, "_runnable", lambda program: program)
    monkeypatch.setattr(postgres_instance, "reachable", lambda path: False)
    umask = os.umask(0o077)
    try:
        _runs_on_a_copy()
    finally:
        os.umask(umask)


def _runs_on_a_copy():
    with PostgresServer.launch() as server, server.replica() as replica:
        ((folder,),) = server.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
        assert "ramkit-servers-" in folder
        replica.caught_up()


def test_on_a_machine_with_only_ipv6(monkeypatch, ipv6):
    monkeypatch.setattr(postgres, "loopback", lambda: ipv6)
    with PostgresServer.launch() as server, server.replica() as replica:
        assert f"@[::1]:{server.port}/" in server.dsn
        assert f"@[::1]:{replica.port}/" in replica.dsn
        replica.caught_up()


def test_somebody_elses_server_gives_databases_only(postgres_server, monkeypatch):
    monkeypatch.setenv("RAMKIT_TEST_POSTGRES_DSN", postgres_server.dsn)
    server = postgres.foreign_postgres()
    assert server is not None
    with server.database() as dsn:
        assert postgres.fetch(dsn, "SELECT current_database()") == [(postgres.database_of(dsn),)]
    with pytest.raises(ServerUnavailable, match="cannot be given a replica"), server.replica():
        pass
    with pytest.raises(ServerUnavailable, match="cannot be paused"):
        server.pause()


def test_a_role_that_may_not_create_databases_is_named(postgres_server):
    postgres_server.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        server = PostgresServer(
            postgres_server.dsn.replace(postgres_server.dsn.split("@")[0], "postgresql://guest:guest")
        )
        with pytest.raises(ServerUnavailable, match="permission denied"), server.database():
            pass
    finally:
        postgres_server.execute("DROP ROLE guest")


def test_a_replica_follows_the_one_that_was_promoted():
    with PostgresServer.launch() as primary, primary.replica() as first, primary.replica() as second:
        primary.synchronous(2)
        primary.execute("CREATE TABLE notes (text text)")
        first.promote()
        second.follow(first)
        first.execute("INSERT INTO notes VALUES ('new')")
        second.caught_up()
        assert second.execute("SELECT text FROM notes") == [("new",)]
        assert primary.execute("SELECT text FROM notes") == []
        second.clean()
        assert second.execute("SELECT text FROM notes") == []
