"""Header pairs, read in one pass.

Names are given in lower case and compared as they stand: servers hand requests over in lower case,
and ``asgi.raw_headers`` brings an app's responses to it. There is no dict of all headers, as it
would lose the second Set-Cookie.
"""

import re
from collections.abc import Container, Iterable

from ramkit.kernel.asgi import RawHeaders

__all__ = ["find", "find_all", "replace", "scan", "well_formed", "without"]

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: RFC 9110 §5.5: no CR, LF, NUL or other control character but the tab
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def well_formed(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether these would survive as header fields (RFC 9110 §5.1, §5.5)."""
    return all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in headers)


def find(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The value of the first field line of that name."""
    for key, value in headers:
        if key == name:
            return value
    return None


def find_all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values of all field lines of that name, in their order."""
    return [value for key, value in headers if key == name]


def scan(headers: Iterable[tuple[bytes, bytes]], names: Container[bytes]) -> dict[bytes, bytes]:
    """The fields of these names that are there.

    Several lines are joined by a comma (RFC 9110 §5.3), those of Cookie by a semicolon (RFC 9113
    §8.2.3). A field that is no list and stands twice so becomes a value that nobody can read, as it
    should. Not for Set-Cookie, which cannot be joined: ``find_all``.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in names:
            if name in found:
                value = found[name] + (b"; " if name == b"cookie" else b", ") + value  # noqa: PLW2901 - joined
            found[name] = value
    return found


def without(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> RawHeaders:
    """A fresh list that lacks the fields of these names."""
    return [pair for pair in headers if pair[0] not in names]


def replace(headers: Iterable[tuple[bytes, bytes]], name: bytes, value: bytes) -> RawHeaders:
    """A fresh list where this field has this value alone; it stands last."""
    return [*without(headers, name), (name, value)]
