"""Lines on their way to where they are kept: a bounded queue, and the thread that empties it."""

import asyncio
import atexit
import errno
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.observers import Observer, notify, observers_of
from ramkit.logs.backends.files import FileOutlet, StreamOutlet
from ramkit.logs.backends.syslog import SyslogOutlet
from ramkit.logs.core.line import Stamp, lost_lines
from ramkit.logs.events import LogLinesDropped, LogWriteFailed
from ramkit.logs.policy import FACILITIES, Dates, File, Stream, target_of
from ramkit.logs.port import Outlet

__all__ = ["Sink"]

_log = logging.getLogger("ramkit")

#: seconds that lines gather: a thread that woke up for each would take the interpreter from the loop
_GATHER = 0.02
#: seconds after which an outlet that failed is tried again
_RETRY = 1.0
#: seconds without a line after which the thread ends, and with it what keeps a sink that nobody has any more
_IDLE = 30.0
#: bytes that are written together
_BATCH = 65536


class Sink:
    """Takes lines and never waits; a thread of its own writes them.

    ``target``: ``stdout``, ``stderr``, ``file:///var/log/access.log``, ``syslog:///dev/log``,
    ``syslog://host:514`` (UDP), ``syslog+tcp://host:601``, the last three with ``?facility=local0&app=shop``;
    or an ``Outlet``. ``max_bytes``: of lines that wait. What comes while they are as many is dropped and
    counted (``LogLinesDropped``, told where the line came from), and once the target takes lines again, one
    says how many are missing. ``dates``: of that line. A target that fails is tried again each second
    (``LogWriteFailed``, told by the thread). ``shutdown_timeout``: seconds that what waits is given when the
    app or the process ends.
    """

    def __init__(
        self,
        target: str | Outlet = "stdout",
        *,
        max_bytes: int = 8 * 1024 * 1024,
        shutdown_timeout: float = 2.0,
        dates: Dates = "rfc3339",
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if max_bytes < 1:
            raise ConfigurationError("max_bytes", f"{max_bytes} is no bound")
        if shutdown_timeout < 0:
            raise ConfigurationError("shutdown_timeout", f"{shutdown_timeout} is negative")
        self.name = target if isinstance(target, str) else type(target).__name__
        self._clock = clock or SystemClock()
        self._outlet = _opened(target, self._clock) if isinstance(target, str) else target
        self._most, self._patience = max_bytes, shutdown_timeout
        self._stamp, self._observers = Stamp(dates), observers_of(observers)
        self._begin()
        if hasattr(os, "register_at_fork"):
            forked = weakref.WeakMethod(self._forked)  # what is registered there stays for ever
            os.register_at_fork(after_in_child=lambda: (reset := forked()) and reset())

    def _begin(self) -> None:
        # Reentrant: a signal handler may log while a line is being put.
        self._lock = threading.RLock()
        self._written = threading.Condition(self._lock)
        self._filled, self._hurry = threading.Event(), threading.Event()
        self._lines: deque[bytes] = deque()
        #: bytes of lines that wait or are being written
        self._size = 0
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._ending = self._failing = False
        self._telling = threading.local()
        #: told when the thread ends
        self._watchers: list[Callable[[], object]] = []

    def _forked(self) -> None:
        """What waits is the parent's to write, and what is open is shared with it."""
        self._begin()
        self._close_outlet()

    def put(self, line: bytes) -> bool:
        """Whether the line, ended by a line feed, was taken. From any thread."""
        size = len(line)
        with self._lock:
            taken = self._size + size <= self._most
            if taken:
                self._lines.append(line)
                self._size += size
                if self._thread is None:
                    self._start()
                if not self._filled.is_set():
                    self._filled.set()
            else:
                self._lost += 1
        if not taken and self._observers:
            self._tell_dropped()
        return taken

    def _tell_dropped(self) -> None:
        """Not of the lines that observers log about that, here, in turn: it would never end."""
        if getattr(self._telling, "now", False):
            return
        self._telling.now = True
        try:
            notify(self._observers, LogLinesDropped(self.name, 1))
        finally:
            self._telling.now = False

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all lines are written, at most so many seconds (default: ``shutdown_timeout``); whether
        they are. It blocks, so not on an event loop."""
        with self._lock:
            self._wake()
            self._written.wait_for(
                lambda: not self._size or self._thread is None, self._patience if timeout is None else timeout
            )
            return not self._size

    async def start(self) -> None:
        """The thread starts with the first line."""

    async def aclose(self) -> None:
        """Write what waits, within ``shutdown_timeout``, and end the thread; the next line starts another."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        # Not by the loop's executor, whose threads may all be busy.
        if self._end(partial(loop.call_soon_threadsafe, over.set)) is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self._patience)

    def close(self) -> None:
        """As ``aclose``, but blocks. The process calls it when it ends."""
        thread = self._end()
        if thread is not None:
            thread.join(self._patience)

    def _end(self, tell: Callable[[], object] | None = None) -> threading.Thread | None:
        atexit.unregister(self.close)
        with self._lock:
            self._wake()
            self._ending = True
            if tell is not None and self._thread is not None:
                self._watchers.append(tell)
            return self._thread

    def _wake(self) -> None:
        if self._lines and self._thread is None:
            self._start()
        self._hurry.set()
        self._filled.set()

    # -- the thread --------------------------------------------------------------------------------

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"ramkit.logs {self.name}", daemon=True)
        if self._thread is not None:  # a signal's handler put a line meanwhile
            return
        self._ending, self._thread = False, thread
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down, or there are too many
            self._thread = None
        else:
            atexit.register(self.close)

    def _run(self) -> None:
        while (lines := self._take()) is not None:
            if not lines:
                if self._filled.wait(_IDLE):
                    self._pause(_GATHER)
                else:
                    with self._lock:
                        self._ending = self._ending or not self._lines
                continue
            size = sum(map(len, lines))
            failed = self._write(lines)
            with self._lock:
                self._lines.extendleft(reversed(lines))
                self._size -= size - sum(map(len, lines))
                if failed and self._ending:
                    self._over()
                    return
                self._written.notify_all()
            if failed:
                self._pause(_RETRY)

    def _pause(self, seconds: float) -> None:
        """Unless somebody waits for what is written."""
        self._hurry.wait(0.0 if self._ending else seconds)
        self._hurry.clear()

    def _take(self) -> deque[bytes] | None:
        """What is to be written next; None if the thread is to end."""
        taken: deque[bytes] = deque()
        size = 0
        with self._lock:
            if self._lost and self._lines:
                taken.append(lost_lines(self._stamp(self._clock.time()), self._lost))
                self._size += len(taken[0])
                self._lost = 0
            while self._lines and size < _BATCH:
                size += len(self._lines[0])
                taken.append(self._lines.popleft())
            if not taken:
                if self._ending:
                    self._over()
                    return None
                self._filled.clear()
        return taken

    def _write(self, lines: deque[bytes]) -> bool:
        """Whether it failed."""
        try:
            lost = self._outlet.write(lines)
        except BaseException as error:  # of which nobody else would hear
            code = error.errno if isinstance(error, OSError) else None
            reason = errno.errorcode.get(code or 0, type(error).__name__)
            notify(self._observers, LogWriteFailed(self.name, reason))
            if not self._failing:
                self._failing = True
                _log.warning("the log sink %s failed, and is tried again: %s", self.name, error)
            return True
        self._failing = False
        if lost:
            with self._lock:
                self._lost += lost
            notify(self._observers, LogLinesDropped(self.name, lost))
        return False

    def _over(self) -> None:
        atexit.unregister(self.close)
        self._close_outlet()
        self._thread = None
        self._written.notify_all()
        watchers, self._watchers = self._watchers, []
        for tell in watchers:
            with suppress(RuntimeError):  # its loop did not wait so long
                tell()

    def _close_outlet(self) -> None:
        with suppress(Exception):  # not logged: with the lock held, a handler's may not be waited for
            self._outlet.close()


def _opened(url: str, clock: Clock) -> Outlet:
    target = target_of(url)
    if isinstance(target, Stream):
        return StreamOutlet(target.descriptor)
    if isinstance(target, File):
        return FileOutlet(target.path)
    address = target.path if target.path is not None else (target.host, target.port)
    return SyslogOutlet(
        address, tcp=target.tcp, facility=FACILITIES[target.facility], app=target.app, clock=clock
    )
