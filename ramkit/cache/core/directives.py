"""Cache-Control and its kin (RFC 9111 §5.2), parsed once for each distinct value."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

__all__ = ["LONGEST", "UNREADABLE", "delta", "field_names", "flag", "parse", "seconds"]

#: §1.2.2: what is too large to hold counts as this many seconds
_FOREVER = 2**31

# Members are split at the commas outside of quoted strings; a quote that is never closed is taken as
# it stands, so that odd extensions cannot hide their neighbours (§5.2.3). A semicolon is no separator, but
# many write one: `private; max-age=60` means private.
_MEMBER = re.compile(r'(?:[^",;]++|"(?:[^"\\]|\\.)*+"|")++')
_ESCAPED = re.compile(r"\\(.)")


def parse(values: Iterable[bytes]) -> Mapping[str, str]:
    """Directive names in lower case to their arguments, unquoted ("" for none).

    Of one that stands twice the first counts (§4.2.1), field lines in their order; of ``no-cache`` the
    one without field names, if there is one, which says more.
    """
    value = b",".join(values)
    return _parse(value) if len(value) <= LONGEST else UNREADABLE


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for member in _MEMBER.findall(value.decode("latin-1")):
        name, _, argument = member.partition("=")
        argument = argument.strip()
        if len(argument) > 1 and argument[0] == argument[-1] == '"':
            argument = _ESCAPED.sub(r"\1", argument[1:-1])
        name = name.strip().lower()
        if name == "no-cache" and name in found:
            found[name] = f"{found[name]},{argument}" if argument and found[name] else ""
        else:
            found.setdefault(name, argument)
    return MappingProxyType(found)


#: a longer field is nobody's honest one: it is not read but taken for the strictest
LONGEST = 2048
UNREADABLE: Mapping[str, str] = MappingProxyType({"no-store": ""})


def seconds(directives: Mapping[str, str], name: str) -> int | None:
    """The delta-seconds (§1.2.2) of a directive; None when it is not there, 0 when it is no number:
    a cache is to count what it cannot read as stale (§4.2.1)."""
    argument = directives.get(name)
    return delta(argument) if argument is not None else None


def delta(argument: str) -> int:
    """delta-seconds; 0 for what is no number."""
    if not argument.isascii() or not argument.isdigit():
        return 0
    return min(int(argument), _FOREVER) if len(argument) < 19 else _FOREVER


def flag(directives: Mapping[str, str], *names: str) -> bool:
    """Whether one of them is there, with or without an argument: ``private="x-token"`` counts as
    ``private``, the stricter reading that §5.2.2.7 allows."""
    return any(name in directives for name in names)


_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9a-z-]+)*")


def field_names(directives: Mapping[str, str], name: str) -> frozenset[bytes]:
    """The fields that a directive is limited to (§5.2.2.4), in lower case; none where it is not there, has no
    argument, or one that is no list of names: then it is about the whole response."""
    argument = directives.get(name, "").lower().strip()
    if not _NAMES.fullmatch(argument):
        return frozenset()
    return frozenset(part.strip().encode() for part in argument.split(","))
