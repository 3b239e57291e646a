"""The session's cookie, read and written (RFC 6265, and 6265bis for prefixes)."""

import re
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, cast

from ramkit.kernel.errors import ConfigurationError

__all__ = ["COOKIE_BYTES", "Cookie", "find_cookie"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")
#: RFC 6265bis §5.6: name and value together, and each attribute's value
COOKIE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Cookie:
    """How the session's cookie is named and kept.

    ``insecure_over_plain_http``: without Secure, so that anybody on the way can read and set it; for
    development, and not with a ``__Host-`` or ``__Secure-`` name.
    """

    name: str = "__Host-session"
    _: KW_ONLY
    path: str = "/"
    domain: str | None = None
    same_site: Literal["lax", "strict", "none"] = "lax"
    insecure_over_plain_http: bool = False
    _head: bytes = field(init=False, repr=False, compare=False)
    _tail: bytes = field(init=False, repr=False, compare=False)
    _pair: "re.Pattern[bytes]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(cast(object, self.name), str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError("name", f"{self.name!r} is no cookie's name")
        if not _PATH.fullmatch(self.path):
            raise ConfigurationError("path", f"{self.path!r} is no path")
        if self.domain is not None and not re.fullmatch(r"[A-Za-z0-9.-]+", self.domain):
            raise ConfigurationError("domain", f"{self.domain!r} is no domain")
        if self.same_site not in ("lax", "strict", "none"):
            raise ConfigurationError("same_site", f"{self.same_site!r} is none of lax, strict, none")
        self._check_prefix()
        secure = "" if self.insecure_over_plain_http else "; Secure"
        domain = "" if self.domain is None else f"; Domain={self.domain}"
        tail = f"; Path={self.path}{domain}; HttpOnly{secure}; SameSite={self.same_site.capitalize()}"
        object.__setattr__(self, "_head", f"{self.name}=".encode())
        object.__setattr__(self, "_tail", tail.encode())
        object.__setattr__(self, "_pair", pair_of(self.name))

    def _check_prefix(self) -> None:
        """6265bis §4.1.3: browsers drop cookies that break their prefix's promise."""
        prefix = self.name.lower()
        if prefix.startswith(("__host-", "__secure-")) and self.insecure_over_plain_http:
            raise ConfigurationError("insecure_over_plain_http", f"{self.name} is kept only when Secure")
        if prefix.startswith("__host-") and (self.domain is not None or self.path != "/"):
            raise ConfigurationError("name", f"{self.name} has no Domain, and the Path /")
        if self.same_site == "none" and self.insecure_over_plain_http:
            raise ConfigurationError("same_site", "none is kept only when Secure")

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The value that a request brings."""
        return find_cookie(headers, self._pair)

    def kept(self, value: bytes, seconds: float) -> bytes:
        """Set-Cookie that has the browser keep it so long."""
        return b"%b%b; Max-Age=%d%b" % (self._head, value, seconds, self._tail)

    def removed(self) -> bytes:
        """Set-Cookie that has the browser forget it."""
        return b"%b; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT%b" % (self._head, self._tail)

    def room(self) -> int:
        """Bytes that a value may have."""
        return COOKIE_BYTES - len(self._head)


def find_cookie(headers: Iterable[tuple[bytes, bytes]], pair: "re.Pattern[bytes]") -> bytes | None:
    """The value of the pair, over all Cookie lines; None where there is none.

    Also None where several differ: one of them was set by somebody else, a sibling domain or a page under
    another path, and nothing says which (RFC 6265 §8.6). Taking the first, or the one that is valid, would
    let an attacker put a victim into his own session.
    """
    values: list[bytes] = []
    for name, line in headers:
        if name == b"cookie":
            values += pair.findall(line)
    if not values:
        return None
    first = values[0].rstrip(b" \t")
    return first if len(values) == 1 or all(each.rstrip(b" \t") == first for each in values) else None


def pair_of(name: str) -> "re.Pattern[bytes]":
    """What finds the values of one name, compared as it stands (RFC 6265 §4.2.1)."""
    return re.compile(rb"(?:^|;)[ \t]*" + re.escape(name.encode()) + rb"=([^;]*)")
