"""Cache directives for one kind of cache (RFC 9213): CDN-Cache-Control."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import http_sf

from ramkit.cache.core import directives

__all__ = ["CDN_CACHE_CONTROL", "parse"]

#: The target list (§2.2): a reverse proxy's cache and one in the app are the site's own, as a CDN's is.
CDN_CACHE_CONTROL = b"cdn-cache-control"
#: So no-cache with a String of fields is about all of them, the stricter reading (RFC 9111 §5.2.2.4).
_UNREADABLE = "?"


def parse(lines: Sequence[bytes]) -> Mapping[str, str] | None:
    """The directives as ``directives.parse`` gives them. None where the field is absent, empty or no
    Dictionary (§2.1): then Cache-Control counts."""
    value = b", ".join(lines)
    if not value:
        return None
    return _parse(value) if len(value) <= directives.LONGEST else directives.UNREADABLE


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> Mapping[str, str] | None:
    try:
        members: Any = http_sf.parse(value, tltype="dictionary")
    except (http_sf.StructuredFieldError, ValueError):
        return None
    found = {name: _argument(item) for name, (item, _parameters) in members.items() if item is not False}
    return MappingProxyType(found) if members else None


def _argument(item: Any) -> str:
    """§2.1 infers the types: Boolean for none, Integer for seconds. Of another type it is no number and no
    field name, and counts as one that cannot be read."""
    if item is True:
        return ""
    return str(item) if isinstance(item, int | http_sf.Token) else _UNREADABLE
