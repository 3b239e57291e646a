"""Everything at once: whatever is lost, those who have caught up agree, and nothing appended is missing."""

import asyncio
import random

import pytest

from ramkit.redis import RedisUnavailable
from ramkit.testing.servers import RedisServer
from tests.redis.helpers import Closing, Follower, eventually

STREAM, SNAPSHOT = "rk:{log}:test", "rk:{log}:test:snapshot"


@pytest.mark.parametrize("seed", range(4))
async def test_those_who_caught_up_agree(
    redis_url: str, redis_server: RedisServer, closing: Closing, seed: int
) -> None:
    dice = random.Random(seed)
    every = [Follower(redis_url, closing, keep=dice.choice([5, 40, 10_000])) for _ in range(4)]
    await asyncio.gather(*(each.log.start() for each in every))
    appended: list[tuple[int, int, bytes]] = []
    copied = copy(redis_server)

    async def append(each: Follower, message: bytes) -> None:
        try:
            incarnation, epoch = await each.log.append(message)
        except RedisUnavailable:
            return
        if incarnation == each.log.incarnation:
            assert each.log.epoch >= epoch
            assert message in each.fold.messages
        appended.append((incarnation, epoch, message))

    for round_ in range(60):
        calls = [append(dice.choice(every), b"%d-%d" % (round_, n)) for n in range(dice.randrange(12))]
        calls += [dice.choice(every).log.start() for _ in range(dice.randrange(4))]
        tasks = [asyncio.create_task(call) for call in calls]
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(0)
        if dice.random() < 0.3:
            harm(redis_server, dice.randrange(9), copied)
        await asyncio.gather(*tasks)
        if round_ % 10 == 9:
            await agreed(every, appended)


def harm(server: RedisServer, kind: int, copied: dict[str, bytes | None]) -> None:
    if kind == 0:
        server.execute("FLUSHALL")
    elif kind == 1:
        server.execute("DEL", STREAM)
    elif kind == 2:
        server.execute("DEL", SNAPSHOT)
    elif kind == 3:
        copied.update(copy(server))
    elif kind == 4:
        restore(server, copied)
    else:
        server.execute("CLIENT", "KILL", "TYPE", "normal")


def copy(server: RedisServer) -> dict[str, bytes | None]:
    return {key: server.execute("DUMP", key) for key in (STREAM, SNAPSHOT)}


def restore(server: RedisServer, copied: dict[str, bytes | None]) -> None:
    """An older copy, as a replica that lacks the last messages has it, some milliseconds later."""
    for key, value in copied.items():
        server.execute("DEL", key)
        if value is not None:
            server.execute("RESTORE", key, 0, value)
    began = milliseconds(server)
    while milliseconds(server) <= began + 1:
        pass


async def caught_up(each: Follower) -> None:
    """Connections that were killed while they were made count as an outage, of one short cool-down."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await each.log.catch_up()
            except RedisUnavailable:
                await eventually(lambda: each.redis.available)


async def agreed(every: list[Follower], appended: list[tuple[int, int, bytes]]) -> None:
    # twice: a reader that finds its messages taken back begins another incarnation
    for _ in range(2):
        for each in every:
            await caught_up(each)
    places = {(each.log.incarnation, each.log.epoch) for each in every}
    assert len(places) == 1
    messages = every[0].fold.messages
    assert all(each.fold.messages == messages for each in every)
    ((incarnation, epoch),) = places
    assert all(m in messages for i, e, m in appended if i == incarnation)
    assert all(e <= epoch for i, e, _ in appended if i == incarnation)


def milliseconds(server: RedisServer) -> int:
    seconds, microseconds = server.execute("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000
