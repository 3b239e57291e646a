"""The table of docs/benchmarks.md and what it does not show: each failure, by its id."""

from collections.abc import Mapping, Sequence

from benchmarks.cache_tests.reasons import REASONS
from benchmarks.cache_tests.run import OPTIONS
from benchmarks.cache_tests.score import Outcome, Test, counts
from benchmarks.cache_tests.suite import Suite
from benchmarks.environments import ROOT
from benchmarks.report import fill, table

__all__ = ["publish", "text_of", "unexplained"]

_NAMES = {
    "apache": "Apache httpd",
    "caddy": "Caddy",
    "fastly": "Fastly",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "nuster": "nuster",
    "squid": "Squid",
    "trafficserver": "Traffic Server",
    "varnish": "Varnish",
}
_OLDER = "an older test, which the suite's repository has changed since"
Found = Mapping[str, Outcome]


def text_of(
    suite: Suite, tests: Sequence[Test], ours: Mapping[str, Found], published: Mapping[str, Found]
) -> str:
    """Markdown: counts beside the published ones, the options, and every test that does not pass."""
    rows = [[f"**ramkit**, {name}", *_cells(tests, found)] for name, found in ours.items()]
    others = [[_NAMES.get(name, name), *_cells(tests, found)] for name, found in published.items()]
    others.sort(key=lambda row: -int(row[1].partition("/")[0]))
    options = ", ".join(f"`{name}={value!r}`" for name, value in OPTIONS.items())
    return "\n\n".join(
        (
            f"Of {suite.name}:",
            table(["cache", "required", "optimal"], rows + others),
            f"*with options*: one `Rule` of {options}.",
            "What does not pass:",
            table(["test", "kind", "where", "why"], _failures(suite, tests, ours)),
        )
    )


def unexplained(suite: Suite, tests: Sequence[Test], ours: Mapping[str, Found]) -> list[str]:
    """What failed without a reason that is known."""
    if suite.older:
        return []
    failed = {(test.id, found[test.id].why) for found in ours.values() for test in _failed(tests, found)}
    return [f"{name}: {why}" for name, why in sorted(failed) if name not in REASONS]


def publish(text: str) -> None:
    """Write docs/benchmarks.md."""
    document = ROOT / "docs" / "benchmarks.md"
    document.write_text(fill(document.read_text(), "cache-tests", text))
    print(f"written: {document.relative_to(ROOT)}")


def _cells(tests: Sequence[Test], found: Found) -> list[str]:
    made = counts(tests, found)
    return ["{}/{}".format(*made[kind]) for kind in ("required", "optimal")]


def _failed(tests: Sequence[Test], found: Found) -> list[Test]:
    return [test for test in tests if test.kind != "check" and not found[test.id].passed]


def _failures(suite: Suite, tests: Sequence[Test], ours: Mapping[str, Found]) -> list[list[str]]:
    where: dict[Test, list[str]] = {}
    for name, found in ours.items():
        for test in _failed(tests, found):
            where.setdefault(test, []).append(name)
    return [
        [
            f"`{test.id}`",
            test.kind,
            "everywhere" if len(names) == len(ours) else "; ".join(names),
            REASONS.get(test.id, _OLDER if suite.older else "not explained"),
        ]
        for test, names in sorted(where.items(), key=lambda pair: (pair[0].kind != "required", pair[0].id))
    ]
