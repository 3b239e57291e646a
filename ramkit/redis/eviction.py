"""Whether a Redis keeps what it was given."""

from ramkit.kernel.errors import ConfigurationError
from ramkit.redis.client import Redis
from ramkit.redis.errors import RedisRefused

__all__ = ["refuse_eviction"]


async def refuse_eviction(
    redis: Redis, what: str, *, argument: str = "server", unless: str | None = None
) -> None:
    """Raise ``ConfigurationError`` if the server, or one node of the cluster, evicts keys when its memory
    is full; ``what`` would be lost by that.

    ``argument``: the caller's, that named the server; ``unless``: the one that takes it as it is. Raises
    ``RedisUnavailable``. A server that does not tell (INFO may be forbidden) passes.
    """
    try:
        told: list[bytes] = await redis.execute_everywhere("INFO", "memory")
    except RedisRefused:
        return
    for info in told:
        policy = info.partition(b"maxmemory_policy:")[2].partition(b"\r\n")[0].decode()
        if policy not in ("noeviction", ""):
            willing = "" if unless is None else f", or say {unless}=True"
            problem = f"{redis!r} evicts ({policy}), and would forget {what}"
            raise ConfigurationError(argument, f"{problem}: set maxmemory-policy noeviction{willing}")
