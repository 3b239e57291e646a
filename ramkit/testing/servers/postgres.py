"""PostgreSQL: a primary, databases for each test, and streaming replicas."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from ramkit.testing.servers.finding import ServerUnavailable, driver, postgres_program
from ramkit.testing.servers.postgres_instance import Instance, basebackup, initdb, programs_for, server_user
from ramkit.testing.servers.processes import loopback, netloc

__all__ = ["PostgresReplica", "PostgresServer"]

#: Seconds that a helper's statement may take.
_TIMEOUT = 20.0
_PAUSE = 0.005


class PostgresServer:
    """A PostgreSQL server, and its superuser's ``dsn``. What it holds outlives ``stop()`` and ``start()``.

    Made with a DSN it is somebody else's, and what can only be done to a server of one's own raises
    ``ServerUnavailable``.
    """

    def __init__(self, dsn: str, instance: Instance | None = None) -> None:
        self.dsn = dsn
        self._instance = instance

    @classmethod
    @contextmanager
    def launch(cls) -> "Generator[PostgresServer]":
        """Start a server on a fresh data folder. Raises ``ServerUnavailable``.

        As root it runs as the user nobody, because PostgreSQL refuses to run as root.
        """
        password = secrets.token_urlsafe(12)
        user = server_user()
        program = postgres_program()
        fill = initdb(password, program.version)
        instance = Instance(programs_for(program, user), user, loopback(), fill)
        try:
            yield cls(
                f"postgresql://postgres:{password}@{netloc(instance.host, instance.port)}/postgres", instance
            )
        finally:
            instance.close()

    @property
    def ours(self) -> bool:
        """Whether it was started here."""
        return self._instance is not None

    @property
    def port(self) -> int:
        return urlsplit(self.dsn).port or 5432

    @property
    def pid(self) -> int:
        """The postmaster's process."""
        return self._own("its process is not known").process.pid

    def pause(self) -> None:
        """SIGSTOP to the server and all its backends: it accepts connections, and answers nothing."""
        self._own("it cannot be paused").process.signal(signal.SIGSTOP, tree=True)

    def resume(self) -> None:
        """SIGCONT to all that ``pause()`` stopped."""
        self._own("it cannot be resumed").process.signal(signal.SIGCONT, tree=True)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        self._own("it cannot be stopped").process.end()

    def start(self) -> None:
        """Start it again on the same port; returns when it takes connections."""
        self._own("it cannot be started").start()

    def synchronous(self, replicas: int = 1) -> None:
        """From now on COMMIT returns when so many replicas have it on disk; with 0, again at once.

        It stays so: for a server of the test's own.
        """
        self._own("its settings are not for tests to change")
        names = f"ANY {replicas} (*)" if replicas else ""
        self.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.execute("SELECT pg_reload_conf()")
        self._wait("SELECT current_setting('synchronous_standby_names') = $1", names)
        state = "SELECT count(*) >= $1 FROM pg_stat_replication WHERE sync_state = 'quorum'"
        self._wait(state, replicas)

    def execute(
        self, statement: str, *arguments: object, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of one statement, on a connection of its own; with asyncpg, blocking.

        Raises what asyncpg raises.
        """
        return fetch(
            self.dsn if database is None else with_database(self.dsn, database), statement, *arguments
        )

    def clean(self) -> None:
        """Have it run again, if it is ours and was paused or stopped."""
        if self._instance is not None:
            self.resume()
            if self._instance.process.status() is not None:
                self.start()

    @contextmanager
    def database(self, template: str = "template1") -> Generator[str]:
        """The DSN of a fresh database, copied from ``template``; it is dropped afterwards.

        Raises ``ServerUnavailable`` when the role may not create databases.
        """
        name = f"ramkit_{secrets.token_hex(6)}"
        try:
            self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        except driver("asyncpg", "db").InsufficientPrivilegeError as error:
            raise ServerUnavailable(f"the role of RAMKIT_TEST_POSTGRES_DSN: {error}") from error
        try:
            yield with_database(self.dsn, name)
        finally:
            self.clean()
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def connections(self, database: str) -> list[str]:
        """The connections of clients to a database, each with its state and last query."""
        rows = self.execute(
            "SELECT coalesce(state, '') || ': ' || left(query, 80) FROM pg_stat_activity"
            " WHERE datname = $1 AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
            database,
        )
        return [row[0] for row in rows]

    @contextmanager
    def replica(self) -> "Generator[PostgresReplica]":
        """Start a streaming replica. Raises ``ServerUnavailable``."""
        primary = self._own("it cannot be given a replica")
        instance = Instance(primary.programs, primary.user, primary.host, basebackup(self.dsn))
        try:
            yield PostgresReplica(self, instance)
        finally:
            instance.close()

    def _wait(self, question: str, *arguments: object) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while self.execute(question, *arguments) != [(True,)]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true after {_TIMEOUT:g} s: {question}")
            time.sleep(_PAUSE)

    def _own(self, missing: str) -> Instance:
        if self._instance is None:
            raise ServerUnavailable(f"the server of RAMKIT_TEST_POSTGRES_DSN was not started here: {missing}")
        return self._instance


class PostgresReplica(PostgresServer):
    """A streaming replica of ``primary``; ``pause()`` and ``resume()`` are of its replay.

    It goes on receiving while paused: what is committed is there, but not visible. To have the whole server
    hang, use ``freeze()``.
    """

    def __init__(self, primary: PostgresServer, instance: Instance) -> None:
        login = urlsplit(primary.dsn).netloc.rpartition("@")[0]
        address = f"{login}@{netloc(instance.host, instance.port)}"
        super().__init__(urlsplit(primary.dsn)._replace(netloc=address).geturl(), instance)
        self.primary = self._first = primary
        self._replica = instance

    def pause(self) -> None:
        """Stop the replay; returns when it has stopped."""
        self.execute("SELECT pg_wal_replay_pause()")
        self._wait("SELECT pg_get_wal_replay_pause_state() = 'paused'")

    def resume(self) -> None:
        """Let the replay go on; ``caught_up()`` waits for it."""
        self.execute("SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery()")

    def freeze(self) -> None:
        """SIGSTOP to the whole server, which then answers nothing."""
        self._replica.process.signal(signal.SIGSTOP, tree=True)

    def thaw(self) -> None:
        """SIGCONT to all that ``freeze()`` stopped."""
        self._replica.process.signal(signal.SIGCONT, tree=True)

    def promote(self) -> None:
        """Make it a primary; returns when it takes writes. The old primary runs on."""
        self.execute("SELECT pg_promote()")
        self._wait("SELECT NOT pg_is_in_recovery()")

    def follow(self, primary: PostgresServer) -> None:
        """Stream from another server, such as a replica that was promoted; it must not be behind this one."""
        conninfo = with_database(primary.dsn, "postgres")
        self.execute(f"ALTER SYSTEM SET primary_conninfo = '{conninfo}'")
        self.execute("SELECT pg_reload_conf()")
        self.primary = primary

    def caught_up(self) -> None:
        """Wait until all that the primary has committed is visible here. Raises ``TimeoutError``.

        It takes up to twenty seconds; a replay that is paused does not catch up.
        """
        ((position,),) = self.primary.execute("SELECT pg_current_wal_flush_lsn()::text")
        self._wait("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", position)

    def clean(self) -> None:
        """A replica again, whatever was done to it: running, replaying, caught up."""
        self.thaw()
        if self._replica.process.status() is not None:
            self.start()
        if self.primary is not self._first or self.execute("SELECT pg_is_in_recovery()") == [(False,)]:
            self.primary = self._first
            self._replica.rebuild()
        self.resume()
        self.caught_up()


def fetch(dsn: str, statement: str, *arguments: object, timeout: float = _TIMEOUT) -> list[tuple[Any, ...]]:
    """The rows of one statement; in a thread, so that a test whose loop runs may ask too."""
    asyncpg = driver("asyncpg", "db")

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(dsn, timeout=timeout, command_timeout=timeout)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close(timeout=_TIMEOUT)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result()


def with_database(dsn: str, name: str) -> str:
    """The DSN with another database."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


def database_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


def foreign_postgres() -> PostgresServer | None:
    """The server that the environment names, if it does."""
    dsn = os.environ.get("RAMKIT_TEST_POSTGRES_DSN")
    return PostgresServer(dsn) if dsn else None
