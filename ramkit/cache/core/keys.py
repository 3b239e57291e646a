"""Under what a response is kept: the primary key and the secondary key of Vary (RFC 9111 §2, §4.1)."""

import re
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_plus

from ramkit.cache.core import search
from ramkit.cache.core.negotiating import best_language, encodings, languages
from ramkit.cache.policy import Rule
from ramkit.kernel.headers import find, find_all

__all__ = [
    "Target",
    "authority",
    "host_of",
    "language_alias",
    "primary",
    "select_query",
    "variant",
    "vary_names",
    "wanted_language",
]

#: Fields that Vary may name.
_VARY = 64
#: Bytes of a query.
_LONGEST_QUERY = 4096
_DEFAULT_PORT = {"http": b":80", "https": b":443"}
#: Delimiters of a decoded path: whoever stands behind may end the path there, and answer for another one than
#: the rule is about (web cache deception; Doyhenard, "Gotta cache 'em all", 2024).
_DELIMITERS = re.compile(r"[\x00-\x1f\x7f\\?#;]")


class Target:
    """What a request is about: its key, the names that purges know it by, and its rule."""

    __slots__ = ("_paths", "host", "key", "path", "query", "rule", "scheme")

    def __init__(self, scope: Any, rules: Sequence[Rule]) -> None:
        self.scheme: str = scope.get("scheme", "http")
        self.host = authority(scope)
        self.path: str = scope["path"]
        self.rule = next((rule for rule in rules if rule.matches(self.path)), None)
        query: bytes = scope.get("query_string", b"")
        selected = select_query(query, self.rule) if self.rule is not None else query
        self.query = selected.decode("latin-1")
        # The raw path tells /a%2Fb from /a/b; a middleware outside may have changed the path, or where
        # the app is mounted, and left it.
        raw: bytes = scope.get("raw_path") or b""
        if self.rule is not None and (_DELIMITERS.search(self.path) or b"%2f" in raw.lower()):
            self.rule = self.rule.strict
        self._paths = raw.partition(b"?")[0], _bytes(self.path), _bytes(scope.get("root_path", ""))
        self.key = primary(self.scheme, self.host, self._paths, selected)

    @property
    def searchable(self) -> bool:
        """Whether No-Vary-Search looks at its query: to compare long ones takes a while."""
        return len(self.query) <= _LONGEST_QUERY

    @property
    def searches(self) -> bytes:
        """The key of what responses at this path said in No-Vary-Search."""
        return _digest(b"searches", self.scheme.encode(), self.host.encode("latin-1"), *self._paths)

    def search_alias(self, spoken: bytes) -> bytes:
        """The key that all queries share which that No-Vary-Search does not tell apart."""
        normal = search.normal(self.query.encode("latin-1"), search.parse(spoken))
        return _digest(b"search", self.searches, spoken, *normal)


def authority(scope: Any) -> str:
    """The host that a request is for; without Host (HTTP/1.0) the server's own address."""
    scheme: str = scope.get("scheme", "http")
    host = find(scope["headers"], b"host")
    if not host and (server := scope.get("server")):
        host = f"{server[0]}:{server[1]}".encode("latin-1", "replace")
    return host_of(scheme, host or b"")


def host_of(scheme: str, host: bytes) -> str:
    """Host in lower case without the scheme's default port (RFC 9110 §4.2.3)."""
    return host.lower().removesuffix(_DEFAULT_PORT.get(scheme, b":")).decode("latin-1")


def primary(scheme: str, host: str, paths: Iterable[bytes], query: bytes) -> bytes:
    """16 bytes; the parts are told apart by their lengths."""
    return _digest(b"response", scheme.encode(), host.encode("latin-1"), *paths, query)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def select_query(query: bytes, rule: Rule) -> bytes:
    """The part of the query that counts under this rule; order is kept unless it says otherwise.

    What has a semicolon always counts: for some apps it ends a parameter, and another one begins.
    """
    if rule.query_select is None and not rule.query_ignore and not rule.query_sort:
        return query
    pairs = [
        (unquote_plus(part.partition(b"=")[0].decode("latin-1")), part) for part in query.split(b"&") if part
    ]
    if rule.query_select is not None:
        pairs = [pair for pair in pairs if pair[0] in rule.query_select or b";" in pair[1]]
    elif rule.query_ignore:
        pairs = [pair for pair in pairs if b";" in pair[1] or not _ignored(pair[0], rule.query_ignore)]
    if rule.query_sort:
        pairs.sort(key=lambda pair: pair[0])
    return b"&".join(part for _, part in pairs)


def _ignored(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns)


def vary_names(values: Iterable[bytes]) -> tuple[bytes, ...] | None:
    """The field names of Vary, sorted; None for ``*``, which no request matches, and for more than anybody
    means."""
    names = {name.strip().lower() for value in values for name in value.split(b",")} - {b""}
    return None if b"*" in names or len(names) > _VARY else tuple(sorted(names))


def variant(
    key: bytes, names: Collection[bytes], headers: Iterable[tuple[bytes, bytes]], rule: Rule | None = None
) -> bytes:
    """16 bytes: the primary key with what the request says in the fields that Vary names.

    Lines of one field are joined, and space around commas does not count (§4.1); neither does what
    Accept-Encoding and Accept-Language say the same without.
    """
    said: dict[bytes, list[bytes]] = {}
    for field, value in headers:
        if field in names:
            said.setdefault(field, []).append(value)
    parts = [b"variant", key]
    for name in names:
        parts += (name, b"+" + _normal(name, b",".join(said[name]), rule) if name in said else b"-")
    return _digest(*parts)


def _normal(name: bytes, value: bytes, rule: Rule | None) -> bytes:
    if name == b"accept-encoding":
        return encodings(value)
    if name == b"accept-language":
        return languages(value, ordered=rule is None or rule.accept_language == "exact")
    return b",".join(part.strip() for part in value.split(b","))


def wanted_language(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The language that the request likes best, if there is one."""
    return best_language(b",".join(find_all(headers, b"accept-language")))


def language_alias(
    key: bytes, names: Collection[bytes], headers: Iterable[tuple[bytes, bytes]], language: bytes
) -> bytes:
    """The key by which requests find a variant in the language that they like best, whatever else they
    accept."""
    return _digest(
        b"language", variant(key, [name for name in names if name != b"accept-language"], headers), language
    )


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"".join(b"%d:%b" % (len(part), part) for part in parts), digest_size=16).digest()
