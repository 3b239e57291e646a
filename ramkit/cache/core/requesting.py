"""What a request's own directives make of a stored response (RFC 9111 §5.2.1)."""

import math
from collections.abc import Mapping

from ramkit.cache.core import directives
from ramkit.cache.core.entry import Entry
from ramkit.cache.core.serving import State, age_of

__all__ = ["wanted"]


def wanted(asked: Mapping[str, str], entry: Entry, state: State, now: float) -> State:
    """The entry's state as this request sees it: where it asks for more than is there, the entry is
    good for validation only, and where it takes stale ones, for an answer.

    A max-stale that the response forbids (§4.2.4) counts for nothing, and so does one with no-cache.
    """
    if state is State.GONE:
        return state
    if "no-cache" in asked:  # §5.2.1.4
        return State.EXPIRED
    most = directives.seconds(asked, "max-age")  # §5.2.1.1
    if most is not None and age_of(entry, now) > most:
        return State.EXPIRED
    least = directives.seconds(asked, "min-fresh")  # §5.2.1.3
    if least is not None and entry.fresh_until - now < least:
        return State.EXPIRED
    if state is State.EXPIRED and now < entry.fresh_until + _max_stale(asked) and not _forbidden(entry):
        return State.STALE
    return state


def _max_stale(asked: Mapping[str, str]) -> float:
    """§5.2.1.2: without an argument any age will do."""
    if asked.get("max-stale") == "":
        return math.inf
    return directives.seconds(asked, "max-stale") or 0.0


def _forbidden(entry: Entry) -> bool:
    return entry.revalidate_until == -math.inf
