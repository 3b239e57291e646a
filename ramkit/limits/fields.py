"""How clients are told: draft-ietf-httpapi-ratelimit-headers-11, the older X-RateLimit-*, and the 429."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.replies import Reply, problem
from ramkit.limits.core import Decision

__all__ = ["fields", "refusal", "unavailable"]

#: the draft's problem type for a request that exceeds a quota (§5), with its member ``violated-policies``
_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_SECOND = 1_000_000


def fields(decisions: Sequence[Decision], *, legacy: bool) -> RawHeaders:
    """``RateLimit-Policy`` and ``RateLimit``, each a list with an item for each policy; what only observers
    are told (``dry_run``), and what was not looked at because the store was away, is left out.

    ``q`` is the quota, ``w`` the seconds in which it is earned, ``r`` what is left of it; ``t`` the seconds
    until all of it is there again, or, of a policy that refused, until it admits such a request: the draft
    wants Retry-After not to be earlier than ``t``. ``legacy``: X-RateLimit-Limit, -Remaining and -Reset
    (seconds from now) of the policy that has least left, as well.
    """
    told = [each for each in decisions if not each.policy.dry_run and each.source in ("store", "local")]
    if not told:
        return []
    policies = b", ".join([_item(each.policy.name, each.policy.quota, each.policy.limit) for each in told])
    state = b", ".join([b'"%s";r=%d;t=%d' % (each.policy.name.encode(), *_state(each)) for each in told])
    headers = [(b"ratelimit-policy", policies), (b"ratelimit", state)]
    if legacy:
        least = min(told, key=lambda each: (each.allowed, each.remaining))
        remaining, seconds = _state(least)
        headers += [
            (b"x-ratelimit-limit", b"%d" % least.policy.quota),
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % seconds),
        ]
    return headers


def refusal(decisions: Sequence[Decision], *, legacy: bool) -> Reply:
    """429 (RFC 6585 §4) with Retry-After: the seconds after which all policies admit the request."""
    refused = [each for each in decisions if not each.allowed and not each.policy.dry_run]
    wait = max(_wait(each) for each in refused)
    detail = "There were too many requests; try again later."
    if any(each.retry_after == math.inf for each in refused):
        detail = "This request costs more than is admitted at once."
    headers = [*fields(decisions, legacy=legacy), (b"retry-after", b"%d" % wait)]
    members: dict[str, Any] = {"violated-policies": [each.policy.name for each in refused]}
    return problem(429, type=_QUOTA_EXCEEDED, detail=detail, headers=headers, **members)


def unavailable() -> Reply:
    """503: a policy that fails closed."""
    return problem(503, detail="A service that this needs does not answer.")


def _state(decision: Decision) -> tuple[int, int]:
    seconds = math.ceil(decision.reset) if decision.allowed else _wait(decision)
    return decision.remaining, seconds


def _wait(decision: Decision) -> int:
    """Whole seconds; for what is never admitted, those in which the quota is earned."""
    wait = decision.retry_after
    return math.ceil(decision.policy.limit / _SECOND if wait == math.inf else wait)


@lru_cache(maxsize=256)
def _item(name: str, quota: int, limit: int) -> bytes:
    return b'"%s";q=%d;w=%d' % (name.encode(), quota, math.ceil(limit / _SECOND))
