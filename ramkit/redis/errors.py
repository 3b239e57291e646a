"""The room's own error."""

from ramkit.kernel.errors import Unavailable

__all__ = ["RedisUnavailable"]


class RedisUnavailable(Unavailable):
    """Redis did not answer within the deadline, or is not asked because it did not a moment ago.

    For a command other than a read it may or may not have been carried out.
    """
