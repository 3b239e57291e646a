"""A part of http-tests/cache-tests through ``ramkit gateway``; ``make cache-tests`` runs all of it."""

import os

import pytest

from benchmarks.cache_tests.report import text_of, unexplained
from benchmarks.cache_tests.run import OPTIONS, results_of
from benchmarks.cache_tests.score import Outcome, Test, counts, outcomes
from benchmarks.cache_tests.suite import Missing, Suite, suite_of

#: one or two of each kind, few that wait for something to become stale
BY_DEFAULT = [
    "freshness-none", "freshness-max-age", "freshness-max-age-0",
    "freshness-max-age-age", "freshness-s-maxage-shared", "freshness-max-age-ignore-quoted",
    "freshness-expires-future", "freshness-expires-past", "freshness-expires-invalid-date",
    "freshness-expires-wrong-case-month", "age-parse-suffix", "cc-resp-no-store",
    "cc-resp-private-shared", "cc-resp-no-cache", "cc-resp-no-cache-revalidate",
    "cc-resp-must-revalidate-stale", "heuristic-201-not_cached", "method-POST", "status-200-fresh",
    "status-404-fresh", "status-308-fresh", "vary-match", "vary-no-match", "vary-omit", "vary-star",
    "vary-invalidate", "vary-2-match", "vary-3-match", "vary-3-order", "vary-normalise-combine",
    "vary-normalise-lang-case", "vary-syntax-star", "vary-syntax-foo-star", "conditional-lm-fresh",
    "conditional-etag-strong-respond", "conditional-304-etag", "conditional-etag-precedence",
    "conditional-etag-strong-generate", "headers-omit-headers-listed-in-Connection",
    "headers-store-Test-Header", "headers-store-Keep-Alive", "headers-store-Transfer-Encoding",
    "304-lm-use-stored-Test-Header", "304-etag-update-response-Test-Header", "invalidate-POST",
    "invalidate-POST-failed", "invalidate-DELETE", "partial-store-complete-reuse-partial",
    "partial-store-complete-reuse-partial-suffix", "partial-use-headers", "other-authorization",
    "other-authorization-public", "other-age-gen", "query-args-different", "query-args-same",
    "other-cookie",
]  # fmt: skip
BY_OPTION = [
    "freshness-none", "freshness-max-age", "heuristic-200-cached", "heuristic-404-cached",
    "heuristic-403-not_cached", "status-503-fresh", "status-503-stale", "other-set-cookie", "vary-match",
    "vary-normalise-lang-order", "vary-normalise-lang-select", "ccreq-no-cache", "ccreq-ma0",
]  # fmt: skip


@pytest.fixture(scope="module")
def suite():
    try:
        found = suite_of(None)
        found.tests()
    except Missing as error:
        if os.environ.get("RAMKIT_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(f"cache-tests: {error}")
    return found


@pytest.mark.parametrize(
    ("ids", "options"), [(BY_DEFAULT, None), (BY_OPTION, OPTIONS)], ids=["defaults", "with options"]
)
def test_a_part_of_the_suite_passes(suite, ids, options):
    tests = [test for test in suite.tests() if test.id in ids]
    assert {test.id for test in tests} == set(ids)
    found = outcomes(tests, results_of(suite, "memory://", options, ids))
    assert {name: outcome.why for name, outcome in found.items() if not outcome.passed} == {}


# -- the scorer ------------------------------------------------------------------------------------------

TESTS = [
    Test("a", "required"),
    Test("b", "required", ("a",)),
    Test("c", "optimal", ("b",)),
    Test("d", "check"),
    Test("e", "optimal", ("gone",)),
    Test("f", "required"),
]


def test_what_a_test_needs_counts():
    found = outcomes(TESTS, {"a": ["Assertion", "no"], "b": True, "c": True, "d": True, "e": True})
    assert found == {
        "a": Outcome(False, "Assertion: no"),
        "b": Outcome(False, "needs a"),
        "c": Outcome(False, "needs b"),
        "d": Outcome(True),
        "e": Outcome(False, "needs gone"),
        "f": Outcome(False, "not run"),
    }
    assert counts(TESTS, found) == {"required": (0, 3), "optimal": (0, 2), "check": (1, 1)}


def test_each_failure_is_named(tmp_path):
    suite = Suite(tmp_path, "a suite")
    good = outcomes(TESTS, {test.id: True for test in TESTS} | {"gone": True})
    bad = good | {"f": Outcome(False, "Assertion: no")}
    ours = {"memory": good, "redis": bad}
    text = text_of(suite, TESTS, ours, {"nginx": bad})
    assert "| **ramkit**, memory | 3/3 | 1/2 |" in text
    assert "| nginx | 2/3 | 1/2 |" in text
    assert "| `f` | required | redis | not explained |" in text
    assert "| `e` | optimal | everywhere | not explained |" in text
    assert unexplained(suite, TESTS, ours) == ["e: needs gone", "f: Assertion: no"]
