"""May this entry be served, and with which headers (RFC 9111 §4, §5.1; RFC 9211)."""

import math
import random
from enum import Enum
from functools import lru_cache

from ramkit.cache.core.entry import SILENT, Entry
from ramkit.cache.core.purging import Verdict
from ramkit.cache.policy import Rule
from ramkit.kernel.asgi import RawHeaders

__all__ = [
    "State",
    "age_of",
    "browser_control",
    "draw_refresh",
    "head_of",
    "kept_headers",
    "state_of",
    "unstored_of",
]

#: Not stored (§3.1): meant for one connection, or written anew with each hit.
_UNSTORED = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info",
     b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
     b"age", b"x-cache"}
)  # fmt: skip
#: Seconds by which processes may differ in reading Redis's clock.
_SKEW = 5.0


class State(Enum):
    """What an entry is good for."""

    FRESH = 1
    #: may be served while it is refreshed
    STALE = 2
    #: good for validation, and for errors until ``error_until``
    EXPIRED = 3
    GONE = 4


def state_of(entry: Entry, verdict: Verdict, now: float) -> State:
    """§4.2 and RFC 5861 §3: what the purge table says, then the time."""
    if verdict is Verdict.GONE:
        return State.GONE
    if entry.stored > now + _SKEW:  # the clock was set back: nobody knows how old it is
        return State.EXPIRED
    if verdict is Verdict.VALID and now < entry.fresh_until:
        return State.FRESH
    return State.STALE if now < entry.revalidate_until else State.EXPIRED


def draw_refresh(stored: float, fresh_until: float, cost: float) -> float:
    """When an entry is refreshed ahead of its expiry: the dearer its render (``cost``, seconds), the earlier.

    Drawn for each render from the distribution of Vattani et al., "Optimal Probabilistic Cache Stampede
    Prevention" (VLDB 2015), with beta = 1; never in the first half of its life.
    """
    early = -cost * math.log(1.0 - random.random())  # noqa: S311  # spreads load, hides nothing
    return max(fresh_until - early, (stored + fresh_until) / 2)


def age_of(entry: Entry, now: float) -> int:
    """current_age of §4.2.3 in whole seconds."""
    return max(0, int(entry.age + now - entry.stored))


def unstored_of(headers: RawHeaders) -> frozenset[bytes]:
    """The fields that are not stored of these (§3.1): also those that Connection names."""
    named = {
        value.strip().lower() for name, line in headers if name == b"connection" for value in line.split(b",")
    }
    return _UNSTORED | named


def kept_headers(
    headers: RawHeaders, status: int, length: int, omit: frozenset[bytes] = frozenset()
) -> RawHeaders:
    """A response's headers as they are stored, in their order; the length of the body is known now.
    ``omit``: fields that a qualified no-cache keeps from being used again (§5.2.2.4)."""
    unstored = unstored_of(headers) | omit
    kept = [pair for pair in headers if pair[0] not in unstored]
    if status != 204 and not any(name == b"content-length" for name, _ in kept):
        kept.append((b"content-length", b"%d" % length))
    return kept


def head_of(entry: Entry, age: int, rule: Rule | None, x_cache: bytes, cache_status: bytes) -> RawHeaders:
    """The headers of a response made from an entry: as stored, then what the cache says itself."""
    own = (b"age", b"%d" % age), (b"x-cache", x_cache), (b"cache-status", b"ramkit; %b" % cache_status)
    control = (browser_control(rule, age),) if entry.flags & SILENT else ()
    return [_shared(*pair) for pair in (*entry.headers, *control, *own)]


@lru_cache(1024)
def _shared(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """One pair for all responses that have it: they are many, and the processor's cache is small."""
    return name, value


def browser_control(rule: Rule | None, age: int) -> tuple[bytes, bytes]:
    """What a rule lets browsers do with a response that says nothing itself.

    ``max-age`` counts from Age 0 (§4.2.3), so the age is added: the browser has its seconds from now.
    """
    browser_ttl = rule.browser_ttl if rule is not None else 0
    value = b"max-age=%d" % (browser_ttl + age) if browser_ttl else b"no-cache"
    return b"cache-control", value
