"""asyncpg: the one place that knows it. Needs ``ramkit[db]``."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg as untyped
from asyncpg import pool, transaction

from ramkit.db.core.fleet import Status
from ramkit.db.core.lsn import format_lsn, reachable

__all__ = ["AsyncpgDriver"]

# asyncpg has no types.
asyncpg: Any = untyped
PoolConnectionProxy: Any = pool.PoolConnectionProxy
Transaction: Any = transaction.Transaction
TransactionState: Any = transaction.TransactionState
ISOLATION_LEVELS: Any = transaction.ISOLATION_LEVELS

_STATUS = """
SELECT standby,
  CASE WHEN standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn AS lsn,
  CASE WHEN standby THEN coalesce(pg_last_wal_receive_lsn(), '0/0') ELSE pg_current_wal_lsn() END
    - '0/0'::pg_lsn AS known,
  CASE WHEN NOT standby
    THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline
FROM (SELECT pg_is_in_recovery() AS standby OFFSET 0) AS role
"""
_SYSTEM = "SELECT system_identifier FROM pg_control_system()"
#: The insert position, not the written one: COMMIT may return before anything is written
#: (synchronous_commit).
_POSITION = """
SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8, current_setting('wal_block_size')::int4
"""
#: The same, and then the end of a record that says nothing: the log has gone on. OFFSET keeps the order.
_MARK = """
SELECT (lsn - '0/0'::pg_lsn)::int8, current_setting('wal_block_size')::int4,
  (pg_logical_emit_message(false, 'ramkit', '') - '0/0'::pg_lsn)::int8
FROM (SELECT pg_current_wal_insert_lsn() AS lsn OFFSET 0) AS here
"""
#: What asyncpg's reset leaves to the next borrower: another user, tables that hide others, sequences' values.
_DISCARD = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; DISCARD TEMP; DISCARD SEQUENCES; "
_WAIT_FOR_LSN = 19

#: The server is gone, going, or not there yet; or the connection to it is.
_LOST: Any = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)


class _Writing(Transaction):  # type: ignore[misc]  # asyncpg has no types
    """A transaction that may write where the session's default is read-only.

    asyncpg's cannot say so; a BEGIN of one's own would forbid ``connection.transaction()`` within.
    """

    async def start(self) -> None:
        connection = self._connection
        level = f" ISOLATION LEVEL {self._isolation.replace('_', ' ')}" if self._isolation else ""
        await connection.execute(f"BEGIN{level} READ WRITE")
        connection._top_xact = self
        self._state = TransactionState.STARTED

    async def commit(self) -> None:
        connection = self._connection
        if await connection.execute("COMMIT") == "ROLLBACK":
            raise asyncpg.InFailedSQLTransactionError(
                "the transaction was rolled back: a statement in it failed, and its error was caught"
            )
        connection._top_xact = None
        self._state = TransactionState.COMMITTED


class AsyncpgSession:
    """One connection, and what asyncpg's proxy expects of the pool that holds it."""

    __slots__ = ("_pooled", "_proxy", "_settings", "_system", "connection")

    def __init__(self, connection: Any, *, pooled: bool) -> None:
        self.connection, self._pooled = connection, pooled
        self._settings = connection.get_settings()
        self._proxy: Any = None
        self._system: int | None = None

    @property
    def closed(self) -> bool:
        return bool(self.connection.is_closed())

    @property
    def standby(self) -> bool | None:
        # Behind pgbouncer it stays what it was when somebody connected first.
        reported = None if self._pooled else getattr(self._settings, "in_hot_standby", None)
        return None if reported is None else reported == "on"

    def lend(self) -> Any:
        self._proxy = PoolConnectionProxy(self, self.connection)
        return self._proxy

    def settle(self) -> None:
        if self._proxy is not None:
            self._proxy._detach()
            self._proxy = None
            # Cursors and prepared statements that somebody kept end with the loan.
            with suppress(asyncpg.InterfaceWarning):  # of listeners, where warnings are errors: they end too
                self.connection._on_release()

    async def reset(self) -> None:
        connection = self.connection
        if connection._protocol._is_cancelling():
            await connection._protocol._wait_for_cancellation()
        # asyncpg would do it too, and log that somebody forgot it.
        connection._top_xact = None
        connection._log_listeners.clear()
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
        await connection._reset()
        if not self._pooled:
            await connection.execute(_DISCARD + connection.get_reset_query())

    async def begin(self, isolation: str | None) -> Any:
        transaction = _Writing(self.connection, isolation, readonly=False, deferrable=False)
        await transaction.start()
        return transaction

    async def unlock(self) -> None:
        if not self._pooled:
            await self.connection.execute("SET default_transaction_read_only = off")

    async def position(self) -> int:
        lsn, page = await self.connection.fetchrow(_POSITION)
        return reachable(lsn, page)

    async def mark(self) -> tuple[int, int]:
        lsn, page, mark = await self.connection.fetchrow(_MARK)
        return reachable(lsn, page), mark

    async def status(self) -> Status:
        standby, lsn, known, timeline = await self.connection.fetchrow(_STATUS)
        if self._system is None:
            try:
                self._system = int(await self.connection.fetchval(_SYSTEM))
            except asyncpg.InsufficientPrivilegeError:
                self._system = 0
        return Status(
            standby=standby,
            lsn=int(lsn or 0),
            known=int(known),
            timeline=timeline or 0,
            system=self._system,
        )

    async def reached(self, lsn: int, timeout: float) -> bool:
        if self.connection.get_server_version().major < _WAIT_FOR_LSN:
            return False
        wait = f"WAIT FOR LSN '{format_lsn(lsn)}' WITH (TIMEOUT '{timeout * 1000:.0f}ms', NO_THROW)"
        await self.connection.execute(wait)
        return True

    @property
    def _pool(self) -> "AsyncpgSession":
        return self

    def _drop_statement_cache(self) -> None:
        """Each connection finds out for itself that a statement of its cache is outdated."""
        self.connection._drop_local_statement_cache()

    def _drop_type_cache(self) -> None:
        self.connection._drop_local_type_cache()

    async def close(self, timeout: float) -> None:
        try:
            await self.connection.close(timeout=timeout)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.connection.terminate()

    def terminate(self) -> None:
        self.connection.terminate()


class AsyncpgDriver:
    """``isolation``: as ``Connection.transaction`` has it. Other options go to ``asyncpg.connect``."""

    isolations: frozenset[str] = frozenset(ISOLATION_LEVELS)

    def __init__(self, *, application_name: str, timeout: float, **options: Any) -> None:
        self._name, self._timeout, self._options = application_name, timeout, options

    async def connect(
        self,
        dsn: str,
        *,
        pooled: bool,
        on_query: Callable[[str, float], None] | None,
        on_end: Callable[[], None] | None = None,
    ) -> AsyncpgSession:
        settings = {"application_name": self._name}
        options: dict[str, Any] = {"timeout": self._timeout, **self._options}
        if pooled:
            options["statement_cache_size"] = 0
        else:
            # A read is a read wherever it runs: on the primary too it cannot write past the floor.
            settings["default_transaction_read_only"] = "on"
        settings.update(options.pop("server_settings", None) or {})
        connection: Any = await asyncpg.connect(dsn, server_settings=settings, **options)
        if on_query is not None:
            connection.add_query_logger(_logger(on_query))
        if on_end is not None:
            connection.add_termination_listener(_listener(on_end))
        return AsyncpgSession(connection, pooled=pooled)

    def lost(self, error: BaseException) -> bool:
        return isinstance(error, _LOST) or (
            isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)
        )

    def elsewhere(self, error: BaseException) -> bool:
        return isinstance(error, asyncpg.ReadOnlySQLTransactionError) or (
            isinstance(error, asyncpg.FeatureNotSupportedError) and "recovery" in str(error)
        )


def _logger(on_query: Callable[[str, float], None]) -> Callable[[Any], None]:
    return lambda record: on_query(record.query, record.elapsed)


def _listener(on_end: Callable[[], None]) -> Callable[[Any], None]:
    return lambda _: on_end()
