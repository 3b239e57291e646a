"""Every middleware of the room, with the lint on both sides, in front of every awkward app."""

from ramkit.limits import ConcurrencyLimitMiddleware, Policy, RateLimitMiddleware
from ramkit.testing.contracts.middleware import MiddlewareContract


class TestRateLimit(MiddlewareContract):
    def wrap(self, app):
        policies = [Policy("requests", "1000/s"), Policy("messages", "1000/s", on="message")]
        return RateLimitMiddleware(app, policies=policies, legacy_headers=True)


class TestConcurrencyLimit(MiddlewareContract):
    def wrap(self, app):
        return ConcurrencyLimitMiddleware(app, limit=1, queue=1, websockets=True)


class TestConcurrencyLimitAfterTheQueue(MiddlewareContract):
    """The place is taken, and given back once the request waits."""

    def wrap(self, app):
        limited = ConcurrencyLimitMiddleware(app, limit=1, queue=1, timeout=60, websockets=True)

        async def queued(scope, receive, send):
            if scope["type"] not in ("http", "websocket"):
                await limited(scope, receive, send)
                return
            limited._free -= 1

            async def awaited():
                if limited.waiting:
                    limited._release()
                return await receive()

            await limited(scope, awaited, send)

        return queued


class TestBoth(MiddlewareContract):
    def wrap(self, app):
        policy = Policy("requests", "1000/s", dry_run=True)
        return ConcurrencyLimitMiddleware(RateLimitMiddleware(app, policies=[policy]), limit=10)
