"""Metrics beside starlette-exporter and the instrumentator: what counting adds to a request."""

import time
from dataclasses import dataclass, field

from benchmarks.cache import redis_server
from benchmarks.environments import METRICS
from benchmarks.goals import Goal, goal
from benchmarks.harness import Team, Times, paired, spread
from benchmarks.peers.metered import FEW, MANY
from benchmarks.report import table, write

LOOPS = ["asyncio", "uvloop"]
Row = tuple[str, str]

NAMES: dict[Row, str] = {
    ("ramkit_metrics", f"table of {FEW}"): f"**ramkit**, around a bare app with {FEW} routes",
    ("ramkit_metrics", f"table of {MANY}"): f"**ramkit**, around a bare app with {MANY} routes",
    **{
        (peer, f"{number} routes"): f"{name}, Starlette with {number} routes"
        for number in (FEW, MANY)
        for peer, name in (
            ("ramkit_metrics", "**ramkit**"),
            ("starlette_exporter", "starlette-exporter"),
            ("instrumentator", "prometheus-fastapi-instrumentator"),
        )
    },
}


@dataclass
class Results:
    """Times in µs a request, by loop."""

    rounds: int
    times: dict[str, dict[Row, Times]] = field(default_factory=dict)
    versions: dict[str, set[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def measure(redis_url: str, rounds: int) -> Results:
    """Each package in its own process; they take turns."""
    results = Results(rounds)
    rows = [each for row in NAMES for each in (row, _alone(row))]
    for loop in LOOPS:
        print(f"{time.strftime('%H:%M:%S')} metrics: {loop}", flush=True)
        team = Team(loop)
        try:
            team.start(["ramkit_metrics", *METRICS], redis_url)
            for worker in team.workers.values():
                for package, version in worker.versions.items():
                    results.versions.setdefault(package, set()).add(version)
            results.times[loop] = team.measure(rows, 1, rounds)
        finally:
            team.close()
        results.missing |= {f"{who} ({loop})": why for who, why in team.missing.items()}
    return results


def _alone(row: Row) -> Row:
    return row[0], f"{row[1]}, alone"


def added(times: dict[Row, Times], row: Row) -> Times:
    """What counting adds to a request, in each round."""
    return [max(a - b, 0.01) for a, b in zip(times[row], times[_alone(row)], strict=True)]


def goals_of(results: Results) -> list[Goal]:
    """In the order of the issue that asked for them."""

    def ratios(above: Row, below: Row) -> dict[str, Times]:
        return {
            loop: paired(added(times, above), added(times, below))
            for loop, times in results.times.items()
            if above in times and below in times
        }

    ours, few = ("ramkit_metrics", f"{FEW} routes"), f"{FEW} routes"
    flat = ratios(("ramkit_metrics", f"table of {MANY}"), ("ramkit_metrics", f"table of {FEW}"))
    return [
        goal("counting a request, in what starlette-exporter adds", 0.5,
             ratios(ours, ("starlette_exporter", few)), least=False),
        goal("… in what the instrumentator adds", 0.25,
             ratios(ours, ("instrumentator", few)), least=False),
        goal(f"… with {MANY} routes, of what it adds with {FEW}", 1.2, flat, least=False),
    ]  # fmt: skip


def sections(results: Results) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    rows = [
        [name, *(spread(added(times, row)) for times in results.times.values())]
        for row, name in NAMES.items()
        if all(row in times and _alone(row) in times for times in results.times.values())
    ]
    used = ", ".join(
        f"{name} {' and '.join(sorted(each))}" for name, each in sorted(results.versions.items())
    )
    lines = [f"{results.rounds} rounds of about 0.2 s; {used}."]
    lines += [f"Not measured: {who}: {why}." for who, why in results.missing.items()]
    goals = [[each.what, each.wanted, each.seen, each.met] for each in goals_of(results)]
    return {
        "metrics-goals": table(["goal", "wanted", "seen", "met"], goals),
        "metrics": table(["µs added to a request", *results.times], rows) + "\n\n" + "\n\n".join(lines),
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
