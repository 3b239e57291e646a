"""The room's own errors."""

from ramkit.kernel.errors import Unavailable

__all__ = ["RedisRefused", "RedisUnavailable"]


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


class RedisRefused(RedisUnavailable):
    """Redis answered with an error: out of memory, read-only, no permission, the wrong type.

    The command was not carried out; the others of its batch are not concerned. redis-py's error is
    its ``__cause__``.
    """
