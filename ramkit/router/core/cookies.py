"""A request's cookies, as browsers send them and Starlette reads them, in linear time.

Python's own unquoting, which Starlette uses, is quadratic in Python 3.11 up to .9 and 3.12 up to .5
(CVE-2024-7592): 60 KB of backslashes take it ten seconds.
"""

import re
from collections.abc import Iterable

__all__ = ["cookies_of"]

_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


def cookies_of(headers: Iterable[str]) -> dict[str, str]:
    """From the ``Cookie`` fields; of one name the last counts, and one without ``=`` has no name."""
    found: dict[str, str] = {}
    for header in headers:
        for pair in header.split(";"):
            name, equals, value = pair.partition("=")
            if not equals:
                name, value = "", name
            name, value = name.strip(), value.strip()
            if name or value:
                found[name] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    """RFC 2109 §4.1 quotes, which RFC 6265 takes for part of the value, and every server removes."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])
