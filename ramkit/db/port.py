"""What the room asks of a driver."""

from collections.abc import Callable
from typing import Any, Protocol

from ramkit.db.core.fleet import Status

__all__ = ["Driver", "Session"]


class Session(Protocol):
    """One connection to one server."""

    #: the driver's own, for statements whose caller keeps no reference
    connection: Any

    @property
    def closed(self) -> bool: ...

    @property
    def standby(self) -> bool | None:
        """The role that the server reported with its last answer; None where it reports none."""
        ...

    def lend(self) -> Any:
        """A connection for a borrower, which raises when it is used after ``settle()``."""
        ...

    def settle(self) -> None:
        """The borrower is done."""
        ...

    async def reset(self) -> None:
        """As if newly connected, whatever its borrower did or was interrupted in. Raises what breaks."""
        ...

    async def begin(self, isolation: str | None) -> Any:
        """A transaction that may write, with ``commit()`` and ``rollback()``. Raises ``Driver.elsewhere``."""
        ...

    async def unlock(self) -> None:
        """Let statements outside of a transaction write, until the next ``reset()``."""
        ...

    async def position(self) -> int:
        """The end of the log, past all that was committed before the question."""
        ...

    async def mark(self) -> tuple[int, int]:
        """The same, and the end of the log once it has gone on: whoever becomes visible later is told a
        position no lower than that."""
        ...

    async def status(self) -> Status: ...

    async def reached(self, lsn: int, timeout: float) -> bool:
        """Wait on the server for its replay, where it can. Whether it could."""
        ...

    async def close(self, timeout: float) -> None: ...

    def terminate(self) -> None: ...


class Driver(Protocol):
    """Makes connections, and knows what their errors mean."""

    async def connect(
        self,
        dsn: str,
        *,
        pooled: bool,
        on_query: Callable[[str, float], None] | None,
        on_end: Callable[[], None] | None = None,
    ) -> Session:
        """``pooled``: by pgbouncer, in transaction mode. Raises what the driver raises."""
        ...

    def lost(self, error: BaseException) -> bool:
        """Whether the server is gone or going, or the connection to it broke."""
        ...

    def elsewhere(self, error: BaseException) -> bool:
        """Whether the server refused to write because it is no primary (SQLSTATE 25006, or 0A000 of
        BEGIN)."""
        ...
