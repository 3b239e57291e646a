"""Queries that No-Vary-Search does not tell apart (draft-ietf-httpbis-no-vary-search)."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import unquote_plus

import http_sf

__all__ = ["Search", "normal", "parse"]

#: A longer field is nobody's honest one; it is as if it were not there.
_LONGEST = 2048


class Search(NamedTuple):
    """What of a query counts. ``named``: these parameters do not, or with ``only`` these alone do."""

    ordered: bool = True
    named: frozenset[str] = frozenset()
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


def _names(items: Any) -> frozenset[str] | None:
    """Those of an Inner List of Strings, written as in a query; None for anything else."""
    if items is None:
        return frozenset()
    if not isinstance(items, list):
        return None
    names = [name for name, _ in cast(list[tuple[object, object]], items)]
    return frozenset(unquote_plus(str(name)) for name in names) if {*map(type, names)} <= {str} else None


def normal(query: bytes, search: Search) -> Iterable[bytes]:
    """What counts of a query (§5, §6), read as application/x-www-form-urlencoded: names, values in turn.
    Bytes that are no UTF-8 stay different ones."""
    pairs = [
        (unquote_plus(name, errors="surrogateescape"), unquote_plus(value, errors="surrogateescape"))
        for name, _, value in (part.partition("=") for part in query.decode("latin-1").split("&") if part)
    ]
    pairs = [pair for pair in pairs if (pair[0] in search.named) == search.only]
    if not search.ordered:
        pairs.sort(key=lambda pair: pair[0])
    return [text.encode("utf-8", "surrogatepass") for pair in pairs for text in pair]
