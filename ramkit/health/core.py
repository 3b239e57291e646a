"""What probes are told, in the form of draft-inadarei-api-health-check-06."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from ramkit.health.policy import Check, Question

__all__ = ["Outcome", "Status", "asked", "detail", "overall"]

#: §3.1: healthy; healthy, with concerns; unhealthy
Status: TypeAlias = Literal["pass", "warn", "fail"]

_LONGEST_OUTPUT = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check came to. ``at``: by the monotonic clock, ``time``: by the calendar, both its end;
    ``seconds``: how long it took; ``output``: what went wrong; ``details``: what the check told."""

    ok: bool
    at: float
    time: float
    seconds: float
    output: str = ""
    details: Mapping[str, object] = field(default_factory=dict[str, object])

    def fresh(self, now: float, keep: float) -> bool:
        return now - self.at < keep


def asked(question: Question, checks: Iterable[Check]) -> list[Check]:
    """Those that the answer depends on; ``health`` shows all there are."""
    if question == "livez":
        return [check for check in checks if check.live]
    if question == "readyz":
        return [check for check in checks if check.critical]
    return list(checks)


def overall(question: Question, outcomes: Mapping[Check, Outcome], *, draining: bool) -> Status:
    """One that drains lives, and wants no more requests."""
    if draining and question != "livez":
        return "fail"
    failed = [check for check, outcome in outcomes.items() if not outcome.ok]
    if any(question == "livez" or check.critical for check in failed):
        return "fail"
    return "warn" if failed else "pass"


def detail(status: Status, outcomes: Mapping[Check, Outcome], *, draining: bool) -> dict[str, Any]:
    """§4: ``checks`` by name, each a list of one; what else a check told stands beside ``status``."""
    said: dict[str, Any] = {"status": status}
    if draining:
        said["output"] = "draining"
    said["checks"] = {check.name: [_one(check, outcome)] for check, outcome in outcomes.items()}
    return said


def _one(check: Check, outcome: Outcome) -> dict[str, object]:
    said: dict[str, object] = {
        **outcome.details,
        "status": "pass" if outcome.ok else "fail" if check.critical or check.live else "warn",
        "observedValue": round(outcome.seconds * 1000, 3),
        "observedUnit": "ms",
        "time": datetime.fromtimestamp(outcome.time, UTC).isoformat(timespec="milliseconds"),
    }
    if outcome.output:
        said["output"] = outcome.output[:_LONGEST_OUTPUT]
    return said
