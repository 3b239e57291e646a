"""``async with db.read()`` and ``async with db.write()``."""

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ramkit.db.errors import DatabaseUnavailable, DeadlineExceeded
from ramkit.db.node import Node
from ramkit.db.port import Session
from ramkit.kernel.context import RequestContext, Transaction

if TYPE_CHECKING:
    from ramkit.db.database import Database

__all__ = ["Read", "Write"]


class _Loan:
    """A connection for the body of an ``async with``, within the request's deadline."""

    __slots__ = ("_context", "_database", "_node", "_session", "_timer")

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._context: RequestContext | None = RequestContext.current()
        self._timer: asyncio.Timeout | None = None
        self._node: Node
        self._session: Session

    async def _begin_deadline(self) -> None:
        left = self._database.time_left(self._context)
        if left is not None:
            self._timer = asyncio.timeout(left)
            await self._timer.__aenter__()

    async def _end_deadline(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises ``DeadlineExceeded`` if that is what cancelled the body."""
        timer, self._timer = self._timer, None
        if timer is not None:
            try:
                await timer.__aexit__(kind, error, trace)
            except TimeoutError:
                raise DeadlineExceeded("the request's deadline passed") from error

    def _raise_if_broken(self, error: BaseException | None) -> None:
        if isinstance(error, Exception) and self._node.broke(self._session, error):
            raise DatabaseUnavailable(f"{self._node.member.name}: {error}") from error


class Read(_Loan):
    """A connection to a server that may answer, for one body; used once."""

    __slots__ = ()

    async def __aenter__(self) -> Any:
        if self._context is not None:
            await self._begin_deadline()
        try:
            self._node, self._session = await self._database.reader(self._context)
        except BaseException as error:
            await self._end_deadline(type(error), error, error.__traceback__)
            raise
        return self._session.lend()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.give_back(self._session, reading=True)
        if self._timer is not None:
            await self._end_deadline(kind, error, trace)
        if error is not None:
            self._raise_if_broken(error)


class Write(_Loan):
    """A transaction on the primary, for one body; used once. ``reads``: what it is told may be shown."""

    __slots__ = ("_active", "_begun", "_in_transaction", "_isolation", "_outer", "_reads", "_transaction")

    def __init__(
        self,
        database: "Database",
        isolation: str | None = None,
        *,
        transaction: bool = True,
        reads: bool = True,
    ) -> None:
        super().__init__(database)
        self._reads = reads
        self._isolation, self._in_transaction = isolation, transaction
        self._transaction = Transaction()
        self._outer: AbstractContextManager[None] | None = None
        self._active: AbstractContextManager[None] | None = None

    async def __aenter__(self) -> Any:
        await self._begin_deadline()
        try:
            self._node, self._session, self._begun = await self._database.writer(
                self._context, self._isolation, transaction=self._in_transaction
            )
        except BaseException as error:
            await self._end_deadline(type(error), error, error.__traceback__)
            raise
        if self._context is None:
            # What is deferred until COMMIT reads the position from the context's floor.
            self._context = RequestContext()
            self._outer = self._context.active()
            self._outer.__enter__()
        if self._reads:  # from here on: BEGIN has looked at nothing
            self._context.read_at(self._database.name, self._node.member.position)
        if self._in_transaction:
            self._active = self._transaction.active()
            self._active.__enter__()
        return self._session.lend()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._end_deadline(kind, error, trace)
            self._raise_if_broken(error)
        except BaseException:
            self._node.give_back(self._session)
            self._leave()
            raise
        if error is not None:
            await self._roll_back(error)
            return
        try:
            # Whoever cancels this now comes too late: what waited for the COMMIT must follow it.
            await asyncio.shield(self._database.in_background(self._commit()))
        finally:
            self._leave()

    async def _commit(self) -> None:
        node, session, context = self._node, self._session, self._context
        failure: Exception | None = None
        committed = False
        try:
            if self._begun is not None:
                await self._begun.commit()
            committed = True
            if context is not None:
                position, mark = await session.mark()
                node.member.lsn = max(node.member.lsn, mark)
                context.floor.raise_position(self._database.name, position)
        except Exception as error:
            failure = error
            if node.broke(session, error):
                told = f"{node.member.name}: it may or may not have committed: {error}"
                failure = DatabaseUnavailable(told)
                failure.__cause__ = error
            elif not committed:
                raise
        finally:
            node.give_back(session)
        with (context or RequestContext()).active():  # and in no transaction any more
            await self._transaction.committed()
        if failure is not None:
            raise failure

    async def _roll_back(self, error: BaseException) -> None:
        try:
            # For whoever is gone the reset does it.
            if isinstance(error, Exception) and self._begun is not None and not self._session.closed:
                await self._begun.rollback()
        except Exception as problem:
            if not self._node.broke(self._session, problem):
                raise
        finally:
            self._node.give_back(self._session)
            self._leave()

    def _leave(self) -> None:
        for each in (self._active, self._outer):
            if each is not None:
                each.__exit__(None, None, None)
        self._active = self._outer = None
