"""Purges on their way into the log, and those that it has not confirmed yet."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ramkit.cache.core import purging
from ramkit.cache.errors import PurgeUnconfirmed
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.log import Log

__all__ = ["Purges"]

#: More than this wait for a log that is away: they become one purge of everything.
_MOST = 1000
#: Seconds between tries while the log is away.
_RETRY = 0.5


class Purges:
    """Sends purges; keeps those that are unconfirmed, in order, until they went out.

    A purge whose confirmation was lost may be in the log already: a second one does no harm.
    """

    def __init__(self, log: Log, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._log, self._spawn = log, spawn
        #: unconfirmed purges of this process, oldest first; the same object for ever
        self.waiting: deque[bytes] = deque()
        self._flushing: asyncio.Future[bool] | None = None
        self._retrying = False

    async def send(self, message: bytes, *, replicas: int = 0) -> tuple[int, int]:
        """The purge's place in the log, once it is there and folded. Raises ``PurgeUnconfirmed``."""
        try:
            return await self._log.append(message, replicas=replicas)
        except Unavailable as error:
            self._queue(message)
            raise PurgeUnconfirmed("The purge is queued: the log has not confirmed it.") from error
        except BaseException:
            self._queue(message)  # cancelled half-way: the purge is not forgotten
            raise

    async def flush(self) -> bool:
        """Try to send all that wait; whether none is left. Concurrent calls share one try."""
        flushing = self._flushing
        if flushing is None or flushing.done() or flushing.get_loop() is not asyncio.get_running_loop():
            flushing = self._flushing = asyncio.ensure_future(self._flush())
        return await asyncio.shield(flushing)

    async def _flush(self) -> bool:
        try:
            while self.waiting:
                message = self.waiting[0]
                await self._log.append(message)
                if self.waiting[0] is message:
                    self.waiting.popleft()
        except Unavailable:
            return False
        return True

    def _queue(self, message: bytes) -> None:
        self.waiting.append(message)
        if len(self.waiting) > _MOST:
            self.waiting.clear()
            self.waiting.append(purging.message((), patterns=("*",)))
        if not self._retrying:
            self._retrying = True
            self._spawn(self._retry())

    async def _retry(self) -> None:
        try:
            while self.waiting:
                if not await self.flush():
                    await asyncio.sleep(_RETRY)
        finally:
            self._retrying = False
