"""Which requests another site may have made (the fetch metadata and Origin checks of browsers).

W3C Fetch Metadata §2.1, RFC 6454 §7; the order is that of Go's CrossOriginProtection.
"""

import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from ramkit.kernel.errors import ConfigurationError

__all__ = ["SAFE", "Verdict", "judge", "origins_of"]

#: RFC 9110 §9.2.1: they change nothing, so nobody gains by having them made
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)")


class Verdict:
    """``ALLOWED``, ``REFUSED``, or ``UNTOLD``: the browser says nothing, so a token has to."""

    ALLOWED, REFUSED, UNTOLD = "allowed", "refused", "untold"


def origins_of(origins: Iterable[str]) -> frozenset[tuple[str, str, int]]:
    """Trusted origins, as they are compared."""
    if isinstance(origins, str):
        raise ConfigurationError("trusted_origins", f"{origins!r} is one string: give a list of them")
    found: set[tuple[str, str, int]] = set()
    for each in origins:
        origin = _parse(each)
        if origin is None:
            raise ConfigurationError("trusted_origins", f"{each!r} is no origin, like https://example.com")
        found.add(origin)
    return frozenset(found)


def judge(headers: Iterable[tuple[bytes, bytes]], trusted: Collection[tuple[str, str, int]]) -> str:
    """What the browser says about where an unsafe request comes from.

    ``same-site`` is refused: a sibling domain is another origin. Without fetch metadata the Origin's host is
    compared with the request's own; not the scheme, which a proxy that ends TLS hides.
    """
    site, origin, host = _fields(headers)
    if origin is not None and (parsed := _parse(origin)) is not None and parsed in trusted:
        return Verdict.ALLOWED
    if site is not None:
        return Verdict.ALLOWED if site in ("same-origin", "none") else Verdict.REFUSED
    if origin is None:
        return Verdict.UNTOLD
    parsed = _parse(origin)  # "null" is no origin: a sandbox, a data URL, a redirect across sites
    if parsed is None or host is None:
        return Verdict.REFUSED
    own = _parse(f"{parsed[0]}://{host}")
    return Verdict.ALLOWED if own == parsed else Verdict.REFUSED


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, str | None, str | None]:
    """Sec-Fetch-Site, Origin and Host; one that stands twice is no value of any of them."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in (b"sec-fetch-site", b"origin", b"host"):
            text = value.decode("latin-1").strip()
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found.get(b"sec-fetch-site"), found.get(b"origin"), found.get(b"host")


def _parse(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what is no origin."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    try:
        parts = urlsplit(match[0])
        return (match[1], parts.hostname, parts.port or _PORTS[match[1]]) if parts.hostname else None
    except ValueError:
        return None
