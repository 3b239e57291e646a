"""How clients are told: draft-ietf-httpapi-ratelimit-headers-11, the older X-RateLimit-*, and the 429."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.replies import Reply, problem
from ramkit.limits.core import Decision
from ramkit.limits.policy import Policy

__all__ = ["Fields", "unavailable"]

#: the draft's problem type for a request that exceeds a quota (§5), with its member ``violated-policies``
_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_SECOND = 1_000_000
#: sources of decisions for which nobody looked
_UNSEEN = ("open", "closed")


class Fields:
    """What clients are told of these policies.

    ``RateLimit-Policy`` and ``RateLimit`` are lists with an item for each policy; what only observers are
    told (``dry_run``), and what was not looked at because the store was away, is left out. ``q`` is the
    quota, ``w`` the seconds in which it is earned, ``r`` what is left of it; ``t`` the seconds until all of
    it is there again, or, of a policy that refused, until it admits such a request: the draft wants
    Retry-After not to be earlier than ``t``. ``legacy``: X-RateLimit-Limit, -Remaining and -Reset (seconds
    from now) of the policy that has least left, as well.
    """

    __slots__ = ("_legacy", "_texts")

    def __init__(self, policies: Iterable[Policy], *, legacy: bool) -> None:
        self._legacy = legacy
        #: by name: the item of RateLimit-Policy, and that of RateLimit to be filled in (a name has no %)
        self._texts = {
            each.name: (
                b'"%s";q=%d;w=%d' % (each.name.encode(), each.quota, math.ceil(each.limit / _SECOND)),
                b'"%s";r=%%d;t=%%d' % each.name.encode(),
            )
            for each in policies
            if not each.dry_run
        }

    def of(self, decisions: Sequence[Decision]) -> RawHeaders:
        """The header pairs; none if there is nothing to tell."""
        told: list[Decision] = []
        policies: list[bytes] = []
        states: list[bytes] = []
        for decision in decisions:
            policy, allowed, remaining, _, reset, source = decision
            if policy.dry_run or source in _UNSEEN:
                continue
            told.append(decision)
            item, state = self._texts[policy.name]
            policies.append(item)
            states.append(state % (remaining, math.ceil(reset) if allowed else _wait(decision)))
        if not told:
            return []
        headers = [(b"ratelimit-policy", b", ".join(policies)), (b"ratelimit", b", ".join(states))]
        return headers + _legacy(told) if self._legacy else headers

    def refusal(self, decisions: Sequence[Decision]) -> Reply:
        """429 (RFC 6585 §4) with Retry-After: the seconds after which all policies admit the request."""
        refused = [each for each in decisions if not each.allowed and not each.policy.dry_run]
        wait = max(_wait(each) for each in refused)
        detail = "There were too many requests; try again later."
        if any(each.retry_after == math.inf for each in refused):
            detail = "This request costs more than is admitted at once."
        headers = [*self.of(decisions), (b"retry-after", b"%d" % wait)]
        members: dict[str, Any] = {"violated-policies": [each.policy.name for each in refused]}
        return problem(429, type=_QUOTA_EXCEEDED, detail=detail, headers=headers, **members)


def unavailable() -> Reply:
    """503: a policy that fails closed."""
    return problem(503, detail="A service that this needs does not answer.")


def _legacy(told: Sequence[Decision]) -> RawHeaders:
    least = min(told, key=lambda each: (each.allowed, each.remaining))
    seconds = math.ceil(least.reset) if least.allowed else _wait(least)
    return [
        (b"x-ratelimit-limit", b"%d" % least.policy.quota),
        (b"x-ratelimit-remaining", b"%d" % least.remaining),
        (b"x-ratelimit-reset", b"%d" % seconds),
    ]


def _wait(decision: Decision) -> int:
    """Whole seconds; for what is never admitted, those in which the quota is earned."""
    wait = decision.retry_after
    return math.ceil(decision.policy.limit / _SECOND if wait == math.inf else wait)
