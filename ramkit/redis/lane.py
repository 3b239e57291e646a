"""A connection of an endpoint and what is under way on it."""

import asyncio
from collections import deque

from ramkit.redis.batching import Call, Command
from ramkit.redis.wire import Wire

__all__ = ["Lane"]


class Lane:
    """``wire`` is None before it is connected and after it was lost; ``expected``: the commands whose
    replies are to come, None for that to an ASKING."""

    __slots__ = ("batch", "began", "connecting", "expected", "rests", "task", "wire", "worn")

    def __init__(self) -> None:
        self.batch: list[Call] = []
        self.expected: deque[Command | None] = deque()
        self.wire: Wire | None = None
        self.task: asyncio.Task[None] | None = None
        self.connecting = False
        #: since when it sent, and since when it has nothing to do
        self.began = self.rests = 0.0
        #: the server is not the one that is wanted: connect anew after this batch
        self.worn = False

    def disconnect(self) -> None:
        """Expect nothing more from this connection."""
        wire, self.wire = self.wire, None
        self.worn = False
        self.expected.clear()
        if wire is not None:
            wire.close()
