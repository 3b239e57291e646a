"""What the access log adds to a request, beside a call of the standard library's logging."""

import asyncio
import gc
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.driver import PATHS, App, bare, receive, scope_of, send
from benchmarks.goals import Goal, goal
from benchmarks.harness import Times, paired, spread
from benchmarks.report import table, write
from ramkit.logs import AccessLogMiddleware, Sink

LOOPS: dict[str, Callable[[Awaitable[Any]], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}
NAMES = {
    "added": "**ramkit**, access log to a file: added to a request",
    "call": "one `logging` call to a `NullHandler`",
    "file": "one `logging` call to a file, a plain line",
}
#: requests or calls of one round, in so many turns: whatever else the machine does hits all alike
_MANY, _TURNS = 100 * len(PATHS), 50


@dataclass
class Results:
    """Times in µs, by loop."""

    rounds: int
    times: dict[str, dict[str, Times]] = field(default_factory=dict)


async def requests(app: App) -> float:
    """Seconds for one turn's requests, one after the other."""
    begun = time.perf_counter()
    for _ in range(_MANY // _TURNS // len(PATHS)):
        for path in PATHS:
            await app(scope_of(path), receive, send)
        await asyncio.sleep(0)  # a server's loop turns, too
    return time.perf_counter() - begun


def calls(logger: logging.Logger) -> float:
    """Seconds for one turn's calls, which say what an access log says."""
    begun = time.perf_counter()
    for _ in range(_MANY // _TURNS // len(PATHS)):
        for path in PATHS:
            logger.info('%s - "%s %s HTTP/%s" %d %d', "203.0.113.7:51234", "GET", path, "1.1", 200, 1070)
    return time.perf_counter() - begun


def logger_to(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("benchmark", logging.INFO)  # noqa: LOG001 - of no tree
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    return logger


async def measure(folder: Path, rounds: int) -> dict[str, Times]:
    """All in turn, within each round; the first warms up. Raises if a line was dropped."""
    times: dict[str, Times] = {name: [] for name in NAMES}
    dropped: list[object] = []
    sink = Sink(f"file://{folder}/access.log", max_bytes=1 << 28, observers=[dropped.append])
    app = AccessLogMiddleware(bare, sink=sink)
    null, plain = logger_to(logging.NullHandler()), logger_to(logging.FileHandler(folder / "plain.log"))
    for number in range(rounds + 1):
        gc.collect()
        seen = dict.fromkeys(NAMES, 0.0)
        for _ in range(_TURNS):
            seen["added"] += await requests(app) - await requests(bare)
            seen["call"] += calls(null)
            seen["file"] += calls(plain)
        if not await asyncio.to_thread(sink.flush, 30) or dropped:
            raise RuntimeError(f"the sink did not keep up: {dropped[:3]}")
        if number:
            for name, value in seen.items():
                times[name].append(value / _MANY * 1e6)
    await sink.aclose()
    return times


def goals_of(results: Results) -> list[Goal]:
    ratios = {loop: paired(times["added"], times["call"]) for loop, times in results.times.items()}
    what = "an access log's line, in the time of one `logging` call to a `NullHandler`"
    return [goal(what, 3, ratios, least=False)]


def sections(results: Results) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    goals = [[each.what, each.wanted, each.seen, each.met] for each in goals_of(results)]
    rows = [[name, *(spread(times[row]) for times in results.times.values())] for row, name in NAMES.items()]
    return {
        "logs-goals": table(["goal", "wanted", "seen", "met"], goals),
        "logs": table(["µs", *results.times], rows) + f"\n\n{results.rounds} rounds of {_MANY:,} each.",
    }


def run(*, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    results = Results(3 if quick else 9)
    for loop, start in LOOPS.items():
        with tempfile.TemporaryDirectory() as folder:
            results.times[loop] = start(measure(Path(folder), results.rounds))
    found = sections(results)
    print("\n\n".join(found.values()), flush=True)
    if quick:
        return
    write(found)
