"""How much: rate limits by GCRA, in process and in Redis, and a bound for requests in flight.

policies = [Policy("burst", "100/s", burst=200), Policy("daily", "50000/d", key=by_principal())]
app.add_middleware(RateLimitMiddleware, store="redis://localhost:6379/0", policies=policies)
app.add_middleware(ConcurrencyLimitMiddleware, limit=100, queue=50, timeout=1.0)
"""

from typing import TYPE_CHECKING, Any

from ramkit.limits.backends.memory import MemoryStore
from ramkit.limits.concurrency import ConcurrencyLimitMiddleware
from ramkit.limits.core import Decision
from ramkit.limits.errors import LimitUnavailable
from ramkit.limits.events import ConcurrencyLimit, RateLimitDecision
from ramkit.limits.keys import ByClient, by_client, by_header, by_principal, by_route
from ramkit.limits.limiter import Limiter
from ramkit.limits.middleware import RateLimitMiddleware
from ramkit.limits.policy import Policy

if TYPE_CHECKING:
    from ramkit.limits.backends.redis import RedisStore

__all__ = [
    "ByClient",
    "ConcurrencyLimit",
    "ConcurrencyLimitMiddleware",
    "Decision",
    "LimitUnavailable",
    "Limiter",
    "MemoryStore",
    "Policy",
    "RateLimitDecision",
    "RateLimitMiddleware",
    "RedisStore",
    "by_client",
    "by_header",
    "by_principal",
    "by_route",
]


def __getattr__(name: str) -> Any:
    # The driver is imported by those who ask for it.
    if name == "RedisStore":
        from ramkit.limits.backends.redis import RedisStore

        return RedisStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
