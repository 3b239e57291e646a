"""The room's own errors. Let through by a handler, each is answered with its status."""

import re
from collections.abc import Iterable

from starlette.exceptions import HTTPException

from ramkit.kernel.errors import RamkitError, Unavailable

__all__ = [
    "CredentialsMissing",
    "InsufficientScope",
    "InvalidRefreshToken",
    "InvalidToken",
    "KeysUnavailable",
    "RevocationsUnavailable",
    "UnknownKey",
    "challenge",
]


def challenge(
    *,
    realm: str | None = None,
    error: str | None = None,
    description: str | None = None,
    scope: str | None = None,
) -> str:
    """The value of WWW-Authenticate (RFC 6750 §3)."""
    said = {"realm": realm, "error": error, "error_description": description, "scope": scope}
    pairs = [f'{name}="{_quotable(value)}"' for name, value in said.items() if value is not None]
    return f"Bearer {', '.join(pairs)}" if pairs else "Bearer"


def _quotable(text: str) -> str:
    """§3: of the printable ASCII characters all but the quote and the backslash."""
    return re.sub(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]", "?", text)


class InvalidToken(RamkitError, HTTPException):
    """A token that does not count (401, RFC 6750 §3.1).

    ``reason``, also its ``str()``, says why: for logs, and for whoever holds the token.
    """

    def __init__(self, reason: str) -> None:
        headers = {"www-authenticate": challenge(error="invalid_token", description=reason)}
        HTTPException.__init__(self, 401, reason, headers)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class UnknownKey(InvalidToken):
    """No key of that name and algorithm is known."""


class CredentialsMissing(RamkitError, HTTPException):
    """Nobody said who asks (401, without an error code: RFC 6750 §3.1)."""

    def __init__(self) -> None:
        HTTPException.__init__(self, 401, "A bearer token is needed.", {"www-authenticate": challenge()})


class InsufficientScope(RamkitError, HTTPException):
    """A good token that does not reach that far (403, RFC 6750 §3.1)."""

    def __init__(self, scopes: Iterable[str]) -> None:
        wanted = " ".join(scopes)
        headers = {"www-authenticate": challenge(error="insufficient_scope", scope=wanted)}
        HTTPException.__init__(self, 403, f"The scope {wanted} is needed.", headers)


class InvalidRefreshToken(RamkitError, HTTPException):
    """A refresh token that is unknown, expired, revoked or used before (401).

    ``reused``: it was used before, so it was stolen, or what followed it was; its family is dead.
    """

    def __init__(self, *, reused: bool = False) -> None:
        headers = {"www-authenticate": challenge(error="invalid_token")}
        HTTPException.__init__(self, 401, "The refresh token is not valid.", headers)
        self.reused = reused


class KeysUnavailable(Unavailable):
    """The issuer's keys cannot be had, and none that may still be used are known (503)."""


class RevocationsUnavailable(Unavailable):
    """What was revoked is not known well enough to let anybody in (503)."""
