"""limits, alone: its asyncio strategies on its own memory storage and on redis-py."""

from typing import Any

from limits import parse
from limits.aio import strategies
from limits.aio.storage import MemoryStorage, RedisStorage

from benchmarks.driver import Subject
from benchmarks.peers.limiting import BURST, Admissions

PACKAGES = ["limits", "redis", "hiredis"]

STRATEGIES = {
    "sliding window": strategies.SlidingWindowCounterRateLimiter,
    "fixed window": strategies.FixedWindowRateLimiter,
}


async def subjects(redis_url: str) -> dict[str, Subject]:
    item = parse(f"{BURST}/minute")
    found: dict[str, Subject] = {}
    for kind, strategy in STRATEGIES.items():
        storages: dict[str, Any] = {
            "memory": MemoryStorage(),
            "redis": RedisStorage(f"async+{redis_url}", implementation="redispy"),
        }
        for name, storage in storages.items():
            limiter = strategy(storage)

            async def check(path: bytes, limiter: Any = limiter) -> bool:
                allowed: bool = await limiter.hit(item, path.decode())
                return allowed

            found[f"{kind}, {name}"] = Admissions(check).subject()
    return found
