"""The one door to Redis: batched commands, deadline and breaker, scripts, logs, leases.

redis = Redis("redis://localhost")
body = await redis.get(b"page")  # the reads of a turn of the loop go out as one MGET
await redis.execute("SET", b"page", b"…", "EX", 60)
"""

from ramkit.kernel.log import Fold
from ramkit.redis.client import Redis
from ramkit.redis.errors import RedisRefused, RedisUnavailable
from ramkit.redis.events import RedisBatch, RedisOutage, RedisRoundTrip
from ramkit.redis.eviction import refuse_eviction
from ramkit.redis.leases import Lease, Leases
from ramkit.redis.log import Log
from ramkit.redis.script import Script

__all__ = [
    "Fold",
    "Lease",
    "Leases",
    "Log",
    "Redis",
    "RedisBatch",
    "RedisOutage",
    "RedisRefused",
    "RedisRoundTrip",
    "RedisUnavailable",
    "Script",
    "refuse_eviction",
]
