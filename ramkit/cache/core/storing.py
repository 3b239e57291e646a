"""May this response be stored, and for how long (RFC 9111 §3, §4.2; RFC 5861)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ramkit.cache.core import directives
from ramkit.cache.core.conditional import parse_http_date
from ramkit.cache.core.entry import BY_RULE, SHARED, SILENT
from ramkit.cache.core.keys import vary_names
from ramkit.cache.policy import Rule
from ramkit.kernel.asgi import RawHeaders

__all__ = ["Facts", "Refused", "Storable", "judge"]

#: Success and permanent redirection: what a rule's ttl is for. Others are stored when they say so themselves.
_BY_RULE_STATUS = frozenset({200, 203, 204, 300, 301, 308})
#: Never: partial content and validation results (§3.3, §4.3.3), what asks who the client is, and failures.
_NEVER_STATUS = frozenset({206, 304, 401, 407, 412, 416, 421, 429})

#: A window by which no stale response is ever in time, not even one that a soft purge made stale.
_FORBIDDEN = -math.inf

_LISTED = frozenset({b"cache-control", b"vary", b"cache-groups", b"cache-group-invalidation"})
_SINGLE = frozenset(
    {b"age", b"date", b"expires", b"etag", b"last-modified", b"content-type", b"content-length",
     b"content-range", b"set-cookie", b"pragma", b"location", b"content-location"}
)  # fmt: skip


class Facts:
    """What a response's headers say of caching, read in one pass. Of single fields the first counts."""

    __slots__ = ("control", "listed", "single")

    def __init__(self, headers: RawHeaders) -> None:
        self.single: dict[bytes, bytes] = {}
        self.listed: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in _SINGLE:
                self.single.setdefault(name, value)
            elif name in _LISTED:
                self.listed.setdefault(name, []).append(value)
        self.control: Mapping[str, str] = directives.parse(self.listed.get(b"cache-control", ()))

    @property
    def length(self) -> int | None:
        """Content-Length, where it is a number."""
        value = self.single.get(b"content-length", b"")
        return int(value) if value.isdigit() and len(value) < 19 else None


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
    age = initial_age(facts, now, delay)
    flags = SHARED if _answers_authorized(facts) else 0
    explicit = lifetime(facts, now)
    if explicit is None:
        return _by_rule(request, status, facts, age, flags, vary)
    fresh = max(0.0, explicit - age)
    revalidate, error = _stale_windows(facts)
    if fresh == 0 and revalidate <= 0 and error <= 0 and not _can_be_validated(facts):
        return Refused("expired")
    return Storable(fresh, fresh + revalidate, fresh + error, age, flags, vary)


def _refusal(request: Request, status: int, facts: Facts) -> str | None:
    control = facts.control
    if request.no_store or "no-store" in control:  # §5.2.1.5, §5.2.2.5
        return "no-store"
    if request.body:
        return "body"
    if status >= 500 or status < 200 or status in _NEVER_STATUS or b"content-range" in facts.single:
        return "status"
    if "private" in control:  # §5.2.2.7
        return "private"
    if request.personal and (request.rule is None or request.rule.identity == "private"):
        return "personal"
    if request.authorized and not _answers_authorized(facts):  # §3.5
        return "authorization"
    if b"set-cookie" in facts.single:  # §7.3: the next client would get it, too
        return "set-cookie"
    if facts.single.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
        return "event-stream"
    return None


def _by_rule(
    request: Request, status: int, facts: Facts, age: float, flags: int, vary: tuple[bytes, ...]
) -> Storable | Refused:
    rule = request.rule
    if rule is None or rule.ttl == 0 or b"no-cache" in facts.single.get(b"pragma", b"").lower():
        return Refused("no-lifetime")
    if status not in _BY_RULE_STATUS:
        return Refused("status")
    if request.identified:
        return Refused("identity")
    silent = 0 if b"cache-control" in facts.listed else SILENT
    revalidate, error = rule.stale_while_revalidate, rule.stale_if_error
    if _must_revalidate(facts):
        revalidate = error = _FORBIDDEN
    return Storable(rule.ttl, rule.ttl + revalidate, rule.ttl + error, age, flags | BY_RULE | silent, vary)


def lifetime(facts: Facts, now: float) -> float | None:
    """Explicit freshness lifetime in seconds (§4.2.1); None when the response says nothing."""
    control = facts.control
    if "no-cache" in control:  # §5.2.2.4: only ever used after validation
        return 0.0
    for name in ("s-maxage", "max-age"):
        given = directives.seconds(control, name)
        if given is not None:
            return float(given)
    if b"expires" not in facts.single:
        return None
    expires = parse_http_date(facts.single[b"expires"])
    date = parse_http_date(facts.single.get(b"date", b""))
    # §5.3: an Expires that cannot be read is in the past
    return 0.0 if expires is None else max(0.0, expires - (now if date is None else date))


def initial_age(facts: Facts, now: float, delay: float) -> float:
    """corrected_initial_age of §4.2.3, in seconds."""
    date = parse_http_date(facts.single.get(b"date", b""))
    apparent = max(0.0, now - date) if date is not None else 0.0
    value = facts.single.get(b"age", b"").split(b",")[0].strip()
    given = min(int(value), 2**31) if value.isdigit() and len(value) < 19 else 0
    return max(apparent, given + max(0.0, delay))


def _stale_windows(facts: Facts) -> tuple[float, float]:
    """Seconds beyond freshness for stale-while-revalidate and stale-if-error."""
    control = facts.control
    revalidate = directives.seconds(control, "stale-while-revalidate")
    error = directives.seconds(control, "stale-if-error")
    # §5.2.2.10 has s-maxage forbid stale responses, too; a window named beside it permits them again.
    if _must_revalidate(facts) or (revalidate is None and error is None and "s-maxage" in control):
        return _FORBIDDEN, _FORBIDDEN
    return float(revalidate or 0), float(error or 0)


def _must_revalidate(facts: Facts) -> bool:
    return directives.flag(facts.control, "must-revalidate", "proxy-revalidate", "no-cache")


def _answers_authorized(facts: Facts) -> bool:
    return directives.flag(facts.control, "public", "s-maxage", "must-revalidate")


def _can_be_validated(facts: Facts) -> bool:
    return b"etag" in facts.single or b"last-modified" in facts.single
