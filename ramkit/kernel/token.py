"""One token for all who may ask, brought as ``Authorization: Bearer`` (RFC 6750 §2.1)."""

import hmac
from collections.abc import Iterable

from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import find_all

__all__ = ["brings_token", "token_bytes"]


def token_bytes(argument: str, token: str) -> bytes:
    """What a request has to bring. Raises ``ConfigurationError`` for what no header could."""
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise ConfigurationError(argument, "has to be visible ASCII")
    return token.encode()


def brings_token(headers: Iterable[tuple[bytes, bytes]], token: bytes) -> bool:
    """Whether the one Authorization field is that token, compared in constant time."""
    given = find_all(headers, b"authorization")
    scheme, _, said = (given[0] if len(given) == 1 else b"").partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(said.strip(), token)
