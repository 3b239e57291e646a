"""Checks that hang, raise, are cancelled, block, and are asked by many at once."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from ramkit.health import Check
from ramkit.health.running import Runner
from ramkit.testing.client import no_leaks
from tests.health.counting import Counted

#: Seconds; only what hangs ever meets it.
PATIENCE = 20.0
#: Seconds that tests wait for a deadline to pass.
SHORT = 0.02


@pytest.fixture
async def running(clock):
    runners = []

    def make(*checks, observers=()):
        runners.append(Runner(checks, clock, tuple(observers)))
        return runners[-1]

    async with no_leaks(), asyncio.timeout(PATIENCE):
        yield make
        for each in runners:
            await each.aclose()


async def outcome(runner):
    (check,) = runner.checks
    return (await runner.outcomes([check]))[check]


async def test_a_result_is_kept_for_a_while(running, clock) -> None:
    counted = Counted()
    counted.go.set()
    runner = running(Check("counted", counted, keep=1))
    for moment, begun in ((0.0, 1), (0.9, 1), (0.2, 2)):
        clock.advance(moment)
        assert (await outcome(runner)).ok
        assert counted.begun == begun


async def test_one_that_hangs_costs_its_deadline_and_is_cancelled(running) -> None:
    begun, ended = [], []

    async def hangs():
        begun.append(True)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    runner = running(Check("hangs", hangs, deadline=SHORT, keep=0))
    for times in (1, 2):
        found = await outcome(runner)
        assert not found.ok
        assert found.output == "no answer within 0.02 s"
        await asyncio.sleep(0)
        assert len(begun) == len(ended) == times


async def test_one_that_cannot_be_cancelled_is_not_begun_again(running, clock) -> None:
    begun, go = [], asyncio.Event()

    async def stubborn():
        begun.append(True)
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    runner = running(Check("stubborn", stubborn, deadline=SHORT, keep=0))
    for _ in range(3):
        assert not (await outcome(runner)).ok
    assert len(begun) == 1
    go.set()
    while not (await outcome(runner)).ok:
        await asyncio.sleep(0)
    assert len(begun) == 2


async def test_a_thread_that_hangs_is_not_begun_again(running) -> None:
    begun, go = [], threading.Event()

    def blocks():
        begun.append(threading.current_thread())
        go.wait(PATIENCE)
        return {"fine": True}

    runner = running(Check("blocks", blocks, deadline=SHORT, keep=0, thread=True))
    for _ in range(3):
        assert not (await outcome(runner)).ok
    assert len(begun) == 1
    assert begun[0] is not threading.main_thread()
    go.set()
    while not (found := await outcome(runner)).ok:  # until the loop has heard of it
        await asyncio.sleep(0)
    assert found.details == {"fine": True}
    assert len(begun) == 2


async def fails():
    raise ValueError("no")


async def cancels():
    raise asyncio.CancelledError


async def brings_false():
    return False


@pytest.mark.parametrize(
    ("call", "output"),
    [
        (fails, "ValueError: no"),
        (cancels, "was cancelled"),
        (brings_false, "brought False"),
        (lambda: False, "brought False"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
async def test_failures(running, call, output) -> None:
    threads = (False,) if asyncio.iscoroutinefunction(call) else (False, True)
    for thread in threads:
        found = await outcome(running(Check("bad", call, thread=thread)))
        assert (found.ok, found.output) == (False, output)


class Unsayable(Exception):
    def __str__(self):
        raise self


class Odd(BaseException):
    pass


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize(
    ("error", "output"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (Odd("x"), "Odd: x"),
        (Unsayable(), "Unsayable"),
        (StopIteration(1), "StopIteration: 1"),
        (BaseExceptionGroup("two", [Odd()]), "BaseExceptionGroup: two (1 sub-exception)"),
    ],
    ids=repr,
)
async def test_odd_errors_are_failures_like_others(running, error, output, thread) -> None:
    def call():
        raise error

    runner = running(Check("odd", call, thread=thread, keep=0))
    for _ in range(2):
        found = await outcome(runner)
        assert (found.ok, found.output) == (False, output)


class Unmapped(Mapping):
    def __getitem__(self, name):
        raise LookupError

    def __iter__(self):
        return iter("a")

    def __len__(self):
        return 1


CIRCLE = {}
CIRCLE["a"] = CIRCLE


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ({(1, 2): 3, "a": 1}, {"a": 1}),
        ({"a": float("nan"), "b": float("inf")}, {"a": "NaN", "b": "Infinity"}),
        ({"a": Path("/x")}, {"a": "/x"}),
        (CIRCLE, {"output": "ValueError: Circular reference detected"}),
        ({"a": Unsayable()}, {"output": "Unsayable"}),
        (Unmapped(), {"output": "LookupError: "}),
    ],
    ids=["key", "constants", "path", "circle", "unsayable", "unmapped"],
)
async def test_odd_details_fail_nothing(running, details, told) -> None:
    found = await outcome(running(Check("odd", lambda: details)))
    assert found.ok
    assert found.details == told


async def test_one_that_somebody_cancels_runs_again(running) -> None:
    counted = Counted()
    runner = running(Check("counted", counted, keep=0))
    asked = asyncio.create_task(outcome(runner))
    while not counted.begun:
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task(), asked}:
        task.cancel()
    assert not (await asked).ok
    counted.go.set()
    assert (await outcome(runner)).ok


@pytest.mark.parametrize("result", [None, 1, 0, b"PONG", "", {"a": 1}, {}])
async def test_what_passes(running, result) -> None:
    found = await outcome(running(Check("good", lambda: result)))
    assert found.ok
    assert found.details == (result if isinstance(result, dict) else {})


async def test_checks_run_side_by_side(running) -> None:
    met = asyncio.Barrier(3)
    runner = running(*(Check(name, met.wait) for name in "abc"))
    found = await runner.outcomes(runner.checks)
    assert [each.ok for each in found.values()] == [True] * 3


async def test_observers_and_log_hear_of_it(running, clock, caplog) -> None:
    seen, well = [], [True]

    def call():
        if not well[0]:
            raise OSError("away")

    runner = running(Check("mine", call, keep=0), observers=[seen.append])
    for state in (True, False, False, True):
        well[0] = state
        await outcome(runner)
    assert [(event.check, event.failed) for event in seen] == [("mine", each) for each in (0, 1, 1, 0)]
    assert caplog.messages == [
        "health check mine fails: OSError: away", "health check mine passes again",
    ]  # fmt: skip


async def test_closing_ends_what_runs(running) -> None:
    counted = Counted()
    runner = running(Check("counted", counted))
    probe = asyncio.create_task(outcome(runner))
    while not counted.begun:
        await asyncio.sleep(0)
    await runner.aclose()
    assert not (await probe).ok
    counted.go.set()
    assert (await outcome(runner)).ok


def test_another_loop_begins_anew(clock) -> None:
    runner = Runner([Check("good", lambda: None)], clock, ())
    for _ in range(2):
        assert asyncio.run(outcome(runner)).ok
