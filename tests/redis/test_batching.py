import asyncio
from typing import Any

import pytest

from ramkit.redis import Redis, RedisBatch, RedisRoundTrip, Script
from ramkit.redis.batching import CALLS, KEYS, Call, encode, pack, plan, take
from ramkit.testing.servers import RedisServer
from tests.redis.helpers import Closing

DOUBLE = Script(
    "double",
    """
    local replies = {}
    for at, key in ipairs(KEYS) do
      if ARGV[at] == 'bad' then
        replies[at] = redis.error_reply('ERR bad')
      else
        replies[at] = key .. ARGV[at]
      end
    end
    return replies
    """,
    vector=True,
)


def calls(server: RedisServer, command: str) -> int:
    stats: dict[str, Any] = server.execute("INFO", "commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_reads_of_one_turn_are_one_mget(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    events: list[Any] = []
    redis = closing(Redis(redis_url, deadline=5.0, observers=[events.append]))
    for number in range(64):
        await redis.execute("SET", f"k{number}", number)
    redis_server.execute("CONFIG", "RESETSTAT")
    found = await asyncio.gather(*(redis.get(b"k%d" % number) for number in range(64)), redis.get(b"none"))
    assert found == [*(b"%d" % number for number in range(64)), None]
    assert calls(redis_server, "mget") == 1
    batch, trip = events[-2:]
    assert isinstance(batch, RedisBatch)
    assert batch.size == 65
    assert isinstance(trip, RedisRoundTrip)
    assert trip.seconds > 0


async def test_many_turns_of_many_tasks_need_few_commands(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    await redis.execute("SET", "k", "v")
    redis_server.execute("CONFIG", "RESETSTAT")

    async def reader() -> None:
        for _ in range(20):
            assert await redis.get(b"k") == b"v"

    await asyncio.gather(*(reader() for _ in range(64)))
    assert calls(redis_server, "mget") <= 64 * 20 / 8


async def test_one_key_that_many_want_is_read_once(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    await redis.execute("SET", "k", "v")
    first, second = redis.get(b"k"), redis.get(b"k")
    assert first is not second
    assert await first == await second == b"v"


async def test_error_reply_fails_its_own_command_only(redis_url: str, closing: Closing) -> None:
    from ramkit.redis import RedisRefused

    redis = closing(Redis(redis_url, deadline=5.0))
    await redis.execute("RPUSH", "list", "x")
    found = await asyncio.gather(
        redis.execute("SET", "a", "1"),
        redis.execute("GET", "list"),
        redis.get(b"list"),
        redis.execute("NOSUCH"),
        redis.execute("INCRBY", "a", 2),
        return_exceptions=True,
    )
    assert found[0] == b"OK"
    assert isinstance(found[1], RedisRefused)
    assert found[2] is None
    assert isinstance(found[3], RedisRefused)
    assert found[4] == 3


async def test_vector_scripts_of_one_turn_are_one_call(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    assert await redis.run(DOUBLE, [b"k"], [b"!"]) == b"k!"
    redis_server.execute("CONFIG", "RESETSTAT")
    found = await asyncio.gather(
        *(redis.run(DOUBLE, [b"k%d" % n], [b"bad" if n == 3 else b"-%d" % n]) for n in range(9)),
        return_exceptions=True,
    )
    assert [str(one) if isinstance(one, Exception) else one for one in found] == [
        "bad" if n == 3 else b"k%d-%d" % (n, n) for n in range(9)
    ]
    assert calls(redis_server, "evalsha") == 1


async def test_script_that_the_server_lost_is_sent_whole(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    script = Script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert await asyncio.gather(*(redis.run(script, [b"n"], [1]) for _ in range(3))) == [1, 2, 3]
    redis_server.execute("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(redis.run(script, [b"n"], [1]) for _ in range(3))) == [4, 5, 6]
    redis_server.execute("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(redis.run(DOUBLE, [b"k"], [b"%d" % n]) for n in range(2))) == [b"k0", b"k1"]


async def test_confirmation_by_replicas_that_do_not_exist(redis_url: str, closing: Closing) -> None:
    from ramkit.redis import RedisUnavailable

    redis = closing(Redis(redis_url, deadline=1.0))
    script = Script("set", "return redis.call('SET', KEYS[1], ARGV[1])")
    with pytest.raises(RedisUnavailable, match="0 of 1"):
        await redis.run(script, [b"k"], [b"v"], replicas=1)
    assert await redis.get(b"k") == b"v"


async def made(count: int, **options: Any) -> list[Call]:
    loop = asyncio.get_running_loop()
    return [Call(loop.create_future(), b"k%d" % n, **options) for n in range(count)]


async def test_batches_are_bounded() -> None:
    reads = await made(CALLS + 1)
    batch = take(reads)
    assert (len(batch), len(reads)) == (CALLS, 1)
    assert [len(command.calls) for command in plan(batch)] == [KEYS] * (CALLS // KEYS)
    big = await made(3, args=[b"SET", b"k", b"x" * 900_000])
    assert len(take(big)) == 2


async def test_abandoned_calls_are_not_sent() -> None:
    reads = await made(3)
    reads[1].future.cancel()
    (command,) = plan(reads)
    assert command.args == (b"MGET", b"k0", b"k2")


def test_arguments() -> None:
    assert [encode(arg) for arg in (b"a", "ä", 1, 2.5, bytearray(b"b"))] == [
        b"a",
        "ä".encode(),
        b"1",
        b"2.5",
        b"b",
    ]
    for wrong in (None, True, object()):
        with pytest.raises(TypeError):
            encode(wrong)
    assert pack([]) == b""


async def test_half_of_a_long_queue_is_left_to_an_idle_connection() -> None:
    for length, shared, most in ((31, True, 31), (32, True, 16), (65, True, 32), (65, False, 65)):
        queue: list[Any] = [Call(asyncio.Future(), b"k") for _ in range(length)]
        first = queue[:most]
        assert take(queue, shared=shared) == first
        assert len(queue) == length - most


async def test_whoever_sends_many_at_once_gets_a_second_connection(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    """Breaks when it opens only for calls that come while others are under way: 64 that wait for each other
    leave in one command then, and Redis and this process take turns."""
    redis = closing(Redis(redis_url, deadline=5.0))
    keys = [b"k%d" % number for number in range(64)]
    for _ in range(3):
        await asyncio.gather(*map(redis.get, keys))
    redis_server.execute("CONFIG", "RESETSTAT")
    await asyncio.gather(*map(redis.get, keys))
    assert calls(redis_server, "mget") == 2


async def test_two_connections_share_a_long_queue(redis_url: str, closing: Closing) -> None:
    events: list[Any] = []
    redis = closing(Redis(redis_url, deadline=5.0, observers=[events.append]))
    await redis.execute("SET", "k", "v")
    for _ in range(100):  # the second connection opens while the first is busy, and comes when it can
        first = redis.get(b"k")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.gather(first, redis.get(b"k"))
        events.clear()
        assert await asyncio.gather(*(redis.get(b"k") for _ in range(64))) == [b"v"] * 64
        sizes = [event.size for event in events if isinstance(event, RedisBatch)]
        if len(sizes) == 2:
            break
    assert sizes == [32, 32]
