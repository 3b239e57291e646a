"""What signs a session that lives in its cookie."""

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import jwt

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Revocable", "SecretSigner", "Signer"]

_AUDIENCE = "ramkit.session"
#: RFC 7518 §3.2: HS256 wants a key as long as its hash
_KEY_BYTES = 32


class Signer(Protocol):
    """Signs claims into a JWT and verifies it; ``ramkit.auth.jwt.JWTService`` is one."""

    def sign(self, claims: Mapping[str, Any], /) -> str:
        """A token with these claims, ``exp`` and ``iat`` among them."""
        ...

    def verify(self, token: str, /) -> Mapping[str, Any]:
        """Its claims. Raises ValueError, or an HTTPException, for one that does not count, and
        ``Unavailable`` where that is not known."""
        ...


class Revocable(Protocol):
    """Which signed sessions do not count any more."""

    def revoked(self, claims: Mapping[str, Any], /) -> bool:
        """Whether these were revoked. Raises ``Unavailable`` where that is not known."""
        ...

    def revoke(self, claims: Mapping[str, Any], /) -> Awaitable[None]:
        """Let these count no more (``jti``, until ``exp``). Raises ``Unavailable``."""
        ...


class SecretSigner:
    """HS256 under one secret. ``previous``: secrets that only verify, while they are rotated."""

    def __init__(self, secret: str | bytes, *, previous: tuple[str | bytes, ...] = ()) -> None:
        self._secrets = tuple(
            one.encode() if isinstance(one, str) else bytes(one) for one in (secret, *previous)
        )
        if any(len(one) < _KEY_BYTES for one in self._secrets):
            raise ConfigurationError("secret", f"at least {_KEY_BYTES} random bytes (RFC 7518 §3.2)")

    def sign(self, claims: Mapping[str, Any], /) -> str:
        # Its audience and type keep it from being taken for any other token under this secret.
        said = {**claims, "aud": _AUDIENCE}
        return jwt.encode(said, self._secrets[0], algorithm="HS256", headers={"typ": "session+jwt"})

    def verify(self, token: str, /) -> Mapping[str, Any]:
        for secret in self._secrets:
            try:
                # Times are judged by the session's own clock.
                found: dict[str, Any] = jwt.decode(
                    token,
                    secret,
                    algorithms=["HS256"],
                    audience=_AUDIENCE,
                    options={"require": ["exp", "iat", "jti"], "verify_exp": False, "verify_iat": False},
                )
            except jwt.InvalidTokenError:
                continue
            return found
        raise ValueError("no session of ours")
