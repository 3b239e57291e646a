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
    signal, at each further one at once. 0 leaves SIGTERM alone.
    """

    def __init__(self, seconds: float, file: Path | None, observers: tuple[Observer, ...]) -> None:
        self._seconds, self._file, self._observers = seconds, file, observers
        #: SIGTERM came; of the file, which may come and go, this says nothing
        self.began = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._server: Callable[[int, FrameType | None], Any] | None = None

    @property
    def active(self) -> bool:
        return self.began or (self._file is not None and self._file.exists())

    async def start(self) -> None:
        if self._loop is not None or not self._seconds:
            return
        self.began = False
        server = signal.getsignal(signal.SIGTERM)
        # No other thread is told of signals.
        if callable(server) and threading.current_thread() is threading.main_thread():
            self._server, self._loop = server, asyncio.get_running_loop()
            signal.signal(signal.SIGTERM, self._handle)

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # One that came after us is left where it is, and may go on calling us.
        if self._server is not None and signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._server)
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
            return
        self.began = True
        self._timer = loop.call_later(self._seconds, self._end)
        _log.warning("draining for %g s", self._seconds)
        if self._observers:
            notify(self._observers, HealthDraining(self._seconds))

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server(signal.SIGTERM, None)
