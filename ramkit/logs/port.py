"""What a sink writes to."""

from collections import deque
from typing import Protocol

__all__ = ["Outlet"]


class Outlet(Protocol):
    """Where lines end up. Used by one thread at a time; may block."""

    def write(self, lines: deque[bytes]) -> int:
        """Write the lines, each ended by a line feed, and take them off the deque from the left as they are
        written; what is left of one that was written in part takes its place.

        Opens what is not open. Returns how many were taken off that never could be written. Raises
        ``OSError`` at the first that cannot be written now; it is called again with what is left.
        """
        ...

    def close(self) -> None:
        """Close what is open, without touching what another process shares; ``write`` opens it again."""
        ...
