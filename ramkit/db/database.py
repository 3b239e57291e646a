"""The database: servers, roles, and the way from a statement to a connection."""

import asyncio
import os
from collections.abc import Coroutine, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

from ramkit.db.core.dsn import servers_in
from ramkit.db.core.fleet import Member
from ramkit.db.core.lsn import format_lsn, parse_lsn
from ramkit.db.errors import DatabaseUnavailable, DeadlineExceeded
from ramkit.db.loans import Read, Write
from ramkit.db.node import Node
from ramkit.db.policy import DatabasePolicy, Server
from ramkit.db.port import Driver, Session
from ramkit.db.servers import Servers
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.lifespan import LoopBound
from ramkit.kernel.observers import Observer, observers_of

__all__ = ["Database", "Position"]

_OPTIONS = frozenset(DatabasePolicy.__dataclass_fields__)


class Position:
    """A floor that can travel: ``str()`` of it is the LSN that a replica must have replayed, as in
    ``0/16B3748``."""

    __slots__ = ("_context", "_database")

    def __init__(self, database: str, context: RequestContext) -> None:
        self._database, self._context = database, context

    def __str__(self) -> str:
        return format_lsn(self._context.floor.positions.get(self._database, 0))


class Database(LoopBound):
    """PostgreSQL, one server or several, whichever of them is the primary.

    ``primary``, ``replicas``: a URL, libpq's ``keyword=value`` string, the name of an environment variable
    that holds one, or a ``Server`` behind pgbouncer. A string may name several hosts. Which is which is found
    out. ``name``: of its floor, the same in all processes. ``options``: those of ``DatabasePolicy``, and of
    ``asyncpg.connect`` (``ssl``, ``server_settings``, …).
    """

    def __init__(
        self,
        primary: "str | Server",
        replicas: "Iterable[str | Server]" = (),
        *,
        name: str = "main",
        observers: Iterable[Observer] = (),
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if not name or not name.isidentifier():
            raise ConfigurationError("name", f"{name!r} is no identifier")
        self.name = name
        self.policy = DatabasePolicy(**{key: options.pop(key) for key in _OPTIONS & options.keys()})
        self._options = options
        self._given = _servers("primary", primary)
        for each in replicas:
            self._given += _servers("replicas", each)
        self._observers = observers_of(observers)
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._servers: Servers | None = None

    # -- the public way in ---------------------------------------------------------------------------

    def read(self) -> Read:
        """``async with db.read() as connection``: of a server at or past the request's floor, for reading
        only.

        Raises ``PoolTimeout`` or ``DatabaseUnavailable``.
        """
        return Read(self)

    def write(self, *, isolation: str | None = None, transaction: bool = True) -> Write:
        """``async with db.write() as connection``: a transaction on the primary, which raises the floor.

        ``isolation``: ``read_committed``, ``repeatable_read`` or ``serializable``. ``transaction=False`` is
        for statements that must not be in one. Raises ``PoolTimeout``, ``ReadOnly`` or
        ``DatabaseUnavailable``.
        """
        return Write(self, isolation, transaction=transaction)

    async def fetch(self, query: str, *arguments: Any) -> "list[Any]":
        """The rows of a query that only reads; asked of another server when one breaks."""
        rows: list[Any] = await self._ask("fetch", query, arguments)
        return rows

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        """The first row, or None; otherwise as ``fetch``."""
        return await self._ask("fetchrow", query, arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """The first row's first value, or None; otherwise as ``fetch``."""
        return await self._ask("fetchval", query, arguments)

    async def execute(self, query: str, *arguments: Any) -> str:
        """One statement that writes, in a transaction of its own; the command's tag, such as ``UPDATE 3``."""
        async with Write(self, reads=False) as connection:
            tag: str = await connection.execute(query, *arguments)
        return tag

    async def executemany(self, query: str, arguments: Iterable[Sequence[Any]]) -> None:
        """One statement for each of many arguments: all of them, or none."""
        async with Write(self, reads=False) as connection:
            await connection.executemany(query, arguments)

    async def copy(
        self, table: str, records: Any, *, columns: Sequence[str] | None = None, schema: str | None = None
    ) -> str:
        """COPY an iterable of tuples, also an asynchronous one, into a table: all of them, or none."""
        async with Write(self, reads=False) as connection:
            tag: str = await connection.copy_records_to_table(
                table, records=records, columns=columns, schema_name=schema
            )
        return tag

    @contextmanager
    def floor(self, position: "Position | str | None" = None) -> Generator["Position", None, None]:
        """For what is no request (a job, a message of a WebSocket): reads inside see what was written inside.

        ``position``: where to begin, such as ``str()`` of what another's floor gave. Raises ``ValueError``.
        """
        context = RequestContext()
        if position is not None:
            context.floor.raise_position(self.name, parse_lsn(str(position)))
        with context.active():
            yield Position(self.name, context)

    def lags(self) -> dict[str, float | None]:
        """Seconds by which each replica was behind when its monitor last looked, by its name; None for one
        that is away."""
        return self._current().lags()

    def passed(self, lsn: int) -> float | None:
        """For how many seconds every replica is known to have replayed that position; None if one has not, or
        does not answer. Asks nobody."""
        return None if self._servers is None else self._servers.passed(lsn)

    # -- resources -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open connections to each server; returns when one can be read from.

        A server that is down does not keep the others from serving. Raises ``DatabaseUnavailable``.
        """
        await self._current().ready()

    async def aclose(self) -> None:
        """Wait for what is lent out, at most ``close_timeout``, and close all connections."""
        servers = self._servers
        here = servers is not None and servers.loop is asyncio.get_running_loop()
        if servers is not None and here:
            await servers.drain()
        await super().aclose()
        if servers is not None and here:
            await servers.aclose()
        # Not before: who came meanwhile would have opened all of it again.
        if self._servers is servers:
            self._servers = None

    def forget(self) -> None:
        self._servers = None

    # -- for the loans -------------------------------------------------------------------------------

    def time_left(self, context: RequestContext | None) -> float | None:
        """Seconds until the request's deadline, if it has one. Raises ``DeadlineExceeded``."""
        if context is None or context.deadline is None:
            return None
        left = context.deadline - self._clock.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the request's deadline passed")
        return left

    def in_background(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run to its end, whatever becomes of whoever waits for it; closing waits too."""
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def reader(self, context: RequestContext | None) -> tuple[Node, Session]:
        """A connection for reading, lent out, and its server."""
        return await self._current().reader(context, self.time_left(context))

    async def writer(
        self, context: RequestContext | None, isolation: str | None, *, transaction: bool
    ) -> tuple[Node, Session, Any]:
        """A connection to the primary, lent out, with a transaction begun."""
        return await self._current().writer(self.time_left(context), isolation, transaction=transaction)

    # -- inside --------------------------------------------------------------------------------------

    def _current(self) -> Servers:
        servers = self._servers
        if servers is None or servers.loop is not asyncio.get_running_loop():
            if servers is not None and servers.loop.is_running():
                raise RuntimeError(f"{self.name} is in use on another loop: call it by anyio.from_thread.run")
            self.attach()
            servers = self._servers = Servers(
                self.name, self._given, self.policy, self._driver(), self._observers, self._clock
            )
            for monitor in servers.monitors():
                self.spawn(monitor.run())
        return servers

    def _driver(self) -> Driver:
        from ramkit.db.backends.asyncpg import AsyncpgDriver

        policy = self.policy
        return AsyncpgDriver(
            application_name=policy.application_name, timeout=policy.connect_timeout, **self._options
        )

    async def _ask(self, method: str, query: str, arguments: tuple[Any, ...]) -> Any:
        """A statement of its own: when its server breaks, another is asked, once."""
        context = RequestContext.current()
        servers = self._current()
        avoid: Member | None = None
        while True:
            left = self.time_left(context)
            node, session = await servers.reader(context, left, avoid)
            try:
                return await getattr(session.connection, method)(query, *arguments, timeout=left)
            except Exception as error:
                if left is not None and isinstance(error, TimeoutError) and not session.closed:
                    raise DeadlineExceeded("the request's deadline passed") from error
                if not node.broke(session, error):
                    raise
                if avoid is not None:
                    raise DatabaseUnavailable(f"{node.member.name}: {error}") from error
                avoid = node.member
            finally:
                node.give_back(session, reading=True)


def _servers(argument: str, given: "str | Server") -> list[Server]:
    """One for each host; its monitor goes the same way, unless it is told another."""
    if isinstance(given, Server):
        return [given]
    try:
        return [Server(dsn, dsn) for dsn in servers_in(given, os.environ)]
    except ValueError as error:
        raise ConfigurationError(argument, str(error)) from None
