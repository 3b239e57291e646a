"""Notices that an app looks at who is asking."""

from collections.abc import Callable
from typing import Any, cast

from ramkit.kernel.asgi import Scope
from ramkit.kernel.context import RequestContext

__all__ = ["OF_A_RENDER", "RENDERING", "WatchedScope"]

#: In the scope of a render: the caches that render.
RENDERING = "ramkit.cache.rendering"
#: What is a render's own, and a later one of the same request does not inherit.
OF_A_RENDER = frozenset({"ramkit.context", RENDERING})


class WatchedScope(dict[str, Any]):
    """A scope that marks its request as personal when the app reads ``user``, ``auth`` or ``session``.

    Writing them does not count, so an authentication middleware inside is no reader. Neither is a
    session middleware that looks at its own session when the response starts: Starlette's session says
    itself whether it was accessed. Of a copy of the scope no reads are seen; a user who was known
    before the copy was made counts as read.
    """

    __slots__ = ("_context", "_session_read")

    def __init__(self, scope: dict[str, Any], context: RequestContext) -> None:
        super().__init__(scope)
        self._context, self._session_read = context, False

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if name in _WHO:
            self._note(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        if name in _WHO and name in self:
            self._note(name)
        return super().get(name, default)

    def tell(self, outer: Scope) -> None:
        """The route and the like, for the middlewares outside; of a Mount also where it is."""
        for name in self.keys() - outer.keys() - OF_A_RENDER | ({"root_path"} & self.keys()):
            outer[name] = super().__getitem__(name)

    def _note(self, name: str) -> None:
        if name == "session":
            self._session_read = True
        else:
            self._context.personal = True

    def conclude(self) -> None:
        """Look at what was not seen being read."""
        session: Any = super().get("session")
        # Starlette's middleware reads its session itself; one that is empty says nothing of anybody. Its
        # length is dict's: one that counts its reads must not count this.
        silent = hasattr(session, "accessed") and _is_empty(session)
        if getattr(session, "accessed", False) or (self._session_read and not silent):
            self._context.personal = True
        if not _anonymous(super().get("user")):
            self._context.personal = True


def _is_empty(session: Any) -> bool:
    length: Callable[[Any], int] = cast(Any, dict).__len__
    return isinstance(session, dict) and not length(session)


def _anonymous(user: Any) -> bool:
    """Whether this is what authentication leaves for nobody; whatever else it is, it is somebody."""
    try:
        return user is None or user.is_authenticated is False
    except (AttributeError, NotImplementedError):
        return False


_WHO = frozenset({"user", "auth", "session"})
