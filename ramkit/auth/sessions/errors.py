"""The room's own errors."""

from ramkit.kernel.errors import RamkitError, Unavailable

__all__ = ["SessionTooLarge", "SessionUnavailable"]


class SessionUnavailable(Unavailable):
    """The session could not be read or stored: its store did not answer (503 when let through).

    Raised by the first touch of a session whose read failed, not by the request that carries it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The session is not available at the moment.")
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class SessionTooLarge(RamkitError, ValueError):
    """A session would take ``size`` bytes, or keys, where ``bound`` are allowed; it was not stored."""

    def __init__(self, size: int, bound: int, unit: str = "bytes") -> None:
        super().__init__(f"the session takes {size} {unit}, of {bound} that are allowed")
        self.size, self.bound = size, bound
