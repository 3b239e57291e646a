"""Draining: on SIGTERM readiness fails first, and only after a while the server hears of it.

Load balancers need that while to notice. A server that closes its listener at once refuses what they go on
sending until then.
"""

import asyncio
import logging
import signal
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

    Starting, it puts itself before the server's handler of SIGTERM. The first signal begins the draining;
    ``seconds`` later, or at the second one, the server's handler is put back and the signal raised again.
    """

    def __init__(self, seconds: float, file: Path | None, observers: tuple[Observer, ...]) -> None:
        self._seconds, self._file, self._observers = seconds, file, observers
        #: told to end; the file, which may come and go, is not looked at
        self.began = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Event | None = None
        self._server: Callable[[int, FrameType | None], Any] | int | None = None

    @property
    def active(self) -> bool:
        return self.began or (self._file is not None and self._file.exists())

    def begin(self) -> None:
        """Be unready from now on, and over in ``seconds``. On the loop."""
        if not self.began:
            self.began = True
            _log.warning("draining for %g s", self._seconds)
            if self._observers:
                notify(self._observers, HealthDraining(self._seconds))
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    async def over(self) -> None:
        """Returns when the draining is over."""
        if self._over is None:
            self._over = asyncio.Event()
        await self._over.wait()

    async def start(self) -> None:
        self.began, self._loop = False, asyncio.get_running_loop()
        if not self._seconds:
            return
        server = signal.getsignal(signal.SIGTERM)
        if server is None or server is signal.SIG_IGN:
            return  # set by another language than Python, or not heeded
        try:
            signal.signal(signal.SIGTERM, self._handle)
        except ValueError:  # not in the main thread, where signals do not come
            return
        self._server = server

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._put_back()
        self._loop = self._timer = self._over = None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        """Between two instructions of whatever runs: the loop is to do the rest."""
        if self._loop is None or self._loop.is_closed():
            self._pass_on()
        else:
            self._loop.call_soon_threadsafe(self._end if self.began else self.begin)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._over is not None:
            self._over.set()  # whoever waits for it ends the server
            self._put_back()
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._put_back():
            signal.raise_signal(signal.SIGTERM)

    def _put_back(self) -> bool:
        server, self._server = self._server, None
        if server is None or signal.getsignal(signal.SIGTERM) != self._handle:
            return False  # somebody else has taken it since
        signal.signal(signal.SIGTERM, server)
        return True
