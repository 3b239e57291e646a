"""What purging a group costs, by the group's size: in commands, in Redis' own time, and on the clock."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from benchmarks.driver import Origin, receive, scope_of
from benchmarks.harness import Times
from ramkit.cache import Cache, CacheMiddleware, RedisStore, Rule
from ramkit.cache.core.keys import Target
from ramkit.cache.core.purging import Verdict

PURGES = 50


@dataclass
class Purge:
    """``commands``: calls by name for PURGES purges; ``busy``: µs of Redis' time each; ``times``: µs each."""

    members: int
    commands: dict[str, float]
    busy: float
    times: Times


async def _measure(redis_url: str, sizes: list[int]) -> list[Purge]:
    client: Any = Redis.from_url(redis_url)
    found: list[Purge] = []
    for size in sizes:
        await client.flushdb()
        await _fill(client, redis_url, size)
        cache, app, _ = _caching(redis_url)
        found.append(await _purge(client, cache, app, size))
        await cache.aclose()
    await client.flushdb()
    await client.aclose()
    return found


def _caching(redis_url: str) -> tuple[Cache, CacheMiddleware, RedisStore]:
    store = RedisStore(redis_url)
    cache = Cache(store)
    return cache, CacheMiddleware(Small(), cache=cache, rules=[Rule("/*", ttl=3600, groups=["all"])]), store


class Small(Origin):
    """A response of a few bytes: a million of them are to fit."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.renders += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def _ask(app: Any, path: bytes) -> bytes:
    """X-Cache of the answer."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope_of(path), receive, send)
    seen: bytes = dict(messages[0]["headers"])[b"x-cache"]
    return seen


#: Copies KEYS[1] to numbered keys: a million times in a second or two, which no client could.
COPY = """
local value = redis.call('GET', KEYS[1])
for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  redis.call('SET', ARGV[1] .. string.format('%016d', n), value, 'PX', 3600000)
end
"""
STEP = 2_000


async def _fill(client: Any, redis_url: str, size: int) -> None:
    """One member through the middleware; the others are its bytes under keys of their own."""
    cache, app, store = _caching(redis_url)
    await _ask(app, b"/one")
    await cache.aclose()
    prefix = f"{store.prefix}c:{store.name}:".encode()
    one = prefix + Target(scope_of(b"/one"), app.rules).key
    for first in range(1, size, STEP):
        await client.eval(COPY, 1, one, prefix, first, min(first + STEP, size) - 1)


async def _purge(client: Any, cache: Cache, app: CacheMiddleware, size: int) -> Purge:
    if await client.dbsize() < size:
        raise RuntimeError(f"{size} members were to be stored, {await client.dbsize()} keys are there")
    if await _ask(app, b"/one") != b"HIT":
        raise RuntimeError("the member was not cached")
    await cache.purge_groups("nobody")  # the script, if any, is loaded
    before = await client.info("commandstats")
    times: Times = []
    for _ in range(PURGES):
        began = time.perf_counter()
        await cache.purge_groups("all")
        times.append((time.perf_counter() - began) * 1e6)
    after = await client.info("commandstats")
    if await _ask(app, b"/one") != b"MISS":
        raise RuntimeError("the member outlived its purge")
    copy = await cache.store.get(b"%016d" % (size - 1))
    if copy is None or cache.judge(copy, None) is not Verdict.GONE:
        raise RuntimeError("a copied member outlived its purge")
    commands: dict[str, float] = {}
    busy = 0.0
    for name, stats in after.items():
        earlier = before.get(name, {"calls": 0, "usec": 0})
        calls = stats["calls"] - earlier["calls"]
        if calls and name != "cmdstat_info":
            commands[name.removeprefix("cmdstat_")] = calls / PURGES
            busy += stats["usec"] - earlier["usec"]
    return Purge(size, commands, busy / PURGES, times)


def measure(redis_url: str, sizes: list[int]) -> list[Purge]:
    """A group of each size, filled and purged PURGES times."""
    return asyncio.run(_measure(redis_url, sizes))
