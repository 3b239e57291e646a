"""Bearer credentials in requests (RFC 6750)."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from ramkit.kernel.headers import find_all

__all__ = ["PROTOCOL", "Credentials", "Flaw", "credentials_of", "is_public"]

#: The subprotocol behind which a WebSocket of a browser, which can send no field, offers its token:
#: ``new WebSocket(url, ["bearer", token, "chat.v1"])``. A compact JWT is a token of HTTP's grammar.
PROTOCOL: Final = "bearer"

#: RFC 6750 §2.1, b64token; the scheme is compared without case (RFC 9110 §11.1)
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
_SCHEME = re.compile(rb"bearer(?: |\Z)", re.IGNORECASE)
_COMPACT = re.compile(r"[A-Za-z0-9._~+-]+")


class Flaw(Enum):
    """Why a request has no token that could be looked at."""

    MISSING = "A bearer token is needed."
    SEVERAL = "Credentials are given more than once."
    MALFORMED = "The credentials are malformed."


class Credentials(NamedTuple):
    """What a request brings. ``protocols``: those that a WebSocket offers besides; None if they are all."""

    token: str | Flaw
    protocols: list[str] | None = None


def credentials_of(
    headers: Iterable[tuple[bytes, bytes]], offered: Sequence[str] | None = None
) -> Credentials:
    """From ``Authorization``, and among the subprotocols that are ``offered``. Another scheme is nobody's
    token.

    Never from the query: URLs stand in logs, histories and Referer (§5.3).
    """
    lines = find_all(headers, b"authorization")
    protocols = _without_token(offered) if offered else None
    if len(lines) > 1 or (protocols is not None and lines):
        return Credentials(Flaw.SEVERAL, protocols[1] if protocols else None)
    if protocols is not None:
        return Credentials(*protocols)
    if not lines or not _SCHEME.match(lines[0]):
        return Credentials(Flaw.MISSING)
    match = _BEARER.fullmatch(lines[0])
    return Credentials(match[1].decode("ascii") if match else Flaw.MALFORMED)


def _without_token(offered: Sequence[str]) -> tuple[str | Flaw, list[str]] | None:
    """The token that follows ``bearer``, and the others; None where that is not offered."""
    if PROTOCOL not in offered:
        return None
    at = offered.index(PROTOCOL)
    token = offered[at + 1] if at + 1 < len(offered) else ""
    rest = [*offered[:at], *offered[at + 2 :]]
    if PROTOCOL in rest:
        return Flaw.SEVERAL, [each for each in rest if each != PROTOCOL]
    return (token if _COMPACT.fullmatch(token) else Flaw.MALFORMED), rest


def is_public(path: str, exact: frozenset[str], below: tuple[str, ...]) -> bool:
    """Whether a decoded path is one that everybody may ask for.

    Servers and apps do not agree on empty and dot segments and backslashes: a path with any is not public.
    """
    if path not in exact and not path.startswith(below):
        return False
    segments = path.split("/")[1:]
    return "\\" not in path and not any(each in (".", "..") for each in segments) and "" not in segments[:-1]
