"""Draining: on SIGTERM readiness fails first, and only after a while the server hears of it.

Load balancers need that while to notice. A server that closes its listener at once refuses what they go on
sending until then.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ramkit.health.events import HealthDraining
from ramkit.kernel.observers import Observer, notify

__all__ = ["Draining"]

_log = logging.getLogger("ramkit")


class Draining:
    """Whether this process is on its way out. A ``Resource`` of the kernel: it starts with lifespan.

    It stands before the server's handler of SIGTERM, if there is one: calls it ``seconds`` after the first
    signal, at each further one at once. 0 leaves SIGTERM alone. Of several in one process all begin with the
    first signal, and the server hears of it when the last is done.
    """

    def __init__(self, seconds: float, file: Path | None, observers: tuple[Observer, ...]) -> None:
        self._seconds, self._file, self._observers = seconds, file, observers
        #: SIGTERM came; of the file, which may come and go, this says nothing
        self.began = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._server: Callable[[int, FrameType | None], Any] | None = None
        #: a handler that came after us and stayed: it may go on calling us
        self._later: Any = None

    @property
    def active(self) -> bool:
        if self.began or self._file is None:
            return self.began
        try:
            return self._file.exists()
        except OSError:  # of a folder that may not be looked into
            return False

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        # No other thread is told of signals.
        if (
            self._loop is loop
            or not self._seconds
            or threading.current_thread() is not threading.main_thread()
        ):
            return
        found = signal.getsignal(signal.SIGTERM)
        if self._server is None or found not in (self._handle, self._later):
            if not callable(found):
                return
            self._server = found
            signal.signal(signal.SIGTERM, self._handle)
        self.began, self._loop, self._later = False, loop, None
        self._tell(draining=False)

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            found = signal.getsignal(signal.SIGTERM)
            if found == self._handle:
                signal.signal(signal.SIGTERM, self._server)
                self._server = None
            else:  # left where it is
                self._later = found
        self._loop = self._timer = None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        """Between two instructions of whatever runs: the loop is to do the rest."""
        if self._loop is None or self._loop.is_closed():
            self._end()
        else:
            self._loop.call_soon_threadsafe(self._heard, self._loop)

    def _heard(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.began:
            self._end()
        else:
            self._timer = loop.call_later(self._begin(), self._end)

    def _begin(self) -> float:
        """Seconds until the server is to hear of it."""
        self.began = True
        _log.warning("draining for %g s", self._seconds)
        self._tell(draining=True)
        behind = getattr(self._server, "__self__", None)
        if isinstance(behind, Draining) and behind._loop is not None and not behind.began:
            return max(self._seconds, behind._begin())
        return self._seconds

    def _tell(self, *, draining: bool) -> None:
        if self._observers:
            notify(self._observers, HealthDraining(self._seconds, int(draining)))

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server(signal.SIGTERM, None)
