"""Under what a response is kept: the primary key and the secondary key of Vary (RFC 9111 §2, §4.1)."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, unquote_plus

from ramkit.cache.policy import Rule

__all__ = ["Target", "host_of", "primary", "select_query", "target_of", "variant", "vary_names"]

_DEFAULT_PORT = {"http": b":80", "https": b":443"}


class Target:
    """What a request is about: its key, the names that purges know it by, and its rule."""

    __slots__ = ("host", "key", "path", "query", "rule", "scheme")

    def __init__(
        self, scheme: str, host: str, path: str, raw_path: bytes, query: bytes, rule: Rule | None
    ) -> None:
        self.scheme, self.host, self.path, self.rule = scheme, host, path, rule
        selected = select_query(query, rule) if rule is not None else query
        self.query = selected.decode("latin-1")
        self.key = primary(scheme, host, raw_path, selected)


def target_of(scope: Any, host: bytes, rules: Sequence[Rule]) -> Target:
    """The target of an HTTP scope. The path's raw bytes are the key: ``/a%2Fb`` is not ``/a/b``."""
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    raw_path = raw.split(b"?", 1)[0] if raw is not None else quote(path, safe="/").encode("ascii")
    rule = next((rule for rule in rules if rule.matches(path)), None)
    scheme: str = scope.get("scheme", "http")
    return Target(scheme, host_of(scheme, host), path, raw_path, scope.get("query_string", b""), rule)


def host_of(scheme: str, host: bytes) -> str:
    """Host in lower case without the scheme's default port (RFC 9110 §4.2.3)."""
    return host.lower().removesuffix(_DEFAULT_PORT.get(scheme, b":")).decode("latin-1")


def primary(scheme: str, host: str, raw_path: bytes, query: bytes) -> bytes:
    """16 bytes; the parts are told apart by their lengths."""
    return _digest(b"response", scheme.encode(), host.encode("latin-1"), raw_path, query)


def select_query(query: bytes, rule: Rule) -> bytes:
    """The part of the query that counts under this rule; order is kept unless it says otherwise."""
    if rule.query_select is None and not rule.query_ignore and not rule.query_sort:
        return query
    pairs = [
        (unquote_plus(part.partition(b"=")[0].decode("latin-1")), part) for part in query.split(b"&") if part
    ]
    if rule.query_select is not None:
        pairs = [pair for pair in pairs if pair[0] in rule.query_select]
    elif rule.query_ignore:
        pairs = [pair for pair in pairs if not any(_named(pair[0], pattern) for pattern in rule.query_ignore)]
    if rule.query_sort:
        pairs.sort(key=lambda pair: pair[0])
    return b"&".join(part for _, part in pairs)


def _named(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def vary_names(values: Iterable[bytes]) -> tuple[bytes, ...] | None:
    """The field names of Vary, sorted; None for ``*``, which no request matches."""
    names = {name.strip().lower() for value in values for name in value.split(b",")} - {b""}
    return None if b"*" in names else tuple(sorted(names))


def variant(key: bytes, names: Iterable[bytes], headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """16 bytes: the primary key with what the request says in the fields that Vary names.

    Lines of one field are joined, and space around commas does not count (§4.1).
    """
    pairs = list(headers)
    parts = [b"variant", key]
    for name in names:
        lines = [value for field, value in pairs if field == name]
        normal = b",".join(part.strip() for part in b",".join(lines).split(b","))
        parts += (name, b"+" + normal if lines else b"-")
    return _digest(*parts)


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"".join(b"%d:%b" % (len(part), part) for part in parts), digest_size=16).digest()
