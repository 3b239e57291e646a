"""RamAPI's route and JSON reply beside those of other frameworks, in one process without a server."""

import json
import os
import subprocess
from dataclasses import dataclass

from benchmarks.environments import ROOT, python_of
from benchmarks.goals import Goal
from benchmarks.harness import Times, median, paired, spread
from benchmarks.peers.routed import APPS, FEW, MANY
from benchmarks.report import table, write

NAMES = {
    "ramapi": "**RamAPI**", "starlette": "Starlette", "fastapi": "FastAPI", "falcon": "Falcon",
    "litestar": "Litestar", "blacksheep": "BlackSheep",
}  # fmt: skip


@dataclass
class Requests:
    """µs a request, by app and number of routes."""

    rounds: int
    versions: dict[str, str]
    times: dict[str, Times]


def measure(rounds: int, seconds: float) -> Requests:
    """All in one process, in an environment of their own."""
    command = [python_of("routers"), "-m", "benchmarks.peers.routed", str(rounds), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    return Requests(rounds, **json.loads(done.stdout))


def goals_of(seen: Requests) -> list[Goal]:
    """Ratios within a round."""
    few, many = f"ramapi {FEW}", f"ramapi {MANY}"
    wanted = [
        ("a route and a JSON reply, in the time of Starlette's", few, f"starlette {FEW}", 0.5),
        ("… of FastAPI's", few, f"fastapi {FEW}", 0.15),
        (f"with {MANY} routes, in the time of {FEW}", many, few, 1.1),
    ]
    goals: list[Goal] = []
    for what, one, other, most in wanted:
        found = median(paired(seen.times[one], seen.times[other]))
        goals.append(Goal(what, f"≤ {most:g} x", f"{found:.2f}", "yes" if found <= most else "**no**"))
    return goals


def sections(seen: Requests) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    goals = [[goal.what, goal.wanted, goal.seen, goal.met] for goal in goals_of(seen)]
    rows = [[NAMES[app], *(spread(seen.times[f"{app} {routes}"]) for routes in (FEW, MANY))] for app in APPS]
    used = ", ".join(f"{name} {version}" for name, version in sorted(seen.versions.items()))
    return {
        "router-goals": table(["goal", "wanted", "seen", "met"], goals),
        "router": table(["µs a request", f"{FEW} routes", f"{MANY} routes"], rows)
        + f"\n\n{seen.rounds} rounds; the last route is asked for; {used}.",
    }


def run(*, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    found = sections(measure(3, 0.1) if quick else measure(9, 0.3))
    print("\n\n".join(found.values()), flush=True)
    if quick:
        return
    write(found)
