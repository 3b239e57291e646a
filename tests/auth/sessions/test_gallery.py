"""The room's middlewares, with the lint on both sides, in front of every awkward app."""

from ramkit.auth.sessions import SessionMiddleware
from ramkit.testing.contracts.middleware import MiddlewareContract


def touching(app):
    """What looks into its session before it does whatever it does, and changes it."""

    async def touched(scope, receive, send):
        if scope["type"] in ("http", "websocket"):
            scope["session"]["visits"] = scope["session"].get("visits", 0) + 1
        await app(scope, receive, send)

    return touched


class TestUntouched(MiddlewareContract):
    def wrap(self, app):
        return SessionMiddleware(app)


class TestTouched(MiddlewareContract):
    rewrites = frozenset({b"vary"})

    def wrap(self, app):
        return SessionMiddleware(touching(app))
