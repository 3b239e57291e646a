"""Sessions beside starsessions: a request that reads its session from Redis."""

import time
from dataclasses import dataclass, field

from benchmarks.cache import redis_server
from benchmarks.environments import SESSIONS
from benchmarks.goals import Goal, goal
from benchmarks.harness import Team, Times, median, paired, spread
from benchmarks.report import Row, table, write

FLIGHTS = [1, 64]
LOOPS = ["asyncio", "uvloop"]
NAMES: dict[Row, str] = {
    ("ramkit_sessions", "bare"): "bare ASGI app, no session",
    ("ramkit_sessions", "get"): "one `redis.asyncio` GET, nothing else",
    ("ramkit_sessions", "session"): "**ramkit**, a session read from Redis",
    ("starsessions", "session"): "starsessions",
}
OURS, THEIRS = ("ramkit_sessions", "session"), ("starsessions", "session")


@dataclass
class Reads:
    """Microseconds a request, by (loop, in flight) and row."""

    rounds: int
    times: dict[tuple[str, int], dict[Row, Times]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def measure(redis_url: str, rounds: int) -> Reads:
    """All that can be started; in each round one after the other."""
    seen = Reads(rounds)
    for loop in LOOPS:
        team = Team(loop)
        try:
            team.start(["ramkit_sessions", *SESSIONS], redis_url)
            seen.versions |= {peer: worker.versions for peer, worker in team.workers.items()}
            for flight in FLIGHTS:
                seen.times[loop, flight] = team.measure(list(NAMES), flight, rounds)
        finally:
            team.close()
        seen.missing |= {f"{who} ({loop})": why for who, why in team.missing.items()}
    return seen


def goals_of(seen: Reads) -> list[Goal]:
    """In throughput, at 64 in flight."""
    ratios: dict[str, Times] = {}
    budget: dict[str, Times] = {}
    for (loop, flight), times in seen.times.items():
        if flight == 64 and OURS in times:
            budget[loop] = times[OURS]
            if THEIRS in times:
                ratios[loop] = paired(times[THEIRS], times[OURS])
    within = all(median(times) <= 25 for times in budget.values())
    found = ", ".join(f"{median(times):.1f} µs ({loop})" for loop, times in budget.items()) or "not measured"
    return [
        goal("a session read from Redis, 64 in flight, in throughput of starsessions", 8, ratios, least=True),
        Goal(
            "… a request with it, app included",
            "≤ 25 µs",
            found,
            ("yes" if within else "**no**") if budget else "-",
        ),
    ]


def sections(seen: Reads) -> dict[str, str]:
    """By the name of their marker."""
    goals = [[each.what, each.wanted, each.seen, each.met] for each in goals_of(seen)]
    head = ["µs a request", *(f"{flight} in flight, {loop}" for loop, flight in seen.times)]
    rows = [
        [name, *(spread(times[row]) if row in times else "" for times in seen.times.values())]
        for row, name in NAMES.items()
    ]
    used = {f"{name} {version}" for each in seen.versions.values() for name, version in each.items()}
    notes = [f"{seen.rounds} rounds; {', '.join(sorted(used))}."]
    notes += [f"Not measured: {who}: {why}." for who, why in seen.missing.items()]
    return {
        "sessions-goals": table(["goal", "wanted", "seen", "met"], goals),
        "sessions": "\n\n".join([table(head, rows), *notes]),
    }


def run(redis: str | None, *, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    print(f"{time.strftime('%H:%M:%S')} sessions and starsessions", flush=True)
    with redis_server(redis) as url:
        seen = measure(url, 3 if quick else 9)
    found = sections(seen)
    print("\n\n".join(found.values()))
    if not quick:
        write(found)
