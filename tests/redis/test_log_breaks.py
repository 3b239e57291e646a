"""What a log does when it, its connection or its server is lost."""

import asyncio

import pytest

from ramkit.redis import Log, Redis, RedisUnavailable
from ramkit.testing.servers import RedisServer
from tests.redis.helpers import Closing, Folded, Follower, eventually

STREAM, SNAPSHOT = "rk:{log}:test", "rk:{log}:test:snapshot"


@pytest.mark.parametrize(
    "loss", [("FLUSHALL",), ("DEL", STREAM), ("XTRIM", STREAM, "MAXLEN", 0)], ids=lambda c: c[0]
)
async def test_lost_log_is_noticed_in_silence(
    redis_url: str, redis_server: RedisServer, closing: Closing, loss: tuple[str | int, ...]
) -> None:
    one, two = Follower(redis_url, closing), Follower(redis_url, closing)
    await asyncio.gather(one.log.start(), two.log.start())
    first, _ = await one.log.append(b"m")
    redis_server.execute(*loss)
    await eventually(lambda: first not in (one.log.incarnation, two.log.incarnation))
    await eventually(lambda: one.log.incarnation == two.log.incarnation)
    assert (one.fold.messages, two.fold.messages) == ([], [])
    incarnation, _ = await two.log.append(b"n")
    assert incarnation == one.log.incarnation
    await eventually(lambda: one.fold.messages == [b"n"])


async def test_lost_log_is_noticed_by_catch_up_and_append(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    one, two = Follower(redis_url, closing), Follower(redis_url, closing)
    await asyncio.gather(one.log.start(), two.log.start())
    for _ in range(20):
        before, _ = await one.log.append(b"m")
        redis_server.execute("FLUSHALL")
        incarnation, epoch = await two.log.append(b"n")
        assert incarnation != before
        assert (two.log.incarnation, two.log.epoch, two.fold.messages) == (incarnation, epoch, [b"n"])
        await one.log.catch_up()
        assert (one.log.incarnation, one.log.epoch, one.fold.messages) == (incarnation, epoch, [b"n"])


async def test_replaced_log_with_smaller_epochs(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    """A restored copy of another history, whose ids are behind what was folded."""
    one = Follower(redis_url, closing)
    await one.log.append(b"m")
    redis_server.execute("DEL", STREAM)
    redis_server.execute("XADD", STREAM, "5-0", "i", "77")
    redis_server.execute("XADD", STREAM, "6-0", "p", "5-0", "m", "other")
    await eventually(lambda: one.log.incarnation == 77)
    assert (one.log.epoch, one.fold.messages) == (6 << 22, [b"other"])


async def test_messages_taken_back_make_a_new_incarnation(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    """A failover to a replica that had not got the last messages, in silence and with new ones."""
    one, two = Follower(redis_url, closing), Follower(redis_url, closing)
    await asyncio.gather(one.log.start(), two.log.start())
    for more in (False, True):
        incarnation, _ = await one.log.append(b"kept")
        _, lost = await one.log.append(b"lost")
        await two.log.catch_up()
        redis_server.execute("XDEL", STREAM, f"{lost >> 22}-{lost & ((1 << 22) - 1)}")
        if more:
            late = Follower(redis_url, closing)
            _, epoch = await late.log.append(b"after")
            assert epoch > lost
        await eventually(lambda: incarnation not in (one.log.incarnation, two.log.incarnation))  # noqa: B023 - awaited here
        await eventually(lambda: one.log.incarnation == two.log.incarnation)
        assert b"lost" not in one.fold.messages


async def test_lost_snapshot_under_a_trimmed_log(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    one = Follower(redis_url, closing, keep=10)
    for number in range(100):
        incarnation, _ = await one.log.append(b"%d" % number)
    await eventually(lambda: one.log._snapshotting is not None and one.log._snapshotting.done())
    assert redis_server.execute("XLEN", STREAM) < 80
    assert redis_server.execute("DEL", SNAPSHOT) == 1
    late = Follower(redis_url, closing)
    await late.log.catch_up()
    assert late.log.incarnation != incarnation
    assert late.fold.messages == []
    await eventually(lambda: one.log.incarnation == late.log.incarnation)


async def test_killed_connections(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    one, two = Follower(redis_url, closing), Follower(redis_url, closing)
    await asyncio.gather(one.log.start(), two.log.start())
    sent: list[bytes] = []
    for number in range(15):
        for follower in [id_ for id_, told in redis_server.connections().items() if "xread" in told]:
            redis_server.execute("CLIENT", "KILL", "ID", follower)
        sent.append(b"%d" % number)
        await one.log.append(sent[-1])
    await eventually(lambda: two.fold.messages == sent)
    assert one.fold.messages == sent
    assert [len(each.fold.resets) for each in (one, two)] == [1, 1]


async def test_hung_server(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    fold = Folded()
    redis = closing(Redis(redis_url, deadline=0.5, cooldown=0.1))
    log = closing(Log(redis, "test", fold, bound=0.5))
    await log.start()
    await log.append(b"before")
    redis_server.pause()
    with pytest.raises(RedisUnavailable):
        await log.append(b"hung")
    with pytest.raises(RedisUnavailable):
        await log.catch_up()
    await eventually(lambda: not log.current())
    await log.start()
    redis_server.resume()
    other = Follower(redis_url, closing)
    await other.log.append(b"after")
    await eventually(lambda: fold.messages == other.fold.messages)
    assert log.current()
    # what was sent before the server hung may have been carried out when it went on
    assert fold.messages in ([b"before", b"after"], [b"before", b"hung", b"after"])


async def test_server_restarted_empty(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    one, two = Follower(redis_url, closing), Follower(redis_url, closing)
    await asyncio.gather(one.log.start(), two.log.start())
    first, _ = await one.log.append(b"m")
    await eventually(lambda: two.fold.messages == [b"m"])
    redis_server.stop()
    redis_server.start()
    await eventually(lambda: first not in (one.log.incarnation, two.log.incarnation))
    await eventually(lambda: one.log.incarnation == two.log.incarnation and one.log.current())
    incarnation, _ = await one.log.append(b"n")
    await eventually(lambda: two.fold.messages == [b"n"])
    assert two.log.incarnation == incarnation


async def test_started_while_the_server_is_away(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis_server.stop()
    one = Follower(redis_url, closing)
    await one.log.start()
    assert (one.log.incarnation, one.log.current()) == (0, False)
    redis_server.start()
    await eventually(one.log.current)
    assert one.log.incarnation


async def test_key_of_another_kind(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    from ramkit.redis import RedisRefused

    redis_server.execute("SET", STREAM, "x")
    one = Follower(redis_url, closing)
    await one.log.start()
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await one.log.append(b"m")
    redis_server.execute("DEL", STREAM)
    await one.log.append(b"m")
    await eventually(one.log.current)


async def test_closed_and_followed_again(redis_url: str, closing: Closing) -> None:
    one, two = Follower(redis_url, closing), Follower(redis_url, closing)
    await one.log.append(b"0")
    for number in range(1, 4):
        await one.log.aclose()
        await one.redis.aclose()
        assert not one.log.until > 0
        await two.log.append(b"%d" % number)
        await one.log.start()
        assert one.fold.messages == two.fold.messages
    assert len(one.fold.resets) == 1
    await one.redis.aclose()  # without its log
    await two.log.append(b"4")
    await one.log.catch_up()
    assert one.fold.messages == two.fold.messages
