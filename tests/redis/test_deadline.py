import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from ramkit.redis import Redis, RedisOutage, RedisUnavailable, Script
from ramkit.testing.clock import ManualClock
from ramkit.testing.servers import RedisServer
from tests.redis.helpers import Closing, eventually


async def test_hung_server_costs_one_deadline_a_cooldown(
    redis_url: str, redis_server: RedisServer, closing: Closing, clock: ManualClock
) -> None:
    events: list[Any] = []
    redis = closing(Redis(redis_url, deadline=0.5, cooldown=1.0, clock=clock, observers=[events.append]))
    await redis.execute("SET", "k", "v")
    redis_server.pause()
    calls = [redis.get(b"k"), redis.execute("INCR", "n")]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, RedisUnavailable) for one in outcomes)
    assert not redis.available
    outages = [event for event in events if isinstance(event, RedisOutage)]
    assert [event.failed for event in outages] == [2]
    at_once = [redis.get(b"k") for _ in range(100)]
    assert all(call.done() for call in at_once)  # type: ignore[attr-defined]  # it is a future
    # the probe, and nobody else, waits
    clock.advance(1.0)
    assert redis.available
    probe, other = redis.get(b"k"), redis.get(b"k")
    assert (probe.done(), other.done()) == (False, True)  # type: ignore[attr-defined]  # it is a future
    with pytest.raises(RedisUnavailable):
        await probe
    assert not redis.available
    redis_server.resume()
    clock.advance(1.0)
    assert await redis.get(b"k") == b"v"
    assert redis.available
    assert await asyncio.gather(redis.get(b"k"), redis.get(b"k")) == [b"v", b"v"]


async def test_cancelled_probe_leaves_room_for_the_next(
    redis_url: str, redis_server: RedisServer, closing: Closing, clock: ManualClock
) -> None:
    redis = closing(Redis(redis_url, deadline=0.5, clock=clock))
    await redis.execute("SET", "k", "v")
    redis_server.pause()
    with pytest.raises(RedisUnavailable):
        await redis.get(b"k")
    redis_server.resume()
    clock.advance(1.0)
    redis.get(b"k").cancel()  # type: ignore[attr-defined]  # it is a future
    await eventually(lambda: redis.available)
    assert await redis.get(b"k") == b"v"


async def test_refused_connection_is_unavailable_at_once(
    redis_url: str, redis_server: RedisServer, closing: Closing, clock: ManualClock
) -> None:
    redis = closing(Redis(redis_url, deadline=60.0, clock=clock))
    redis_server.stop()
    with pytest.raises(RedisUnavailable):
        await redis.get(b"k")
    assert not redis.available
    redis_server.start()
    clock.advance(1.0)
    assert await redis.get(b"k") is None


async def test_confirmed_scripts_wait_one_deadline_too(
    redis_url: str, redis_server: RedisServer, closing: Closing, clock: ManualClock
) -> None:
    redis = closing(Redis(redis_url, deadline=0.5, clock=clock))
    await redis.execute("SET", "k", "v")
    redis_server.pause()
    script = Script("one", "return 1")
    with pytest.raises(RedisUnavailable):
        await redis.run(script, [b"k"], replicas=1)
    await eventually(lambda: not redis.available)
    with pytest.raises(RedisUnavailable):
        await redis.run(script, [b"k"], replicas=1)


async def test_overload_fails_what_waits_too_long_but_does_not_call_redis_dead(
    redis_url: str, closing: Closing
) -> None:
    redis = closing(Redis(redis_url, deadline=0.05))
    script = Script("busy", "for i = 1, 200000 do local x = i * i end return 1")
    await redis.run(script, [b"k"])
    outcomes = await asyncio.gather(*(redis.run(script, [b"k"]) for _ in range(2000)), return_exceptions=True)
    assert {type(one) for one in outcomes} <= {int, RedisUnavailable}
    assert any(isinstance(one, RedisUnavailable) for one in outcomes)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_busy_loop_is_not_taken_for_a_dead_server(redis_url: str, run: Callable[..., Any]) -> None:
    async def main() -> int:
        events: list[Any] = []
        redis = Redis(redis_url, deadline=0.1, observers=[events.append])
        try:
            await connected(redis)
            events.clear()
            for turn in range(20):
                before = [redis.get(b"k"), redis.execute("GET", "k")]
                if turn % 2:
                    await asyncio.sleep(0)  # sent already, and the reply arrives during the stall
                stall(0.15)
                assert await asyncio.gather(*before, redis.get(b"k")) == [b"v"] * 3
        finally:
            await redis.aclose()
        return sum(isinstance(event, RedisOutage) for event in events)

    assert run(main()) == 0


async def connected(redis: Redis) -> None:
    while True:
        try:
            await redis.execute("SET", "k", "v")
        except RedisUnavailable:
            await eventually(lambda: redis.available)
        else:
            return


def stall(seconds: float) -> None:
    """Keep the loop from running, as a handler that computes does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
