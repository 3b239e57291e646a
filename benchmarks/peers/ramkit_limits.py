"""ramkit's limits: the helper alone, and the middleware around the barest app."""

from typing import Any

from benchmarks.driver import Subject, bare
from benchmarks.peers.limiting import BURST, RATE, Admissions
from ramkit.limits import Limiter, Policy, RateLimitMiddleware, RedisStore

PACKAGES = ["ramkit", "starlette", "redis", "hiredis"]


async def subjects(redis_url: str) -> dict[str, Subject]:
    policy = Policy("bench", RATE, burst=BURST)
    found: dict[str, Subject] = {}
    stores: dict[str, Any] = {"memory": "memory://", "redis": RedisStore(redis_url, deadline=5)}
    for name, store in stores.items():
        limiter = Limiter(store, [policy])

        async def check(path: bytes, limiter: Limiter = limiter) -> bool:
            return (await limiter.check("bench", path)).allowed

        found[f"check, {name}"] = Admissions(check).subject()
        app = RateLimitMiddleware(bare, store=limiter, policies=[policy])
        found[f"middleware, {name}"] = Subject(app=app)
    return found
