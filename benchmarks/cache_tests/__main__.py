"""``make cache-tests [CACHE_TESTS=a checkout]``: two stores, two columns; writes docs/benchmarks.md."""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.cache_tests.report import publish, text_of, unexplained
from benchmarks.cache_tests.run import OPTIONS, results_of
from benchmarks.cache_tests.score import outcomes
from benchmarks.cache_tests.suite import Missing, suite_of
from ramkit.testing.servers import RedisServer

#: Runs at a time: they mostly wait for something to become stale.
_AT_ONCE = 2

_COLUMNS: list[tuple[str, dict[str, object] | None]] = [("defaults", None), ("with options", OPTIONS)]


def main() -> int:
    """Exit status 1 where something failed that nobody explained."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache_tests", description=__doc__)
    parser.add_argument("--suite", type=Path, help="a checkout of http-tests/cache-tests; else npm's package")
    parser.add_argument("--print", action="store_true", help="write no file")
    asked = parser.parse_args()
    try:
        suite = suite_of(asked.suite)
        tests = suite.tests()
    except Missing as error:
        print(f"cache-tests: {error}", file=sys.stderr)
        return 2
    with RedisServer.launch() as server:
        runs = {
            f"{store.partition(':')[0]}, {column}": (store, options)
            for number, (column, options) in enumerate(_COLUMNS)
            # A database each: one's purges would now and then cost the other a render.
            for store in ("memory://", f"{server.url.rpartition('/')[0]}/{number}")
        }
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            results = list(threads.map(lambda run: results_of(suite, *run), runs.values()))
    ours = {name: outcomes(tests, found) for name, found in zip(runs, results, strict=True)}
    published = {name: outcomes(tests, found) for name, found in suite.published().items()}
    text = text_of(suite, tests, ours, published)
    print(text)
    if not asked.print:
        publish(text)
    missing = unexplained(suite, tests, ours)
    for each in missing:
        print(f"not explained: {each}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
