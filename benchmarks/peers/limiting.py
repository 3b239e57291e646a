"""What the benchmarks of limits share: a limit that admits everybody, and a count that says so.

Standard library only: it is imported in the environments of all peers.
"""

from collections.abc import Awaitable, Callable

from benchmarks.driver import Subject

#: far more than anybody asks of one key, so that all are admitted and every decision writes
BURST = 1_000_000
RATE = "1000/s"


class Admissions:
    """A limit as an async function of the path; ``refused`` counts as renders do: none may happen."""

    def __init__(self, check: Callable[[bytes], Awaitable[bool]]) -> None:
        self.check = check
        self.refused = 0

    async def call(self, path: bytes) -> None:
        if not await self.check(path):
            self.refused += 1

    def subject(self) -> Subject:
        return Subject(call=self.call, renders=lambda: self.refused)
