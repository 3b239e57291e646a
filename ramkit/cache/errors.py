"""The cache's own errors."""

from ramkit.kernel.errors import Unavailable

__all__ = ["PurgeUnconfirmed"]


class PurgeUnconfirmed(Unavailable):
    """The log did not confirm a purge within the deadline (503 when let through).

    It is queued: this process serves nothing from the cache until it went out, and the purger's
    floor says the same for its own next requests. Other processes may serve what was to be purged
    until then.
    """
