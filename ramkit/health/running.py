"""Runs checks: each at most once at a time, within its deadline, its result kept for a moment."""

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from inspect import isawaitable
from typing import NamedTuple, cast

from ramkit.health.core import Outcome
from ramkit.health.events import HealthChecked
from ramkit.health.policy import Check
from ramkit.kernel.clock import Clock
from ramkit.kernel.lifespan import LoopBound
from ramkit.kernel.observers import Observer, notify

__all__ = ["Runner"]

_log = logging.getLogger("ramkit")

#: Seconds that checks which are cancelled have to clean up.
_GRACE = 0.5


class _Result(NamedTuple):
    """``output``: what went wrong."""

    ok: bool
    output: str = ""
    details: Mapping[str, object] = {}


_CANCELLED = _Result(ok=False, output="was cancelled")


class Runner(LoopBound):
    """The checks of one process. They belong to it, not to the probe that happened to cause them."""

    def __init__(self, checks: Iterable[Check], clock: Clock, observers: tuple[Observer, ...]) -> None:
        super().__init__()
        self.checks = tuple(checks)
        self._clock, self._observers = clock, observers
        self.forget()

    def forget(self) -> None:
        self._known: dict[Check, Outcome] = {}
        #: what probes wait for, their deadline at most
        self._running: dict[Check, asyncio.Task[Outcome]] = {}
        #: the checks' own doing, which may go on beyond that
        self._calls: dict[Check, asyncio.Task[_Result]] = {}

    async def start(self) -> None:
        """Checks run when somebody asks."""

    async def aclose(self) -> None:
        await super().aclose()
        for call in self._calls.values():
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=_GRACE)
        self.forget()

    async def outcomes(self, checks: Iterable[Check]) -> dict[Check, Outcome]:
        """What these checks come to, all at the same time: after the longest deadline at most."""
        self.attach()
        now = self._clock.monotonic()
        found: dict[Check, Outcome] = {}
        runs: dict[Check, asyncio.Task[Outcome]] = {}
        for check in checks:
            known = self._known.get(check)
            if known is not None and known.fresh(now, check.keep):
                found[check] = known
            else:
                runs[check] = self._run(check)
        if runs:
            # Not gather: that would cancel the checks with the probe.
            await asyncio.wait(runs.values())
        for check, run in runs.items():
            found[check] = self._outcome(_CANCELLED, now) if run.cancelled() else run.result()
        return found

    def _run(self, check: Check) -> "asyncio.Task[Outcome]":
        run = self._running.get(check)
        if run is None:
            run = self._running[check] = asyncio.create_task(self._judge(check))
            self.spawn(run)
        return run

    async def _judge(self, check: Check) -> Outcome:
        began, running = self._clock.monotonic(), self._running
        try:
            result = await self._result(check)
        finally:
            del running[check]
        outcome = self._outcome(result, began)
        before = self._known.get(check)
        self._known[check] = outcome
        if not outcome.ok and (before is None or before.ok):
            _log.warning("health check %s fails: %s", check.name, outcome.output)
        elif outcome.ok and before is not None and not before.ok:
            _log.warning("health check %s passes again", check.name)
        if self._observers:
            notify(self._observers, HealthChecked(check.name, int(not outcome.ok), outcome.seconds))
        return outcome

    def _outcome(self, result: _Result, began: float) -> Outcome:
        now = self._clock.monotonic()
        return Outcome(result.ok, now, self._clock.time(), now - began, result.output, result.details)

    async def _result(self, check: Check) -> _Result:
        calls = self._calls
        if check not in calls:  # one that still goes on, beyond its deadline, is not begun a second time
            call = calls[check] = asyncio.create_task(_ask(check))
            call.add_done_callback(lambda _: calls.pop(check))
            await asyncio.wait([call], timeout=check.deadline)
            if call.done():
                return _CANCELLED if call.cancelled() else call.result()
            if not check.thread:  # which cannot be cancelled, only waited for
                call.cancel()
        return _Result(ok=False, output=f"no answer within {check.deadline:g} s")


async def _ask(check: Check) -> _Result:
    try:
        result = await _in_thread(check.call) if check.thread else check.call()
        if isawaitable(result):
            result = await cast(Awaitable[object], result)
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a check that calls sys.exit() would end the server
        return _failure(error)
    if isinstance(result, _Result):
        return result
    if isinstance(result, Mapping):
        return _Result(ok=True, details=_plain(cast(Mapping[str, object], result)))
    return _Result(ok=False, output="brought False") if result is False else _Result(ok=True)


def _failure(error: BaseException) -> _Result:
    said = type(error).__name__
    with suppress(Exception):  # of errors that cannot be written
        said = f"{said}: {error}"
    return _Result(ok=False, output=said)


def _plain(details: Mapping[str, object]) -> Mapping[str, object]:
    """What JSON can say of them: they are shown to people, and fail no probe."""
    try:
        text = json.dumps(dict(details), default=str, skipkeys=True)
        plain: dict[str, object] = json.loads(text, parse_constant=str)
    except Exception as error:
        return {"output": _failure(error).output}
    return plain


def _in_thread(call: Callable[[], object]) -> "asyncio.Future[object]":
    """In a thread of its own: one that hangs takes no place in the loop's pool, and holds up no exit."""
    told: Future[object] = Future()
    told.set_running_or_notify_cancel()  # from now on it cannot be cancelled

    def run() -> None:
        try:
            told.set_result(call())
        except BaseException as error:  # else nobody would ever hear of its end
            told.set_result(_failure(error))  # as StopIteration, say, no future raises

    threading.Thread(target=run, name="ramkit-health", daemon=True).start()
    return asyncio.wrap_future(told)
