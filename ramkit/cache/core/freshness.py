"""How long a response is fresh, and how old it is already (RFC 9111 §4.2; RFC 5861)."""

import math

from ramkit.cache.core import directives
from ramkit.cache.core.conditional import parse_http_date
from ramkit.cache.core.facts import Facts

__all__ = ["FORBIDDEN", "heuristic_lifetime", "initial_age", "lifetime", "stale_windows"]

#: A window by which no stale response is ever in time, not even one that a soft purge made stale.
FORBIDDEN = -math.inf

#: §4.2.2: "cacheable by default", RFC 9110 §15.1; 206 goes its own way
HEURISTICALLY_CACHEABLE = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
#: Seconds that a guess is good for at most.
_LONGEST_GUESS = 86_400.0


def lifetime(facts: Facts, now: float) -> float | None:
    """Explicit freshness lifetime in seconds (§4.2.1); None when the response says nothing."""
    if facts.no_cache:  # §5.2.2.4: only ever used after validation
        return 0.0
    for name in ("s-maxage", "max-age"):
        given = directives.seconds(facts.control, name)
        if given is not None:
            return float(given)
    if b"expires" not in facts.single or facts.targeted:
        return None
    expires = parse_http_date(facts.single[b"expires"])
    # §5.3: an Expires that cannot be read is in the past
    return 0.0 if expires is None else max(0.0, expires - _date(facts, now))


def heuristic_lifetime(status: int, facts: Facts, now: float, fraction: float) -> float | None:
    """§4.2.2: a fraction of the time since Last-Modified, in seconds; None where nothing may be guessed."""
    if not fraction or (status not in HEURISTICALLY_CACHEABLE and "public" not in facts.control):
        return None
    modified = parse_http_date(facts.single.get(b"last-modified", b""))
    if modified is None:
        return None
    return min(_LONGEST_GUESS, max(0.0, _date(facts, now) - modified) * fraction)


def initial_age(facts: Facts, now: float, delay: float) -> float:
    """corrected_initial_age of §4.2.3, in seconds."""
    date = parse_http_date(facts.single.get(b"date", b""))
    apparent = max(0.0, now - date) if date is not None else 0.0
    given = directives.delta(facts.single.get(b"age", b"").split(b",")[0].strip().decode("latin-1"))
    return max(apparent, given + max(0.0, delay))


def stale_windows(facts: Facts, stale_if_error: float) -> tuple[float, float]:
    """Seconds beyond freshness for stale-while-revalidate and stale-if-error, of a response that names its
    own lifetime. ``stale_if_error``: the second (§4.2.4), where the response names neither."""
    revalidate = directives.seconds(facts.control, "stale-while-revalidate")
    error = directives.seconds(facts.control, "stale-if-error")
    # §5.2.2.10 has s-maxage forbid stale responses, too; a window named beside it permits them again.
    if facts.must_revalidate or (revalidate is None and error is None and "s-maxage" in facts.control):
        return FORBIDDEN, FORBIDDEN
    return float(revalidate or 0), float(stale_if_error if error is None else error)


def _date(facts: Facts, now: float) -> float:
    date = parse_http_date(facts.single.get(b"date", b""))
    return now if date is None else date
