import asyncio

import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.redis import Leases, Redis, RedisUnavailable
from ramkit.testing.servers import RedisServer
from tests.redis.helpers import Closing, eventually, spawn

LEASE, WAKES = "rk:{log}:lease:k", "rk:{log}:wakes"


def leases(url: str, closing: Closing, *, ttl: float = 60.0) -> Leases:
    made: Leases = closing(Leases(closing(Redis(url, deadline=5.0, cooldown=0.05)), ttl=ttl))
    return made


async def test_one_holder(redis_url: str, closing: Closing) -> None:
    one, two = leases(redis_url, closing), leases(redis_url, closing)
    for _ in range(3):
        outcomes = await asyncio.gather(*(each.acquire(b"k") for each in (one, two) for _ in range(8)))
        held = [outcome for outcome in outcomes if outcome is not None]
        assert len(held) == 1
        assert await two.acquire(b"other") is not None or _ > 0
        await held[0].release()
        await held[0].release()


async def test_waiters_are_woken(redis_url: str, closing: Closing) -> None:
    one, two = leases(redis_url, closing), leases(redis_url, closing)
    for _ in range(20):
        held = await one.acquire(b"k")
        assert held is not None
        assert await two.acquire(b"k") is None
        waiting = [asyncio.ensure_future(each.released(b"k", 60.0)) for each in (two, two, one)]
        await asyncio.sleep(0)
        await held.release()
        async with asyncio.timeout(20):
            await asyncio.gather(*waiting)


async def test_without_waiters_nobody_is_woken(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    one = leases(redis_url, closing)
    held = await one.acquire(b"k")
    assert held is not None
    await held.release()
    assert redis_server.execute("EXISTS", WAKES, LEASE) == 0


async def test_nobody_holds_it(redis_url: str, closing: Closing) -> None:
    free = leases(redis_url, closing)
    async with asyncio.timeout(20):
        await free.released(b"k", 60.0)
    assert await free.acquire(b"k") is not None


async def test_timeout(redis_url: str, closing: Closing) -> None:
    one, two = leases(redis_url, closing), leases(redis_url, closing)
    held = await one.acquire(b"k")
    assert held is not None
    await two.released(b"k", 0.05)
    assert await two.acquire(b"k") is None


async def test_lost_wake_up_costs_the_rest_of_the_lease(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    two = leases(redis_url, closing)
    redis_server.execute("SET", LEASE, "x" * 16, "PX", 300)
    async with asyncio.timeout(20):
        await two.released(b"k", 60.0)
    assert redis_server.execute("EXISTS", LEASE) == 0


HOLDER = """
    import asyncio, sys
    from ramkit.redis import Leases, Redis

    async def main():
        leases = Leases(Redis(sys.argv[1], deadline=5.0), ttl=0.6)
        assert await leases.acquire(b"k") is not None
        print("held", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_killed_holder(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    two = leases(redis_url, closing, ttl=0.6)
    with spawn(HOLDER, redis_url) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "held\n"
        assert await two.acquire(b"k") is None
        # as long as it lives it renews: wait for its time to live to go up again
        seen = [redis_server.execute("PTTL", LEASE)]
        await eventually(lambda: seen.append(redis_server.execute("PTTL", LEASE)) or seen[-1] > seen[-2])
        process.kill()
        async with asyncio.timeout(20):
            await two.released(b"k", 60.0)
        assert await two.acquire(b"k") is not None


async def test_only_the_owner_releases(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    one, two = leases(redis_url, closing), leases(redis_url, closing)
    first = await one.acquire(b"k")
    assert first is not None
    redis_server.execute("DEL", LEASE)
    second = await two.acquire(b"k")
    assert second is not None
    await first.release()
    assert redis_server.execute("EXISTS", LEASE) == 1
    await second.release()
    assert redis_server.execute("EXISTS", LEASE) == 0


async def test_server_away(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    one = leases(redis_url, closing)
    held = await one.acquire(b"k")
    assert held is not None
    redis_server.stop()
    with pytest.raises(RedisUnavailable):
        await one.acquire(b"other")
    await one.released(b"k", 60.0)
    await held.release()
    redis_server.start()


async def test_followers_connection_killed_while_waiting(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    one, two = leases(redis_url, closing), leases(redis_url, closing)
    held = await one.acquire(b"k")
    assert held is not None
    assert await two.acquire(b"k") is None
    waiting = asyncio.ensure_future(two.released(b"k", 60.0))
    await eventually(lambda: xreads(redis_server))
    for id_ in xreads(redis_server):
        redis_server.execute("CLIENT", "KILL", "ID", id_)
    await held.release()
    async with asyncio.timeout(20):
        await waiting


def xreads(server: RedisServer) -> list[int]:
    return [id_ for id_, told in server.connections().items() if "xread" in told]


async def test_cancelled_waiter_leaves_nothing(redis_url: str, closing: Closing) -> None:
    one = leases(redis_url, closing)
    assert await one.acquire(b"k") is not None
    waiting = asyncio.ensure_future(one.released(b"k", 60.0))
    await eventually(lambda: one._waiting)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert one._waiting == {}


def test_wrong_ttl(redis_url: str) -> None:
    with pytest.raises(ConfigurationError, match="ttl"):
        Leases(Redis(redis_url), ttl=0.0)
