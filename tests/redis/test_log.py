import asyncio
import json
from typing import Any

import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.redis import Log, Redis, RedisUnavailable
from ramkit.testing.clock import ManualClock
from ramkit.testing.servers import RedisServer
from tests.redis.helpers import Closing, Folded, Follower, eventually, spawn

STREAM, SNAPSHOT = "rk:{log}:test", "rk:{log}:test:snapshot"


async def test_append_and_follow(redis_url: str, closing: Closing) -> None:
    writer, reader = Follower(redis_url, closing), Follower(redis_url, closing)
    assert (writer.log.incarnation, writer.log.epoch, writer.log.current()) == (0, 0, False)
    await asyncio.gather(writer.log.start(), reader.log.start())
    assert writer.log.incarnation == reader.log.incarnation != 0
    assert writer.log.current()
    places = [await writer.log.append(b"%d" % n) for n in range(5)]
    assert [incarnation for incarnation, _ in places] == [writer.log.incarnation] * 5
    assert [epoch for _, epoch in places] == writer.fold.epochs
    assert writer.log.epoch == places[-1][1]
    await eventually(lambda: len(reader.fold.messages) == 5)
    assert reader.fold.epochs == writer.fold.epochs
    assert reader.fold.messages == [b"0", b"1", b"2", b"3", b"4"]
    late = Follower(redis_url, closing)
    await late.log.catch_up()
    assert late.fold.messages == reader.fold.messages


async def test_ids_are_epochs_and_the_first_message_is_the_incarnation(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    one = Follower(redis_url, closing)
    incarnation, epoch = await one.log.append(b"m")
    (first, head), (second, fields) = redis_server.execute("XRANGE", STREAM, "-", "+")
    assert head == {b"i": b"%d" % incarnation}
    assert fields == {b"p": first, b"m": b"m"}
    ms, sequence = map(int, second.split(b"-"))
    assert epoch == (ms << 22) | sequence
    assert 0 < incarnation < 1 << 63


async def test_an_id_is_at_least_the_last_plus_one(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    """The server's clock went back; and a millisecond has room for 2^22 messages."""
    ahead = 1 << 42
    redis_server.execute("XADD", STREAM, f"{ahead}-{(1 << 22) - 2}", "i", "7")
    one = Follower(redis_url, closing)
    epochs = [(await one.log.append(b"m"))[1] for _ in range(3)]
    assert one.log.incarnation == 7
    last = (ahead << 22) | ((1 << 22) - 2)
    assert epochs == [last + 1, last + 2, last + 3]


async def test_catch_up_reads_what_was_there_when_it_was_called(redis_url: str, closing: Closing) -> None:
    writer, reader = Follower(redis_url, closing), Follower(redis_url, closing)
    await reader.log.start()
    await reader.redis.follower.aclose()  # only catch_up reads now
    for number in range(50):
        early = asyncio.ensure_future(reader.log.catch_up())
        await asyncio.sleep(0)
        _, epoch = await writer.log.append(b"%d" % number)
        await asyncio.gather(reader.log.catch_up(), reader.log.catch_up())
        assert reader.log.epoch == epoch
        await early


async def test_thousands_of_interleaved_appends(redis_url: str, closing: Closing) -> None:
    one, two, other = (Follower(redis_url, closing) for _ in range(3))
    await asyncio.gather(*(each.log.start() for each in (one, two, other)))

    async def append(each: Follower, name: bytes, lane: int) -> None:
        for number in range(60):
            _, epoch = await each.log.append(b"%b-%d-%d" % (name, lane, number))
            assert each.log.epoch >= epoch

    await asyncio.gather(
        *(append(each, name, lane) for each, name in ((one, b"a"), (two, b"b")) for lane in range(20))
    )
    await eventually(lambda: len(other.fold.messages) == 2400)
    await asyncio.gather(one.log.catch_up(), two.log.catch_up())
    assert one.fold.epochs == two.fold.epochs == other.fold.epochs
    assert one.fold.messages == two.fold.messages == other.fold.messages
    assert len(set(other.fold.messages)) == 2400
    assert [len(each.fold.resets) for each in (one, two, other)] == [1, 1, 1]


PROCESS = """
    import asyncio, json, sys
    from ramkit.redis import Log, Redis
    from tests.redis.helpers import Folded

    async def main():
        redis, fold = Redis(sys.argv[1], deadline=5.0), Folded()
        log = Log(redis, "test", fold)
        await log.start()
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(500):
            await log.append(b"%b-%d" % (sys.argv[2].encode(), number))
        print("done", flush=True)
        sys.stdin.readline()
        await log.catch_up()
        print(json.dumps([fold.epochs, [m.decode() for m in fold.messages]]), flush=True)
        await log.aclose()
        await redis.aclose()

    asyncio.run(main())
"""


def test_two_processes(redis_url: str) -> None:
    with spawn(PROCESS, redis_url, "a") as one, spawn(PROCESS, redis_url, "b") as two:

        def both(told: str) -> None:
            for process in (one, two):
                assert process.stdout is not None
                assert process.stdin is not None
                assert process.stdout.readline() == told
            for process in (one, two):
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()

        both("ready\n")
        both("done\n")
        seen: list[Any] = [json.loads(process.stdout.readline()) for process in (one, two) if process.stdout]
    assert one.returncode == two.returncode == 0
    assert seen[0] == seen[1]
    epochs, messages = seen[0]
    assert epochs == sorted(set(epochs))
    for name in "ab":
        assert [m for m in messages if m[0] == name] == [f"{name}-{n}" for n in range(500)]


async def test_snapshot_and_trimming(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    one = Follower(redis_url, closing, keep=100)
    first, _ = await one.log.append(b"0")
    for number in range(1, 1500):
        await one.log.append(b"%d" % number)
    await eventually(lambda: redis_server.execute("XLEN", STREAM) < 400)
    (head,) = redis_server.execute("XRANGE", STREAM, "-", "+", "COUNT", 1)
    assert head[1] == {b"i": b"%d" % first}
    kept = redis_server.execute("HGETALL", SNAPSHOT)
    assert kept[b"i"] == b"%d" % first
    late = Follower(redis_url, closing)
    await late.log.catch_up()
    assert late.fold.resets[0][2] is not None
    assert late.fold.messages == one.fold.messages == [b"%d" % number for number in range(1500)]
    assert late.log.epoch == one.log.epoch


async def test_an_older_snapshot_is_refused(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    from ramkit.redis import log as module

    one = Follower(redis_url, closing)
    for number in range(3):
        await one.log.append(b"%d" % number)
    keys = (STREAM.encode(), SNAPSHOT.encode())
    ids = [id_ for id_, _ in redis_server.execute("XRANGE", STREAM, "-", "+")]
    script = module._SNAPSHOT

    async def write(incarnation: int, id_: bytes) -> int:
        written: int = await one.redis.run(script, keys, (incarnation, id_, b"x"))
        return written

    assert await write(one.log.incarnation, ids[2]) == 1
    assert await write(one.log.incarnation, ids[1]) == 0
    assert await write(one.log.incarnation, ids[2]) == 0
    assert await write(one.log.incarnation + 1, ids[3]) == 0
    assert await write(one.log.incarnation, b"9999999999999-0") == 0
    assert await write(one.log.incarnation, ids[3]) == 1


async def test_trimming_under_a_slow_follower(redis_url: str, closing: Closing) -> None:
    slow = Follower(redis_url, closing, keep=10**6)
    await slow.log.append(b"first")
    await slow.log.aclose()
    fast = Follower(redis_url, closing, keep=50)
    for number in range(300):
        await fast.log.append(b"%d" % number)
    await eventually(lambda: fast.log._snapshotting is not None and fast.log._snapshotting.done())
    await slow.log.catch_up()
    assert slow.fold.messages == fast.fold.messages
    assert slow.log.incarnation == fast.log.incarnation
    assert len(slow.fold.resets) == 2


async def test_unconfirmed_append_is_in_the_log_nevertheless(redis_url: str, closing: Closing) -> None:
    one = closing(Redis(redis_url, deadline=1.0))
    fold = Folded()
    log = closing(Log(one, "test", fold))
    await log.start()
    with pytest.raises(RedisUnavailable):
        await log.append(b"m", replicas=1)
    await eventually(lambda: fold.messages == [b"m"])


async def test_replicas_confirm(closing: Closing) -> None:
    with RedisServer.launch("--repl-diskless-sync-delay", "0") as primary, RedisServer.launch() as replica:
        replica.execute("REPLICAOF", "127.0.0.1" if "127." in primary.url else "::1", primary.port)
        await eventually(lambda: replica.execute("INFO", "replication")["master_link_status"] == "up")
        one = Follower(primary.url, closing)
        _, epoch = await one.log.append(b"m", replicas=1)
        assert one.log.epoch == epoch
        assert replica.execute("XLEN", STREAM) == 2
        await closing.aclose()


async def test_current_within_the_bound(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    clock = ManualClock()
    redis = closing(Redis(redis_url, deadline=5.0, clock=clock))
    log = closing(Log(redis, "test", Folded(), bound=2.0))
    await log.start()
    assert log.current()
    await redis.follower.aclose()
    clock.advance(2.0)
    assert log.current()
    clock.advance(0.001)
    assert not log.current()  # and begins to follow again
    await eventually(log.current)


async def test_now_is_the_servers_time(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    clock = ManualClock(time=1.0)
    redis = closing(Redis(redis_url, deadline=5.0, clock=clock))
    log = closing(Log(redis, "test", Folded()))
    assert log.now() == pytest.approx(1.0)
    await log.start()
    told = redis_server.execute("TIME")
    assert abs(log.now() - told[0] - told[1] / 1e6) < 5.0
    before = log.now()
    clock.step(1000.0)
    assert log.now() == before


async def test_logs_of_one_client_share_the_followers_connection(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    one = Follower(redis_url, closing)
    second, writer = Folded(), Follower(redis_url, closing, name="second")
    await one.log.start()
    other = closing(Log(one.redis, "second", second))
    await other.start()
    await one.log.append(b"m")
    await writer.log.append(b"n")
    await eventually(lambda: second.messages == [b"n"])
    assert one.fold.messages == [b"m"]
    await eventually(lambda: sum("xread" in told for told in redis_server.connections().values()) == 2)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "a:b"}, {"name": "wakes"}, {"bound": 0.0}, {"keep": 0}]
)
async def test_wrong_arguments(redis_url: str, wrong: dict[str, Any]) -> None:
    options: dict[str, Any] = {"name": "test"} | wrong
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Log(Redis(redis_url), fold=Folded(), **options)
