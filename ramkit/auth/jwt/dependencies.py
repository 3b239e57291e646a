"""FastAPI dependencies behind ``BearerAuthMiddleware``, which appear in OpenAPI. Needs FastAPI."""

from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from ramkit.auth.jwt.errors import CredentialsMissing, InsufficientScope
from ramkit.auth.jwt.user import TokenUser

__all__ = ["CurrentUser", "require_scopes"]


class _Bearer(SecurityBase):
    """Who the middleware let in, for HTTP and WebSocket routes."""

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "Bearer"

    def __call__(self, connection: HTTPConnection) -> TokenUser:
        user: object = connection.scope.get("user")
        if not isinstance(user, TokenUser):
            raise CredentialsMissing
        return user


_bearer = _Bearer()


def _scoped(wanted: SecurityScopes, user: Annotated[TokenUser, Depends(_bearer)]) -> TokenUser:
    if not set(wanted.scopes) <= set(user.scopes):
        raise InsufficientScope(wanted.scopes)
    return user


#: the user of this request; 401 if nobody is
CurrentUser = Annotated[TokenUser, Depends(_bearer)]


def require_scopes(*scopes: str) -> Any:
    """A dependency that wants all of these: ``dependencies=[require_scopes("orders:read")]``, or
    ``user: Annotated[TokenUser, require_scopes("orders:read")]``. 401 for nobody, 403 for whom one lacks."""
    return Security(_scoped, scopes=list(scopes))
