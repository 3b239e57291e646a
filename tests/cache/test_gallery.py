"""Every middleware of the room, with the lint on both sides, in front of every awkward app."""

from ramkit.cache import Cache, CacheMiddleware, ConditionalMiddleware, Rule
from ramkit.testing.contracts.middleware import MiddlewareContract


class TestCacheWithoutRules(MiddlewareContract):
    def wrap(self, app):
        return CacheMiddleware(app, cache=Cache())


class TestCacheWithARule(MiddlewareContract):
    rewrites = frozenset({b"cache-control"})

    def wrap(self, app):
        rule = Rule("/*", ttl=60, stale_while_revalidate=60, stale_if_error=60, groups=["all"])
        return CacheMiddleware(app, cache=Cache(), rules=[rule])


class TestConditional(MiddlewareContract):
    def wrap(self, app):
        return ConditionalMiddleware(app)


class TestBoth(MiddlewareContract):
    def wrap(self, app):
        return ConditionalMiddleware(CacheMiddleware(app, cache=Cache(), default_ttl=60))
