"""The request context: one slotted object a request, by which rooms meet."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ramkit.kernel.asgi import Scope

__all__ = ["Floor", "RequestContext"]

_KEY = "ramkit.context"


class Floor:
    """The oldest state of the world that a request may be shown.

    ``epochs`` maps a cache's name to ``(incarnation, epoch)``: the place in that cache's log that
    whoever answers must have read. ``bypass`` names the caches that must not answer at all, because
    a purge of this client is not confirmed yet.
    """

    __slots__ = ("bypass", "epochs")

    def __init__(self) -> None:
        self.epochs: dict[str, tuple[int, int]] = {}
        self.bypass: set[str] = set()

    def raise_epoch(self, cache: str, incarnation: int, epoch: int) -> None:
        """Never lower within an incarnation; another incarnation replaces what was there."""
        known = self.epochs.get(cache)
        if known is None or known[0] != incarnation or known[1] < epoch:
            self.epochs[cache] = (incarnation, epoch)


class RequestContext:
    """What the rooms know of one request, made on first use and kept in its scope."""

    __slots__ = ("client", "client_by", "floor", "personal", "principal", "request_id", "session")

    def __init__(self) -> None:
        self.floor = Floor()
        #: the client's address, resolved once under the trusted-proxy policy (client.py)
        self.client: Any = None
        #: the policy by which it was resolved
        self.client_by: Any = None
        self.request_id: str | None = None
        self.principal: Any = None
        self.session: Any = None
        #: a principal or session was read while the response was made: it is one client's own
        self.personal = False

    @classmethod
    def of(cls, scope: Scope) -> "RequestContext":
        """The context of this scope; every copy of the scope made afterwards shares it."""
        context: RequestContext | None = scope.get(_KEY)
        if context is None:
            context = scope[_KEY] = cls()
        return context

    @classmethod
    def peek(cls, scope: Scope) -> "RequestContext | None":
        """The context of this scope if some part has made it already."""
        return scope.get(_KEY)

    @classmethod
    def current(cls) -> "RequestContext | None":
        """The context of the request that this task works for, if any."""
        return _current.get()

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        """Makes this the current context for the code inside."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[RequestContext | None] = ContextVar("ramkit.context", default=None)
