"""The room's own errors."""

from ramkit.kernel.errors import Unavailable

__all__ = ["DatabaseUnavailable", "DeadlineExceeded", "PoolTimeout", "ReadOnly"]


class DatabaseUnavailable(Unavailable):
    """No server could answer, or the connection broke.

    Whether a write that it interrupted was committed is not known. ``reason``, which is also its ``str()``,
    is for logs; clients are told nothing of the servers behind.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("A service that this needs does not answer.")
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class PoolTimeout(DatabaseUnavailable):
    """All connections were lent out for as long as the caller was willing to wait."""


class ReadOnly(DatabaseUnavailable):
    """No server takes writes at the moment: the primary is gone, and nobody was promoted yet."""


class DeadlineExceeded(DatabaseUnavailable):
    """The request's deadline passed; a statement that was under way has been cancelled."""
