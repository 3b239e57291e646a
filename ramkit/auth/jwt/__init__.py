"""JSON Web Tokens: signed and verified by the book, revocable, refreshed, and demanded by a middleware.

service = JWTService(secret=os.environ["SECRET"], issuer="https://example.com", audience="shop")
app.add_middleware(BearerAuthMiddleware, verifier=service, public=["/health"])
token = service.sign({"sub": "ada", "scope": "orders:read"})
"""

from ramkit.auth.jwt.core.keys import Key, KeySet
from ramkit.auth.jwt.errors import (
    CredentialsMissing,
    InsufficientScope,
    InvalidRefreshToken,
    InvalidToken,
    KeysUnavailable,
    RevocationsUnavailable,
)
from ramkit.auth.jwt.events import JWKSFetch, RefreshUse, TokenDecision
from ramkit.auth.jwt.jwks import JWKSClient
from ramkit.auth.jwt.middleware import BearerAuthMiddleware
from ramkit.auth.jwt.refresh import RefreshGrant, RefreshTokens
from ramkit.auth.jwt.revocation import Revocations
from ramkit.auth.jwt.service import JWTService
from ramkit.auth.jwt.user import TokenUser

__all__ = [
    "BearerAuthMiddleware",
    "CredentialsMissing",
    "InsufficientScope",
    "InvalidRefreshToken",
    "InvalidToken",
    "JWKSClient",
    "JWKSFetch",
    "JWTService",
    "Key",
    "KeySet",
    "KeysUnavailable",
    "RefreshGrant",
    "RefreshTokens",
    "RefreshUse",
    "Revocations",
    "RevocationsUnavailable",
    "TokenDecision",
    "TokenUser",
]
