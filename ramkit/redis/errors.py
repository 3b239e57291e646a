"""The room's own error."""

from ramkit.kernel.errors import Unavailable

__all__ = ["RedisUnavailable"]


class RedisUnavailable(Unavailable):
    """Redis did not answer within the deadline, or is not asked because it did not a moment ago.

    For a command other than a read it may or may not have been carried out. ``reason``, which is also
    its ``str()``, is for logs; clients are told nothing of the servers behind.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("A service that this needs does not answer.")
        self.reason = reason

    def __str__(self) -> str:
        return self.reason
