"""Cache groups (RFC 9875): the fields Cache-Groups and Cache-Group-Invalidation."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import http_sf

__all__ = ["groups_of"]

#: RFC 9875 §2 asks for at least 32 groups; more make an entry dearer to judge.
_MOST = 128


def groups_of(lines: Sequence[bytes]) -> tuple[str, ...] | None:
    """The names in a List of Strings; None when it cannot be read, or names too many.

    A response whose groups cannot be read is better not stored than never purged.
    """
    return _parse(b", ".join(lines)) if lines else ()


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> tuple[str, ...] | None:
    try:
        members: Any = http_sf.parse(value, tltype="list")
    except (http_sf.StructuredFieldError, ValueError):
        return None
    names = [name for name, _ in members]
    if len(names) > _MOST or not all(type(name) is str and name for name in names):
        return None
    return tuple(names)
