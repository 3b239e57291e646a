"""A shared HTTP cache for ASGI apps, in process and in Redis, that every process purges at once.

cache = Cache("redis://localhost:6379/0")
app.add_middleware(CacheMiddleware, cache=cache, rules=[Rule("/cities/*", ttl=300, groups=["cities"])])
...
await cache.purge_groups("cities")
"""

from typing import TYPE_CHECKING, Any

from ramkit.cache.backends.memory import MemoryStore
from ramkit.cache.cache import Cache
from ramkit.cache.conditional import ConditionalMiddleware
from ramkit.cache.errors import PurgeUnconfirmed
from ramkit.cache.events import CacheLookup, CachePurge
from ramkit.cache.middleware import CacheMiddleware
from ramkit.cache.policy import Rule

if TYPE_CHECKING:
    from ramkit.cache.backends.redis import RedisStore
    from ramkit.cache.backends.tiered import TieredStore

__all__ = [
    "Cache",
    "CacheLookup",
    "CacheMiddleware",
    "CachePurge",
    "ConditionalMiddleware",
    "MemoryStore",
    "PurgeUnconfirmed",
    "RedisStore",
    "Rule",
    "TieredStore",
]


def __getattr__(name: str) -> Any:
    # The driver is imported by those who ask for it.
    if name == "RedisStore":
        from ramkit.cache.backends.redis import RedisStore

        return RedisStore
    if name == "TieredStore":
        from ramkit.cache.backends.tiered import TieredStore

        return TieredStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
