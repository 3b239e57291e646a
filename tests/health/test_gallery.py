"""The middleware, with the lint on both sides, in front of every awkward app."""

from ramkit.health import Check, HealthMiddleware
from ramkit.testing.contracts.middleware import MiddlewareContract


class TestHealth(MiddlewareContract):
    def wrap(self, app):
        return HealthMiddleware(app, checks=[Check("mine", lambda: True)])


class TestDraining(MiddlewareContract):
    """Responses ask for another connection then, and are otherwise what they were."""

    def wrap(self, app):
        health = HealthMiddleware(app)
        health._draining.began = True
        return health
