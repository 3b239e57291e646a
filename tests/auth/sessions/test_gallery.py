"""The room's middlewares, with the lint on both sides, in front of every awkward app."""

import pytest

from ramkit.auth.sessions import (
    CSRFMiddleware,
    RedisSessionStore,
    SessionMiddleware,
    SignedSessionMiddleware,
)
from ramkit.redis import Redis
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


class TestSigned(MiddlewareContract):
    rewrites = frozenset({b"vary"})

    def wrap(self, app):
        return SignedSessionMiddleware(touching(app), secret="s" * 32)


class TestCSRF(MiddlewareContract):
    def wrap(self, app):
        return CSRFMiddleware(app)


class TestInRedis(MiddlewareContract):
    rewrites = frozenset({b"vary"})

    @pytest.fixture(autouse=True)
    def _store(self, redis_url):
        self.redis = Redis(redis_url, deadline=0.9)

    def wrap(self, app):
        return SessionMiddleware(touching(app), store=RedisSessionStore(self.redis))

    async def test_passes_unharmed(self, awkward):
        try:
            await self.redis.execute("PING")  # its connection is no leftover of a request
            await super().test_passes_unharmed(awkward)
        finally:
            await self.redis.aclose()
