"""Who a token speaks for, as Starlette's ``request.user`` has it."""

from typing import Any

from starlette.authentication import BaseUser

from ramkit.auth.jwt.core.claims import scopes_of

__all__ = ["TokenUser"]


class TokenUser(BaseUser):
    """``claims``: the token's; ``scopes``: the words of its ``scope``."""

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims
        self.scopes = scopes_of(claims)

    def __repr__(self) -> str:
        return f"TokenUser({self.identity!r})"

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def identity(self) -> str:
        """The subject; empty for a token that names none."""
        return str(self.claims.get("sub", ""))

    @property
    def display_name(self) -> str:
        """What the token calls it: ``name``, else the subject."""
        name = self.claims.get("name")
        return name if isinstance(name, str) else self.identity
