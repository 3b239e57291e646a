"""Queries that No-Vary-Search does not tell apart (draft-ietf-httpbis-no-vary-search)."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import unquote_to_bytes

import http_sf

__all__ = ["Search", "normal", "parse"]

#: A longer field is nobody's honest one; it is as if it were not there.
_LONGEST = 2048


class Search(NamedTuple):
    """What of a query counts. ``named``: these parameters do not, or with ``only`` these alone do."""

    ordered: bool = True
    named: frozenset[bytes] = frozenset()
    only: bool = False


@lru_cache(maxsize=1024)
def parse(value: bytes) -> Search:
    """The field's value, its lines joined. Whatever is malformed, of another type or without effect leaves
    everything to count (§4)."""
    if not value or len(value) > _LONGEST:
        return Search()
    try:
        members: Any = http_sf.parse(value, tltype="dictionary")
    except (http_sf.StructuredFieldError, ValueError):
        return Search()
    order, params, excepted = (
        members[name][0] if name in members else None for name in ("key-order", "params", "except")
    )
    if not isinstance(order, bool | None) or (excepted is not None and params is not True):
        return Search()
    kept, dropped = _names(excepted), _names(params)
    if kept is None or (dropped is None and not isinstance(params, bool)):
        return Search()
    return Search(order is not True, kept if params is True else dropped or frozenset(), params is True)


def _names(items: Any) -> frozenset[bytes] | None:
    """Those of an Inner List of Strings, written as in a query; None for anything else."""
    if items is None:
        return frozenset()
    if not isinstance(items, list):
        return None
    names = [name for name, _ in cast(list[tuple[object, object]], items)]
    return frozenset(_octets(str(name).encode()) for name in names) if {*map(type, names)} <= {str} else None


def normal(query: bytes, search: Search) -> Iterable[bytes]:
    """What counts of a query (§5, §6), read as application/x-www-form-urlencoded: names, values in turn."""
    pairs = [
        (_octets(name), _octets(value))
        for name, _, value in (part.partition(b"=") for part in query.split(b"&") if part)
    ]
    pairs = [pair for pair in pairs if (pair[0] in search.named) == search.only]
    if not search.ordered:
        pairs.sort(key=lambda pair: pair[0])
    return [part for pair in pairs for part in pair]


def _octets(text: bytes) -> bytes:
    """Decoded, but not to characters: what is no UTF-8 would all be the same one."""
    return unquote_to_bytes(text.replace(b"+", b" "))
