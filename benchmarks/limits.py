"""Limits beside limits and slowapi: what a decision costs, and what it adds to a request."""

import time
from dataclasses import dataclass, field

from benchmarks.cache import redis_server
from benchmarks.environments import LIMITS
from benchmarks.goals import Goal, goal
from benchmarks.harness import Team, Times, paired, spread
from benchmarks.report import table, write

LOOPS = ["asyncio", "uvloop"]
#: requests in flight: in memory nothing waits, so there one says it all
FLIGHTS = [1, 64]
Row = tuple[str, str]

NAMES: dict[Row, str] = {
    ("ramkit_limits", "check, memory"): "**ramkit**, `limiter.check`, memory",
    ("ramkit_limits", "check, redis"): "**ramkit**, `limiter.check`, Redis",
    ("limits", "sliding window, memory"): "limits, sliding window, memory",
    ("limits", "sliding window, redis"): "limits, sliding window, Redis",
    ("limits", "fixed window, memory"): "limits, fixed window, memory",
    ("limits", "fixed window, redis"): "limits, fixed window, Redis",
}
#: what it adds: with it, without it
ADDED: dict[Row, tuple[Row, str]] = {
    ("ramkit_limits", "middleware, memory"): (("ramkit_limits", "bare"), "**ramkit**, middleware, memory"),
    ("ramkit_limits", "middleware, redis"): (("ramkit_limits", "bare"), "**ramkit**, middleware, Redis"),
    ("slowapi", "memory"): (("slowapi", "FastAPI alone"), "slowapi, decorator, memory"),
    ("slowapi", "redis"): (("slowapi", "FastAPI alone"), "slowapi, decorator, Redis"),
}
OURS, OURS_REDIS = ("ramkit_limits", "check, memory"), ("ramkit_limits", "check, redis")
ADDS, SLOWAPI = ("ramkit_limits", "middleware, redis"), ("slowapi", "redis")


@dataclass
class Results:
    """Times in µs a request, by loop and requests in flight."""

    rounds: int
    times: dict[tuple[str, int], dict[Row, Times]] = field(default_factory=dict)
    versions: dict[str, set[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def measure(redis_url: str, rounds: int) -> Results:
    """Each package in its own process; they take turns."""
    results = Results(rounds)
    rows = [*NAMES, *ADDED, *{without for without, _ in ADDED.values()}]
    for loop in LOOPS:
        print(f"{time.strftime('%H:%M:%S')} limits: {loop}", flush=True)
        team = Team(loop)
        try:
            team.start(["ramkit_limits", *LIMITS], redis_url)
            for worker in team.workers.values():
                for package, version in worker.versions.items():
                    results.versions.setdefault(package, set()).add(version)
            for flight in FLIGHTS:
                results.times[loop, flight] = team.measure(rows, flight, rounds)
        finally:
            team.close()
        results.missing |= {f"{who} ({loop})": why for who, why in team.missing.items()}
    return results


def added(times: dict[Row, Times], row: Row) -> Times:
    """What a limit adds to a request, in each round."""
    without = times[ADDED[row][0]]
    return [max(a - b, 0.01) for a, b in zip(times[row], without, strict=True)]


def goals_of(results: Results) -> list[Goal]:
    """In the order of the issue that asked for them."""

    def ratios(flight: int, above: Row, below: Row, *, add: bool = False) -> dict[str, Times]:
        found: dict[str, Times] = {}
        for (loop, each), times in results.times.items():
            if each == flight and above in times and below in times:
                pair = (added(times, above), added(times, below)) if add else (times[above], times[below])
                found[loop] = paired(*pair)
        return found

    sliding, shared = ("limits", "sliding window, memory"), ("limits", "sliding window, redis")
    return [
        goal(
            "a decision in memory, in the time of limits' sliding window",
            0.6,
            ratios(1, OURS, sliding),
            least=False,
        ),
        goal(
            "… in Redis, 64 in flight, in throughput of limits", 4, ratios(64, shared, OURS_REDIS), least=True
        ),
        goal(
            "what it adds to a request in Redis, 64 in flight: of slowapi's, the part less",
            15,
            ratios(64, SLOWAPI, ADDS, add=True),
            least=True,
        ),
    ]


def sections(results: Results) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    head = ["µs a decision"]
    head += [f"{flight} in flight, {loop}" for loop, flight in results.times]
    rows: list[list[str]] = []
    for row, name in NAMES.items():
        if all(row in times for times in results.times.values()):
            rows.append([name, *(spread(times[row]) for times in results.times.values())])
    for row, (without, name) in ADDED.items():
        if all(row in times and without in times for times in results.times.values()):
            rows.append([f"{name}: added", *(spread(added(times, row)) for times in results.times.values())])
    used = ", ".join(
        f"{name} {' and '.join(sorted(each))}" for name, each in sorted(results.versions.items())
    )
    lines = [f"{results.rounds} rounds of about 0.2 s; {used}."]
    lines += [f"Not measured: {who}: {why}." for who, why in results.missing.items()]
    goals = [[each.what, each.wanted, each.seen, each.met] for each in goals_of(results)]
    return {
        "limits-goals": table(["goal", "wanted", "seen", "met"], goals),
        "limits": table(head, rows) + "\n\n" + "\n\n".join(lines),
    }


def main(redis: str | None, *, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    with redis_server(redis) as url:
        results = measure(url, 3 if quick else 7)
    found = sections(results)
    print("\n\n".join(found.values()))
    if quick:
        return
    write(found)
    write({"limits-goals": found["limits-goals"]}, "README.md")
