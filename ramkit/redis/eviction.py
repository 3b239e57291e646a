"""Whether a Redis keeps what it was given."""

from ramkit.kernel.errors import ConfigurationError
from ramkit.redis.client import Redis

__all__ = ["refuse_eviction"]


async def refuse_eviction(redis: Redis, what: str) -> None:
    """Raise ``ConfigurationError`` if the server evicts keys when its memory is full.
    ``what`` would be lost by that. Raises ``RedisUnavailable``; a server that does not tell passes."""
    info: bytes = await redis.execute("INFO", "memory")
    for line in info.splitlines():
        name, _, value = line.partition(b":")
        if name == b"maxmemory_policy" and value.strip() != b"noeviction":
            policy = value.strip().decode()
            raise ConfigurationError("maxmemory-policy", f"{redis!r} has {policy}: it would forget {what}")
