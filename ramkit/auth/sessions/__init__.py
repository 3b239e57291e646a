"""Sessions that are kept on the server, and protection from requests that other sites make.

app.add_middleware(CSRFMiddleware)
app.add_middleware(SessionMiddleware, store="redis://localhost:6379/0", ttl=3600)
...
request.session["user"] = user.id  # a new id goes out with the response
request.session.clear()  # logged out
"""

from typing import TYPE_CHECKING, Any

from ramkit.auth.sessions.backends.memory import MemorySessionStore
from ramkit.auth.sessions.core.cookies import Cookie
from ramkit.auth.sessions.csrf import CSRFMiddleware, csrf_token
from ramkit.auth.sessions.errors import SessionTooLarge, SessionUnavailable
from ramkit.auth.sessions.events import SessionRead, SessionWrite
from ramkit.auth.sessions.middleware import SessionMiddleware
from ramkit.auth.sessions.session import Session
from ramkit.auth.sessions.sessions import SessionInfo, Sessions

if TYPE_CHECKING:
    from ramkit.auth.sessions.backends.redis import RedisSessionStore
    from ramkit.auth.sessions.signed import SignedSessionMiddleware

__all__ = [
    "CSRFMiddleware",
    "Cookie",
    "MemorySessionStore",
    "RedisSessionStore",
    "Session",
    "SessionInfo",
    "SessionMiddleware",
    "SessionRead",
    "SessionTooLarge",
    "SessionUnavailable",
    "SessionWrite",
    "Sessions",
    "SignedSessionMiddleware",
    "csrf_token",
]


def __getattr__(name: str) -> Any:
    # The driver is imported by those who ask for it.
    if name == "RedisSessionStore":
        from ramkit.auth.sessions.backends.redis import RedisSessionStore

        return RedisSessionStore
    if name == "SignedSessionMiddleware":
        from ramkit.auth.sessions.signed import SignedSessionMiddleware

        return SignedSessionMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
