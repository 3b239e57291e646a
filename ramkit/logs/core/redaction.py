"""What no log may show, and text that can be shown."""

import re
from collections.abc import Collection, Container, Iterable
from fnmatch import translate
from functools import lru_cache
from urllib.parse import unquote_plus

from ramkit.kernel.errors import ConfigurationError

__all__ = ["SECRETS", "Redaction", "shown"]

_REDACTED = "[redacted]"

#: Names of parameters whose values are secrets, as patterns, in lower case and with underscores.
SECRETS = frozenset({
    "*token*", "*secret*", "*password*", "*passwd*", "pwd", "pass", "passphrase", "pin", "otp", "code",
    "key", "*api_key", "*apikey", "*access_key*", "*accesskey*", "*private_key*", "*signature*", "sig",
    "*credential*", "auth", "*authorization*", "*jwt*", "*assertion*", "saml*", "*session*", "sid", "ticket",
})  # fmt: skip

#: never in clear, whatever is asked for
_HEADERS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"})
#: the last four are what proxies say of the request that they were sent
_URLS = frozenset({
    b"referer", b"location", b"content-location",
    b"x-forwarded-uri", b"x-original-uri", b"x-original-url", b"x-rewrite-url",
})  # fmt: skip
#: characters of one text; what is longer is cut
_LONGEST = 1024
#: an equals sign, maybe encoded, and that again
_NESTED = re.compile(r"=|%(?:25)*3d", re.IGNORECASE)
_SEPARATORS = re.compile(r"[?&;#]")
#: how often what is nested is decoded
_DEPTH = 3
_WORDS = re.compile(r"[^a-z0-9]+")


def shown(text: str) -> str:
    """At most 1,024 characters of a text, with escapes for what is not printable.

    So no control character, no direction mark and no lone surrogate reaches whoever reads the log.
    """
    text = _cut(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


class Redaction:
    """Hides the values of parameters and headers whose names are secrets'. ``names``: patterns as in
    ``SECRETS``; a name within brackets counts as one of its own."""

    __slots__ = ("_match", "secret")

    def __init__(self, names: Collection[str]) -> None:
        if isinstance(names, str):
            raise ConfigurationError("redact", f"{names!r} is one string: give a list of them")
        plain = sorted(name.lower().replace("-", "_") for name in names)
        self._match = re.compile("|".join(map(translate, plain)) or r"(?!)").match
        #: whether a parameter of this name, still encoded, holds a secret; the same come again and again
        self.secret = lru_cache(maxsize=1024)(self._judge)

    def _judge(self, name: str) -> bool:
        plain = unquote_plus(name)
        words = _WORDS.sub("_", plain.lower()).strip("_")
        return bool(self._match(words)) or ("[" in plain and any(map(self._match, words.split("_"))))

    def query(self, query: bytes) -> str:
        """A query string, secrets hidden."""
        return shown(self._hidden(query[: _LONGEST + 1].decode("latin-1")))

    def _hidden(self, query: str) -> str:
        return "&".join(map(self._piece, query.split("&")))

    def _piece(self, piece: str) -> str:
        """What stands between two ``&``. A semicolon separates pairs for some servers and is part of a value
        for others: neither way is a secret shown."""
        before = ""
        for pair in piece.split(";"):
            name, _, value = pair.partition("=")
            if value and (self.secret(name) or (_NESTED.search(value) and self._holds_secret(value))):
                return f"{before}{name}={_REDACTED}"
            before += f"{pair};"
        return piece

    def _holds_secret(self, value: str) -> bool:
        """Whether a value is a URL, say, with a query of its own that has a secret."""
        for _ in range(_DEPTH):
            value = unquote_plus(value)
            pairs = [each.partition("=") for each in _SEPARATORS.split(value)]
            if any(text and self.secret(name) for name, _, text in pairs):
                return True
        return False

    def url(self, url: str) -> str:
        """A URL without userinfo and fragment, secrets in its query hidden."""
        before, mark, query = url.partition("#")[0].partition("?")
        scheme, slashes, rest = before.partition("//")
        authority, slash, path = rest.partition("/")
        authority = authority.rpartition("@")[2]
        return shown(f"{scheme}{slashes}{authority}{slash}{path}{mark}{self._hidden(query[: _LONGEST + 1])}")

    def headers(self, found: Iterable[tuple[bytes, bytes]], names: Container[bytes]) -> dict[str, str]:
        """The fields of these names, several of one joined."""
        said: dict[str, str] = {}
        for name, value in found:
            if name not in names:
                continue
            key = name.decode("latin-1")
            if key not in said:
                said[key] = self._header(name, key.removeprefix("x-"), value)
            elif len(said[key]) <= _LONGEST:  # else cut already
                said[key] = _cut(f"{said[key]}, {self._header(name, key.removeprefix('x-'), value)}")
        return said

    def _header(self, name: bytes, plain: str, value: bytes) -> str:
        if name in _HEADERS or self.secret(plain):
            return _REDACTED
        text = value.decode("latin-1")
        return self.url(text) if name in _URLS else shown(text)
