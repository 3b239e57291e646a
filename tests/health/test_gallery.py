"""The middleware, with the lint on both sides, in front of every awkward app."""

from ramkit.health import Check, HealthMiddleware
from ramkit.testing.contracts.middleware import MiddlewareContract


class TestHealth(MiddlewareContract):
    def wrap(self, app):
        return HealthMiddleware(app, checks=[Check("mine", lambda: True)])


class TestDraining(MiddlewareContract):
    """Responses ask for another connection then, and are otherwise what they were."""

    def wrap(self, app):
        health = HealthMiddleware(app, drain=0)

        async def draining(scope, receive, send):
            health._draining.began = True
            await health(scope, receive, send)

        return draining
