"""What a run's results are worth, dependencies honoured."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["Outcome", "Test", "counts", "outcomes"]


class Test(NamedTuple):
    """``kind``: required, optimal or check. ``needs``: tests without which this one shows nothing."""

    __test__ = False
    id: str
    kind: str
    needs: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """Whether a test counts as passed, and what the suite said if not."""

    passed: bool
    why: str = ""


def outcomes(tests: Iterable[Test], results: Mapping[str, Any]) -> dict[str, Outcome]:
    """By id. As the suite's own display has it, a test whose dependency did not pass has not passed."""
    known = {test.id: test for test in tests}
    found: dict[str, Outcome] = {}

    def outcome(name: str) -> Outcome:
        if name not in found:
            found[name] = _outcome(known.get(name), results.get(name), outcome)
        return found[name]

    return {name: outcome(name) for name in known}


def _outcome(test: Test | None, result: Any, outcome: Any) -> Outcome:
    if test is None or result is None:
        return Outcome(False, "not run")
    for needed in test.needs:
        if not outcome(needed).passed:
            return Outcome(False, f"needs {needed}")
    return Outcome(True) if result is True else Outcome(False, ": ".join(map(str, result)))


def counts(tests: Iterable[Test], found: Mapping[str, Outcome]) -> dict[str, tuple[int, int]]:
    """Passed and all, by kind."""
    made: dict[str, tuple[int, int]] = {}
    for test in tests:
        passed, total = made.get(test.kind, (0, 0))
        made[test.kind] = passed + found[test.id].passed, total + 1
    return made
