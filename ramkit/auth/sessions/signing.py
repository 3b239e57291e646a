"""What signs a session that lives in its cookie."""

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import jwt

from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError

__all__ = ["AUDIENCE", "Revocable", "SecretSigner", "Signer"]

#: whom the cookies' tokens are for: it keeps them from being taken for any others under the same key
AUDIENCE = "ramkit.session"
#: RFC 7518 §3.2: HS256 wants a key as long as its hash
_KEY_BYTES = 32


class Signer(Protocol):
    """Signs claims into a JWT and verifies it; ``ramkit.auth.jwt.JWTService(audience=AUDIENCE)`` is one. One
    that has ``start`` and ``aclose`` is opened and closed with the lifespan."""

    def now(self) -> float:
        """Unix time, by which it judges tokens."""
        ...

    def sign(self, claims: Mapping[str, Any], /) -> str:
        """A token with these claims, ``aud``, ``exp`` and ``iat`` among them."""
        ...

    def authenticate(self, token: str, /) -> Awaitable[Mapping[str, Any]]:
        """The claims of a token for ``AUDIENCE`` that has not expired. Raises ValueError, or an
        HTTPException, for any other, and ``Unavailable`` where that is not known."""
        ...


class Revocable(Protocol):
    """Which signed sessions do not count any more; ``ramkit.auth.jwt.Revocations`` knows. Opened and closed
    as a ``Signer`` is."""

    def revoked(self, claims: Mapping[str, Any], /) -> Awaitable[bool]:
        """Whether these were revoked. Raises ``Unavailable`` where that is not known."""
        ...

    def revoke_token(self, claims: Mapping[str, Any], /) -> Awaitable[None]:
        """Let these count no more (``jti``, until ``exp``). Raises ``Unavailable``."""
        ...


class SecretSigner:
    """HS256 under one secret. ``previous``: secrets that only verify, while they are rotated."""

    def __init__(
        self, secret: str | bytes, *, previous: tuple[str | bytes, ...] = (), clock: Clock | None = None
    ) -> None:
        self._time = (clock if clock is not None else SystemClock()).time
        self._secrets = tuple(
            one.encode() if isinstance(one, str) else bytes(one) for one in (secret, *previous)
        )
        if any(len(one) < _KEY_BYTES for one in self._secrets):
            raise ConfigurationError("secret", f"at least {_KEY_BYTES} random bytes (RFC 7518 §3.2)")

    def sign(self, claims: Mapping[str, Any], /) -> str:
        return jwt.encode(dict(claims), self._secrets[0], algorithm="HS256", headers={"typ": "session+jwt"})

    def now(self) -> float:
        return int(self._time())

    async def authenticate(self, token: str, /) -> Mapping[str, Any]:
        for secret in self._secrets:
            try:
                # The time is that of the clock here, not PyJWT's.
                found: dict[str, Any] = jwt.decode(
                    token,
                    secret,
                    algorithms=["HS256"],
                    audience=AUDIENCE,
                    options={"require": ["exp", "iat", "jti"], "verify_exp": False, "verify_iat": False},
                )
            except jwt.InvalidTokenError:
                continue
            if isinstance(found["exp"], int) and self._time() < found["exp"]:
                return found
        raise ValueError("no session of ours")
