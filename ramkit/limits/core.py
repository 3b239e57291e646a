"""The generic cell rate algorithm (ITU-T I.371, virtual scheduling) in integer microseconds. No I/O, no
clock.

Of each key one number is kept, its theoretical arrival time (TAT): when all that it has used will be earned
again. What lies between now and then is its *backlog*. A request of cost ``c`` is admitted if backlog + c *
interval does not exceed the limit, quota * interval; it then moves the TAT by c * interval. A refused one
moves nothing. So a key that was idle has ``quota`` units at once, and in any time ``t`` no more than quota
+ t / interval.
"""

import math
from typing import Literal, NamedTuple

from ramkit.limits.policy import Policy

__all__ = ["Charge", "Decision", "admits", "backlog_of", "decided"]

_SECOND = 1_000_000


class Charge(NamedTuple):
    """What a request would take of one key: ``increment`` and ``limit`` in µs."""

    key: bytes
    increment: int
    limit: int


class Decision(NamedTuple):
    """What one policy says of one request.

    ``remaining``: whole units that could be used now, after this decision. ``retry_after``: seconds, to the
    microsecond, after which the same request is admitted if nothing else comes; 0 if it was, ``inf`` if it
    costs more than the quota. ``reset``: seconds after which the whole quota is there again. ``source``:
    ``store``; or, when that did not answer, what the policy said for it: ``local``, ``open`` or ``closed``.
    """

    policy: Policy
    allowed: bool
    remaining: int
    retry_after: float
    reset: float
    source: Literal["store", "local", "open", "closed"] = "store"


def backlog_of(tat: int, now: int, limit: int) -> int:
    """Never more than the limit: a clock that was set back, or a quota that was lowered, locks nobody out."""
    ahead = tat - now
    if ahead <= 0:
        return 0
    return ahead if ahead < limit else limit  # noqa: FURB136 - min() takes twice as long


def admits(backlog: int, charge: Charge) -> bool:
    return backlog + charge.increment <= charge.limit


def decided(
    policy: Policy,
    charge: Charge,
    backlog: int,
    interval: int,
    source: Literal["store", "local"],
    *,
    charged: bool,
) -> Decision:
    """``backlog``: before the request; ``charged``: it was added, since no policy of the request refused."""
    _, increment, limit = charge
    after, allowed, wait = backlog + increment, True, 0.0
    if after > limit:
        allowed = False
        wait = math.inf if increment > limit else (after - limit) / _SECOND
    if not charged:
        after = backlog
    return Decision(policy, allowed, (limit - after) // interval, wait, after / _SECOND, source)
