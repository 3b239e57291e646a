"""SIGINT, SIGTERM and SIGHUP: the first one ends the demo, and nothing interrupts its cleaning up."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupted", "Signals"]

_SIGNALS = [each for each in signal.Signals if each.name in ("SIGINT", "SIGTERM", "SIGHUP")]


class Interrupted(BaseException):
    """A signal came before the demo served; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """What the first signal does: raise ``Interrupted``, cancel a task, or end ``stopped()``.

    A context manager, for the main thread.
    """

    def __init__(self) -> None:
        self._number = 0
        self._react: Callable[[], object] = self._raise
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # One that is ignored already (nohup, a shell's background job) stays so.
        heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def cancel_current_task(self) -> None:
        """From now on a signal cancels the task that calls this."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            self._react = lambda: loop.call_soon_threadsafe(task.cancel)

    async def stopped(self) -> None:
        """From now on a signal ends this call, and nothing else."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        self._react = lambda: loop.call_soon_threadsafe(event.set)
        await event.wait()

    def ignore(self) -> None:
        """From now on signals do nothing."""
        self._react = lambda: None

    def interrupted(self) -> Interrupted:
        """For whoever was cancelled."""
        return Interrupted(self._number)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self._number:
            self._number = number
            self._react()

    def _raise(self) -> None:
        raise self.interrupted()
