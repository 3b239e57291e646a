"""What a store of limits does."""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from ramkit.limits.core import Charge

__all__ = ["LimitStore"]


class LimitStore(Protocol):
    """TATs by key, on one clock for all who share it."""

    def take(self, charges: Sequence[Charge]) -> Awaitable[Sequence[int]]:
        """Make all of these charges or none, and return every key's backlog as it was before, in µs (0 for
        a key that is not known; never more than its charge's limit).

        They are made if and only if all of them fit (``core.admits``). No key is twice in one call. Two
        calls never see the same backlog unless the first changed nothing. What was charged is kept until
        it is earned again, then forgotten. A store that is bounded forgets keys that are idle first, then
        those that will be soonest. Raises ``kernel.errors.Unavailable``, in time.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened; usable again afterwards."""
        ...
