"""What was measured, as Markdown: printed, and put between the markers of the documents."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.environments import ROOT
from benchmarks.goals import goals_of
from benchmarks.harness import Times, median, paired, spread
from benchmarks.purge import PURGES, Purge

Row = tuple[str, str]

NAMES: dict[Row, str] = {
    ("ramkit", "driver"): "the driver alone (makes the scope, calls nothing)",
    ("ramkit", "bare"): "bare ASGI app",
    ("ramkit", "memory"): "**ramkit**, `memory://`",
    ("ramkit", "tiered"): "**ramkit**, in process, judged by the log in Redis",
    ("ramkit", "get"): "one `redis.asyncio` GET, nothing else",
    ("ramkit", "redis"): "**ramkit**, `RedisStore`",
    ("cashews", "memory"): "cashews, memory",
    ("cashews", "client side"): "cashews, client-side caching",
    ("cashews", "redis"): "cashews",
    ("starlette_caches", "memory"): "starlette-caches, memory",
    ("starlette_caches", "redis"): "starlette-caches",
    ("fastapi_cache2", "FastAPI alone"): "FastAPI endpoint, no cache",
    ("fastapi_cache2", "memory"): "fastapi-cache2, memory",
    ("fastapi_cache2", "redis"): "fastapi-cache2",
    ("hishel", "sqlite"): "hishel, SQLite (it has no memory storage)",
    ("hishel", "redis"): "hishel",
}
WIRE = {
    "plain": "bare ASGI app",
    "memory": "**ramkit**, `memory://`",
    "tiered": "**ramkit**, in process, judged by the log in Redis",
    "redis": "**ramkit**, `RedisStore`",
}


@dataclass
class Results:
    """Everything of one run. Times in µs a request, rates in requests a second."""

    rounds: int
    seconds: float
    client: str
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    in_process: dict[str, dict[Row, Times]] = field(default_factory=dict)
    from_redis: dict[tuple[str, int], dict[Row, Times]] = field(default_factory=dict)
    wire: dict[str, Times] = field(default_factory=dict)
    purges: list[Purge] = field(default_factory=list)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(results: Results) -> str:
    """Where and with what."""
    versions: dict[str, set[str]] = {}
    for found in results.versions.values():
        for package, version in found.items():
            versions.setdefault(package, set()).add(version)
    used = ", ".join(f"{name} {' and '.join(sorted(each))}" for name, each in sorted(versions.items()))
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    lines = [f"{system}, {python}; {used}; requests sent by {results.client}."]
    lines += [f"Not measured: {who}: {why}." for who, why in results.missing.items()]
    return "\n\n".join(lines)


def goals_table(results: Results) -> str:
    """Each goal, what was seen and whether it is met."""
    rows = [[goal.what, goal.wanted, goal.seen, goal.met] for goal in goals_of(results)]
    return table(["goal", "wanted", "seen", "met"], rows)


def in_process_table(results: Results) -> str:
    """Hits without a server, one at a time."""
    head = ["hit in process"]
    for loop in results.in_process:
        head += [f"µs, {loop}", "x bare app"]
    rows: list[list[str]] = []
    for row, name in NAMES.items():
        cells = [name]
        for times in results.in_process.values():
            if row not in times:
                cells += ["", ""]
                continue
            unit = times[row[0], "bare"]
            cells += [spread(times[row]), f"{median(paired(times[row], unit)):.1f}"]
        if any(cells[1:]):
            rows.append(cells)
    return table(head, rows)


def from_redis_table(results: Results) -> str:
    """Hits that each read Redis."""
    head = ["hit in Redis"]
    for loop, flight in results.from_redis:
        head += [f"µs, {flight} in flight, {loop}", "x GET"]
    rows: list[list[str]] = []
    for row, name in NAMES.items():
        cells = [name]
        for times in results.from_redis.values():
            if row not in times or ("ramkit", "get") not in times:
                cells += ["", ""]
                continue
            ratio = paired(times[row], times["ramkit", "get"])
            cells += [spread(times[row], 0), f"{median(ratio):.2f}"]
        if any(cells[1:]):
            rows.append(cells)
    return table(head, rows)


def wire_table(results: Results) -> str:
    """Through uvicorn."""
    rows: list[list[str]] = []
    for app, rates in results.wire.items():
        ratio = paired(rates, results.wire["plain"])
        rows.append([WIRE[app], spread(rates, 0), f"{median(ratio):.2f}"])
    return table(["through uvicorn, 64 connections", "requests/s", "x bare app"], rows)


def purge_table(results: Results) -> str:
    """Groups by size."""
    rows: list[list[str]] = []
    for each in results.purges:
        commands = ", ".join(f"{name} {calls:.2f}" for name, calls in sorted(each.commands.items()))
        rows.append([f"{each.members:,}", commands, f"{each.busy:.0f}", spread(each.times, 0)])
    commands = f"commands a purge (mean of {PURGES})"
    return table(["members of the group", commands, "µs of Redis' time", "µs until it returns"], rows)


def sections(results: Results) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    return {
        "machine": machine(results),
        "goals": goals_table(results),
        "in-process": in_process_table(results),
        "from-redis": from_redis_table(results),
        "wire": wire_table(results),
        "purge": purge_table(results),
    }


def text_of(results: Results) -> str:
    """What is printed."""
    return "\n\n".join(sections(results).values())


def fill(text: str, marker: str, content: str) -> str:
    """``text`` with what stands between ``<!-- marker:begin -->`` and ``<!-- marker:end -->`` replaced."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def write(found: Mapping[str, str], path: str = "docs/benchmarks.md") -> None:
    """Put each section between the markers that bear its name."""
    document = ROOT / path
    text = document.read_text()
    for name, content in found.items():
        text = fill(text, f"bench:{name}", content)
    document.write_text(text)
    print(f"written: {path}")


def publish(results: Results) -> None:
    """Write docs/benchmarks.md and the README's table."""
    write(sections(results))
    readme = ROOT / "README.md"
    text = readme.read_text()
    if "<!-- bench:begin -->" in text:
        readme.write_text(fill(text, "bench", goals_table(results)))
    print(f"written: {readme.name}")
