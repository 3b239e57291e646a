"""Who is asking: tokens in ``ramkit.auth.jwt``, sessions in ``ramkit.auth.sessions``, passwords in
``ramkit.auth.passwords``, and the endpoints that log in, refresh and log out in ``ramkit.auth.endpoints``.

from ramkit.auth import BearerAuthMiddleware, JWTService

The names here are those of the rooms inside, imported when they are asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ramkit.auth.endpoints import TokenEndpoints
    from ramkit.auth.jwt import BearerAuthMiddleware, JWTService
    from ramkit.auth.passwords import PasswordService
    from ramkit.auth.sessions import SessionMiddleware

__all__ = ["BearerAuthMiddleware", "JWTService", "PasswordService", "SessionMiddleware", "TokenEndpoints"]

_WHERE = {
    "BearerAuthMiddleware": "ramkit.auth.jwt",
    "JWTService": "ramkit.auth.jwt",
    "PasswordService": "ramkit.auth.passwords",
    "SessionMiddleware": "ramkit.auth.sessions",
    "TokenEndpoints": "ramkit.auth.endpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
