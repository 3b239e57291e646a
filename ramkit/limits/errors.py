"""The room's own errors."""

from ramkit.kernel.errors import Unavailable

__all__ = ["LimitUnavailable"]


class LimitUnavailable(Unavailable):
    """The store did not answer, and the policy says ``on_failure="closed"`` (503 when let through)."""
