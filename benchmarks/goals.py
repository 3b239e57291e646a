"""What the cache is to reach, and whether it did. Nothing fails by it: a table says so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.harness import Times, median, paired

if TYPE_CHECKING:
    from benchmarks.report import Results


@dataclass
class Goal:
    """One line of the table, as text."""

    what: str
    wanted: str
    seen: str
    met: str


def goal(what: str, wanted: float, ratios: dict[str, Times], *, least: bool) -> Goal:
    """``ratios`` by event loop; met only when the median is on the right side under each."""
    medians = {loop: median(times) for loop, times in ratios.items() if times}
    seen = ", ".join(f"{value:.2f} ({loop})" for loop, value in medians.items()) or "not measured"
    good = [value >= wanted if least else value <= wanted for value in medians.values()]
    sign = "≥" if least else "≤"
    return Goal(what, f"{sign} {wanted:g} x", seen, ("yes" if all(good) else "**no**") if good else "-")


def goals_of(results: "Results") -> list[Goal]:
    """The goals, in the order of the sections."""
    unit = _each(results, lambda times: paired(times["ramkit", "tiered"], times["ramkit", "bare"]))
    cashews = _each(results, lambda times: _faster(times, ("cashews", "client side")))
    caches = _each(results, lambda times: _faster(times, ("starlette_caches", "memory")))
    redis: dict[int, dict[str, Times]] = {1: {}, 64: {}}
    for (loop, flight), times in results.from_redis.items():
        if ("ramkit", "redis") in times and ("ramkit", "get") in times:
            redis[flight][loop] = paired(times["ramkit", "redis"], times["ramkit", "get"])
    many = {loop: [1 / ratio for ratio in ratios] for loop, ratios in redis[64].items()}
    wire = {"uvloop": paired(results.wire["tiered"], results.wire["plain"])} if results.wire else {}
    purges = {each.members: each for each in results.purges}
    least, most = purges[min(purges)], purges[max(purges)]
    size = {"median": [median(most.times) / median(least.times)]}
    return [
        goal("a hit in process, in the time of a bare ASGI app", 3, unit, least=False),
        goal("… faster than cashews with client-side caching", 8, cashews, least=True),
        goal("… faster than starlette-caches", 20, caches, least=True),
        goal("a hit in Redis, 64 in flight, in throughput of plain GETs", 4, many, least=True),
        goal("… one in flight, in the time of a plain GET", 1.3, redis[1], least=False),
        goal("hits through uvicorn, in requests/s of the bare app", 0.9, wire, least=True),
        goal(f"purging {most.members:,} members, in the time of {least.members}", 1.5, size, least=False),
    ]


def _each(results: "Results", make: Callable[[dict[tuple[str, str], Times]], Times]) -> dict[str, Times]:
    found: dict[str, Times] = {}
    for loop, times in results.in_process.items():
        try:
            found[loop] = make(times)
        except KeyError:
            continue
    return found


def _faster(times: dict[tuple[str, str], Times], row: tuple[str, str]) -> Times:
    """How much longer that row takes; both in units of the bare app in their own interpreters."""
    theirs = paired(times[row], times[row[0], "bare"])
    ours = paired(times["ramkit", "tiered"], times["ramkit", "bare"])
    return paired(theirs, ours)
