"""What a request says in Accept-Encoding and Accept-Language, in one spelling (RFC 9110 §12.5.3, §12.5.4)."""

import re
from functools import lru_cache

__all__ = ["best_language", "encodings", "languages"]

_Q = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
#: §8.4.1.3
_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}
#: Members beyond these, or what cannot be read, leave the field as it was sent; so does a longer one, which
#: would be remembered, too.
_MOST, _LONGEST = 64, 2048


def encodings(value: bytes) -> bytes:
    """Codings with their weights, sorted: their order says nothing, nor does case, and any response that
    one request accepts the other does, too."""
    return _encodings(value) if len(value) <= _LONGEST else value


@lru_cache(maxsize=1024)
def _encodings(value: bytes) -> bytes:
    members = _members(value)
    if members is None:
        return value
    return _spelled(sorted((_ALIASES.get(name, name), weight) for name, weight in members))


def languages(value: bytes, *, ordered: bool = True) -> bytes:
    """Ranges with their weights, without regard to case. ``ordered``: as they stand, since many apps take
    the first of those with the same weight; else by weight and name."""
    return _languages(value, ordered=ordered) if len(value) <= _LONGEST else value


@lru_cache(maxsize=1024)
def _languages(value: bytes, *, ordered: bool) -> bytes:
    members = _members(value)
    if members is None:
        return value
    return _spelled(members if ordered else sorted(members, key=lambda pair: (-pair[1], pair[0])))


def best_language(value: bytes) -> bytes | None:
    """The one range that is liked best, in lower case. None when it is a wildcard, or when several are liked
    alike."""
    return _best_language(value) if len(value) <= _LONGEST else None


@lru_cache(maxsize=1024)
def _best_language(value: bytes) -> bytes | None:
    members = sorted(_members(value) or (), key=lambda pair: -pair[1])
    if not members or members[0][0] == b"*" or members[0][1] == 0:
        return None
    return members[0][0] if len(members) == 1 or members[1][1] < members[0][1] else None


def _members(value: bytes) -> list[tuple[bytes, int]] | None:
    """Names in lower case with their weight in thousandths (§12.4.2)."""
    parts = [part for part in (each.strip() for each in value.lower().split(b",")) if part]
    if len(parts) > _MOST:
        return None
    found: list[tuple[bytes, int]] = []
    for part in parts:
        name, semicolon, parameter = part.partition(b";")
        match = _Q.fullmatch(parameter.strip()) if semicolon else None
        if semicolon and match is None:
            return None
        found.append((name.strip(), round(float(match[1]) * 1000) if match is not None else 1000))
    return found


def _spelled(members: list[tuple[bytes, int]]) -> bytes:
    """Nothing that is left as it was sent looks like this: it has a semicolon, or more members. Else whoever
    sends what apps cannot read would choose the answer of those who sent what it looks like."""
    return b",".join(b"%d %b" % (weight, name) for name, weight in members)
