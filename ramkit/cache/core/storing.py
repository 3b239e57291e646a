"""May this response be stored, and for how long (RFC 9111 §3)."""

from dataclasses import dataclass, field

from ramkit.cache.core.entry import BY_RULE, SHARED, SILENT
from ramkit.cache.core.facts import Facts
from ramkit.cache.core.freshness import (
    FORBIDDEN,
    heuristic_lifetime,
    initial_age,
    lifetime,
    stale_windows,
)
from ramkit.cache.core.keys import vary_names
from ramkit.cache.policy import Rule

__all__ = ["Refused", "Request", "Storable", "judge"]

#: Success and permanent redirection: what a rule's ttl is for. Others are stored when they say so themselves.
_BY_RULE_STATUS = frozenset({200, 203, 204, 300, 301, 308})
#: Errors that are what they are until something changes: what a rule's negative_ttl is for (RFC 9110 §15.1).
_NEGATIVE_STATUS = frozenset({404, 405, 410, 414, 501})
#: Never: partial content and validation results (§3.3, §4.3.3), and what is about this client, its connection
#: or the fields of its request.
_NEVER_STATUS = frozenset({206, 304, 401, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431})
#: Whose requirements on caches are known (§5.2.2.3), of RFC 9110 §15.
_UNDERSTOOD = frozenset(
    {200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, 400, 402, 403, 404, 405, 406, 408, 409,
     410, 411, 413, 414, 415, 417, 426, 500, 501, 502, 503, 504, 505}
)  # fmt: skip


@dataclass(slots=True)
class Request:
    """What the decision needs to know of the request and of who it was rendered for."""

    authorized: bool
    #: Cookie, or another field that tells who asks
    identified: bool
    #: a body came with the GET: it is no part of the key
    body: bool
    personal: bool
    no_store: bool
    rule: Rule | None


@dataclass(slots=True)
class Refused:
    """The response is not stored; ``reason`` is for Cache-Status."""

    reason: str


@dataclass(slots=True)
class Storable:
    """The response may be stored. Times in seconds from now; ``age`` in seconds (§4.2.3)."""

    fresh: float
    revalidate: float
    error: float
    age: float
    flags: int
    vary: tuple[bytes, ...] = field(default_factory=tuple)


def judge(request: Request, status: int, facts: Facts, *, now: float, delay: float) -> Storable | Refused:
    """Whether a shared cache stores the response to this GET.

    ``now``: seconds since the epoch by the clock that Date and Expires are written by; ``delay``: seconds
    since the request.
    """
    reason = _refusal(request, status, facts)
    if reason is not None:
        return Refused(reason)
    vary = vary_names(facts.listed.get(b"vary", ()))
    if vary is None:
        return Refused("vary-all")
    if b"content-encoding" in facts.single:
        # Of a coding (RFC 9110 §12.5.3) whoever did not ask for it can make nothing; many forget to name it.
        vary = tuple(sorted({*vary, b"accept-encoding"}))
    explicit = lifetime(facts, now)
    age = initial_age(facts, now, delay)
    if explicit is None:
        storable = _by_rule(request, status, facts, age, now)
        if isinstance(storable, Refused):
            return storable
    else:
        storable = _by_itself(request.rule, facts, age, explicit)
    if storable.fresh == 0 and storable.revalidate <= 0 and storable.error <= 0 and not facts.has_validator:
        return Refused("expired")
    if status >= 500:
        _bound(storable, request.rule.negative_ttl if request.rule is not None else 0.0)
    storable.flags |= SHARED if facts.shareable else 0
    storable.vary = vary
    return storable


def _refusal(request: Request, status: int, facts: Facts) -> str | None:
    if status == 414 and request.rule is not None and not request.rule.counts_all_of_query:
        return "status"  # RFC 9110 §15.5.15: about a URI of which only a part is in the key
    rule = request.rule
    if request.no_store or _forbidden(status, facts):  # §5.2.1.5
        return "no-store"
    if request.body:
        return "body"
    if _wrong_status(rule, status, facts):
        return "status"
    if "private" in facts.control:  # §5.2.2.7
        return "private"
    if request.personal and (rule is None or rule.identity == "private"):
        return "personal"
    if request.authorized and not facts.shareable:  # §3.5
        return "authorization"
    if _sets_cookie(rule, facts):
        return "set-cookie"
    if facts.single.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
        return "event-stream"
    return None


def _forbidden(status: int, facts: Facts) -> bool:
    """§5.2.2.5, and §5.2.2.3: beside must-understand, no-store is for caches that do not."""
    if "must-understand" in facts.control:
        return status not in _UNDERSTOOD
    return "no-store" in facts.control


def _wrong_status(rule: Rule | None, status: int, facts: Facts) -> bool:
    """What is no final answer, is about this client alone, or may be gone with the next request."""
    if status < 200 or status in _NEVER_STATUS:
        return True
    # Without a meaning here (RFC 9110 §14.4), it may yet be a part of something.
    if facts.single.get(b"content-range", b"").lower().startswith(b"bytes"):
        return True
    return status >= 500 and (rule is None or not rule.negative_ttl)


def _sets_cookie(rule: Rule | None, facts: Facts) -> bool:
    """§7.3: the next client would get it, too, unless it is left out (§5.2.2.4)."""
    if b"set-cookie" not in facts.single or b"set-cookie" in facts.no_cache_fields:
        return False
    return rule is None or rule.set_cookie == "private"


def _by_itself(rule: Rule | None, facts: Facts, age: float, explicit: float) -> Storable:
    """§4.2.1"""
    # Of what is stale when it comes, the windows of RFC 5861 have begun before.
    left = explicit - age
    revalidate, error = stale_windows(facts, rule.stale_if_error if rule is not None else 0.0)
    return Storable(max(0.0, left), left + revalidate, left + error, age, 0)


def _by_rule(request: Request, status: int, facts: Facts, age: float, now: float) -> Storable | Refused:
    """It says nothing of its lifetime: a guess where the rule wants one (§4.2.2), or the rule's own."""
    rule = request.rule
    pragma = not facts.targeted and b"no-cache" in facts.single.get(b"pragma", b"").lower()
    if rule is None or pragma:
        return Refused("no-lifetime")
    fresh = heuristic_lifetime(status, facts, now, rule.heuristic)
    if fresh is not None:
        fresh = max(0.0, fresh - age)
    elif status in _NEGATIVE_STATUS:
        fresh = rule.negative_ttl
    elif status in _BY_RULE_STATUS:
        fresh = rule.ttl
    else:
        return Refused("status")
    if fresh == 0:
        return Refused("status" if status in _NEGATIVE_STATUS else "no-lifetime")
    if request.identified:
        return Refused("identity")
    silent = 0 if b"cache-control" in facts.listed else SILENT
    revalidate, error = rule.stale_while_revalidate, rule.stale_if_error
    if facts.must_revalidate:
        revalidate = error = FORBIDDEN
    elif status >= 400:
        revalidate = error = 0.0
    return Storable(fresh, fresh + revalidate, fresh + error, age, BY_RULE | silent)


def _bound(storable: Storable, most: float) -> None:
    """A failure says nothing of what comes after it: whatever it names, it is gone after that long."""
    storable.fresh = min(storable.fresh, most)
    storable.revalidate = min(storable.revalidate, most)
    storable.error = min(storable.error, most)
