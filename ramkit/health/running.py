"""Runs checks: each at most once at a time, within its deadline, its result kept for a moment."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from inspect import isawaitable
from typing import Any, cast

from ramkit.health.core import Outcome
from ramkit.health.events import HealthChecked
from ramkit.health.policy import Check
from ramkit.kernel.clock import Clock
from ramkit.kernel.lifespan import LoopBound
from ramkit.kernel.observers import Observer, notify

__all__ = ["Runner"]

_log = logging.getLogger("ramkit")

#: Seconds that a cancelled check has to clean up.
_GRACE = 0.5


class Runner(LoopBound):
    """The checks of one process. They belong to it, not to the probe that happened to cause them."""

    def __init__(self, checks: Iterable[Check], clock: Clock, observers: tuple[Observer, ...]) -> None:
        super().__init__()
        self._clock, self._observers = clock, observers
        self._known: dict[Check, Outcome] = {}
        self._running: dict[Check, asyncio.Future[Outcome]] = {}
        #: what went on when its deadline was over
        self._late: dict[Check, asyncio.Future[Any]] = {}
        self.checks = tuple(checks)

    async def outcomes(self, checks: Iterable[Check]) -> dict[Check, Outcome]:
        """What these checks come to, all at the same time: after the longest deadline at most."""
        self.attach()
        now = self._clock.monotonic()
        found: dict[Check, Outcome] = {}
        waiting: dict[Check, asyncio.Future[Outcome]] = {}
        for check in checks:
            known = self._known.get(check)
            found[check] = known if known is not None else _UNKNOWN
            if known is None or not known.fresh(now, check.keep):
                waiting[check] = self._run(check)
        if waiting:
            # Not gather: that would cancel the checks with the probe.
            await asyncio.wait(waiting.values())
        for check, run in waiting.items():
            found[check] = _UNKNOWN if run.cancelled() else run.result()
        return found

    async def start(self) -> None:
        """Checks run when somebody asks."""

    def forget(self) -> None:
        self._known, self._running, self._late = {}, {}, {}

    async def aclose(self) -> None:
        for late in self._late.values():
            late.cancel()
        await super().aclose()
        self.forget()

    def _run(self, check: Check) -> "asyncio.Future[Outcome]":
        running = self._running.get(check)
        if running is None:
            running = self._running[check] = asyncio.ensure_future(self._outcome(check))
            self.spawn(running)
        return running

    async def _outcome(self, check: Check) -> Outcome:
        began = self._clock.monotonic()
        ok, output, details = False, "", dict[str, object]()
        try:
            ok, details = _judged(await self._call(check))
            output = "" if ok else "brought False"
        except TimeoutError:
            output = f"no answer within {check.deadline:g} s"
        except Exception as error:
            output = f"{type(error).__name__}: {error}"
        finally:
            self._running.pop(check, None)
        now = self._clock.monotonic()
        outcome = Outcome(ok, now, self._clock.time(), now - began, output, details)
        self._tell(check, outcome)
        return outcome

    async def _call(self, check: Check) -> object:
        # A check that neither ends nor can be cancelled is not begun a second time.
        late = self._late.pop(check, None)
        if late is not None and late.done():
            late = None
        call: asyncio.Future[Any] = asyncio.ensure_future(_called(check)) if late is None else late
        try:
            done, _ = await asyncio.wait([call], timeout=check.deadline)
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.wait([call], timeout=_GRACE)
            raise
        if not done:
            self._late[check] = call
            if not check.thread:  # a thread cannot be cancelled, only waited for
                call.cancel()
            call.add_done_callback(_heard)
            raise TimeoutError
        if late is not None:
            raise TimeoutError  # it ended, in the time of the next
        if call.cancelled():
            raise RuntimeError("was cancelled")
        return call.result()

    def _tell(self, check: Check, outcome: Outcome) -> None:
        before = self._known.get(check)
        self._known[check] = outcome
        if not outcome.ok and (before is None or before.ok):
            _log.warning("health check %s fails: %s", check.name, outcome.output)
        elif outcome.ok and before is not None and not before.ok:
            _log.warning("health check %s passes again", check.name)
        if self._observers:
            notify(self._observers, HealthChecked(check.name, int(outcome.ok), outcome.seconds))


_UNKNOWN = Outcome(ok=False, at=0.0, time=0.0, seconds=0.0, output="was cancelled")


def _heard(call: "asyncio.Future[Any]") -> None:
    """What a late call came to is of no interest; without this asyncio would complain."""
    with suppress(asyncio.CancelledError):
        call.exception()


def _judged(result: object) -> tuple[bool, dict[str, object]]:
    if isinstance(result, Mapping):
        return True, dict(cast(Mapping[str, object], result))
    return result is not False, {}


async def _called(check: Check) -> object:
    if check.thread:
        return await _in_thread(check.call)
    result = check.call()
    return await cast(Awaitable[object], result) if isawaitable(result) else result


def _in_thread(call: Callable[[], object]) -> "asyncio.Future[object]":
    """In a thread of its own: one that hangs takes no place in the loop's pool, and holds up no exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: object) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        try:
            told, value = future.set_result, call()
        except Exception as error:
            told, value = future.set_exception, error
        with suppress(RuntimeError):  # the loop is gone, and nobody waits
            loop.call_soon_threadsafe(settle, told, value)

    threading.Thread(target=run, name="ramkit-health", daemon=True).start()
    return future
