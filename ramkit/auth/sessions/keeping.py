"""How a session is had at the beginning of a request and kept at its end."""

from typing import Protocol

from ramkit.auth.sessions.session import Session
from ramkit.kernel.asgi import RawHeaders, Scope
from ramkit.kernel.context import RequestContext
from ramkit.kernel.lifespan import Resource

__all__ = ["Keeper", "Keeping", "Late"]


class Late(Exception):
    """What is to be stored needs a cookie, and the response has started without it."""


class Keeping(Protocol):
    """One request's session."""

    session: Session

    def pending(self) -> bool:
        """Whether there is anything for ``keep`` to do. Raises TypeError for what cannot be stored."""
        ...

    async def keep(self, scope: Scope, *, cookie: bool) -> bytes | None:
        """Store what changed since the last time; the Set-Cookie that the client needs, if any.

        ``cookie``: whether it can still be sent one. Raises Late, SessionTooLarge, TypeError and Unavailable.
        """
        ...


class Keeper(Protocol):
    """Where sessions are kept, and under which cookie."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What follows the app's lifespan."""
        ...

    async def load(self, headers: RawHeaders, context: RequestContext) -> Keeping:
        """What there is for a request's cookie. Never raises because a server is away."""
        ...
