import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis.asyncio as driver
from redis.crc import key_slot

from ramkit.redis import Leases, Redis, RedisUnavailable, Script
from ramkit.redis.cluster import key_of
from ramkit.testing.clock import ManualClock
from ramkit.testing.servers import RedisCluster, RedisServer
from tests.redis.helpers import Closing, Follower, eventually

CONCAT = Script(
    "concat", "local r = {} for at, key in ipairs(KEYS) do r[at] = key .. ARGV[at] end return r", vector=True
)


def calls(cluster: RedisCluster, command: str) -> int:
    stats = [node.execute("INFO", "commandstats") for node in cluster.nodes]
    return sum(int(stat.get(f"cmdstat_{command}", {"calls": 0})["calls"]) for stat in stats)


async def test_commands_go_where_their_keys_are(redis_cluster: RedisCluster, closing: Closing) -> None:
    redis = closing(Redis(redis_cluster.url, deadline=5.0))
    keys = [b"k%d" % number for number in range(200)]
    assert await asyncio.gather(*(redis.execute("SET", key, key) for key in keys)) == [b"OK"] * 200
    assert await asyncio.gather(*(redis.get(key) for key in keys)) == keys
    assert await asyncio.gather(*(redis.run(CONCAT, [key], [b"!"]) for key in keys)) == [
        k + b"!" for k in keys
    ]
    assert await redis.execute("PING") == b"PONG"
    assert await redis.get(b"none") is None
    for node in redis_cluster.nodes:
        assert node.execute("DBSIZE") > 0


async def test_reads_of_one_slot_are_one_mget(redis_cluster: RedisCluster, closing: Closing) -> None:
    redis = closing(Redis(redis_cluster.url, deadline=5.0))
    await redis.get(b"{t}")
    for node in redis_cluster.nodes:
        node.execute("CONFIG", "RESETSTAT")
    await asyncio.gather(*(redis.get(b"{t}%d" % number) for number in range(30)))
    assert calls(redis_cluster, "mget") == 1
    await asyncio.gather(*(redis.run(CONCAT, [b"{t}%d" % number], [b"!"]) for number in range(30)))
    assert calls(redis_cluster, "eval") + calls(redis_cluster, "evalsha") <= 2


@contextmanager
def moving(cluster: RedisCluster, key: bytes) -> Iterator[tuple[RedisServer, RedisServer]]:
    """The key's slot is on its way to another node; afterwards it is back."""
    source = cluster.node_of(key)
    target = next(node for node in cluster.nodes if node is not source)
    slot = key_slot(key)
    ids = {node: node.execute("CLUSTER", "MYID").decode() for node in (source, target)}
    target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    try:
        yield source, target
    finally:
        for node in (source, target):
            for name in node.execute("CLUSTER", "GETKEYSINSLOT", slot, 100):
                node.execute("DEL", name)
        for node in (source, target, *cluster.nodes):
            node.execute("CLUSTER", "SETSLOT", slot, "NODE", ids[source])


def migrate(source: RedisServer, target: RedisServer, key: bytes) -> None:
    host = target.url.removeprefix("redis://").rpartition(":")[0].strip("[]")
    assert source.execute("MIGRATE", host, target.port, key, 0, 5000) == b"OK"


async def test_ask_and_moved(redis_cluster: RedisCluster, closing: Closing) -> None:
    redis = closing(Redis(redis_cluster.url, deadline=5.0))
    script = Script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
    for key in (b"{m}a", b"{m}b", b"{m}n"):
        await redis.execute("SET", key, 1)
    with moving(redis_cluster, b"{m}a") as (source, target):
        migrate(source, target, b"{m}a")
        migrate(source, target, b"{m}n")
        for _ in range(3):
            assert await asyncio.gather(redis.get(b"{m}a"), redis.get(b"{m}b"), redis.get(b"{m}c")) == [
                b"1",
                b"1",
                None,
            ]
        assert await redis.execute("INCR", b"{m}n") == 2
        assert await redis.run(script, [b"{m}n"], [2]) == 4
        migrate(source, target, b"{m}b")
        owner = target.execute("CLUSTER", "MYID").decode()
        for node in (target, source):
            node.execute("CLUSTER", "SETSLOT", key_slot(b"m"), "NODE", owner)
        for _ in range(3):
            assert await asyncio.gather(redis.get(b"{m}a"), redis.get(b"{m}b")) == [b"1", b"1"]
            assert await redis.run(script, [b"{m}n"], [0]) == 4


async def test_one_node_hangs(redis_cluster: RedisCluster, closing: Closing, clock: ManualClock) -> None:
    redis = closing(Redis(redis_cluster.url, deadline=1.0, clock=clock))
    keys = {id(node): key for key in (b"k%d" % n for n in range(50)) for node in [redis_cluster.node_of(key)]}
    hung, *others = redis_cluster.nodes
    for key in keys.values():
        await redis.execute("SET", key, "v")
    hung.pause()
    with pytest.raises(RedisUnavailable):
        await redis.get(keys[id(hung)])
    assert redis.get(keys[id(hung)]).done()  # type: ignore[attr-defined]  # it is a future
    for node in others:
        assert await redis.get(keys[id(node)]) == b"v"
    assert redis.available
    hung.resume()
    clock.advance(1.0)
    assert await redis.get(keys[id(hung)]) == b"v"


async def test_their_client(redis_cluster: RedisCluster, closing: Closing) -> None:
    first = redis_cluster.nodes[0]
    theirs = closing(driver.RedisCluster.from_url(first.url, decode_responses=True))
    redis = Redis(theirs, deadline=5.0)
    await redis.execute("SET", "k", "v")
    assert await redis.get(b"k") == b"v"
    await redis.aclose()
    assert await theirs.get("k") == "v"


async def test_log_and_leases(redis_cluster: RedisCluster, closing: Closing) -> None:
    one, two = Follower(redis_cluster.url, closing, keep=20), Follower(redis_cluster.url, closing)
    await asyncio.gather(one.log.start(), two.log.start())
    for number in range(100):
        await one.log.append(b"%d" % number)
    await eventually(lambda: len(two.fold.messages) == 100)
    assert one.fold.epochs == two.fold.epochs
    held = await closing(Leases(one.redis)).acquire(b"k")
    assert held is not None
    waiter = closing(Leases(two.redis))
    assert await waiter.acquire(b"k") is None
    waiting = asyncio.ensure_future(waiter.released(b"k", 60.0))
    await asyncio.sleep(0)
    await held.release()
    async with asyncio.timeout(20):
        await waiting


async def test_closed_and_used_again(redis_cluster: RedisCluster, closing: Closing) -> None:
    redis = closing(Redis(redis_cluster.url + "?client_name=mine", deadline=5.0))
    for _ in range(2):
        assert await asyncio.gather(*(redis.get(b"k%d" % number) for number in range(50))) == [None] * 50
        assert mine(redis_cluster)
        await redis.aclose()
        await eventually(lambda: not mine(redis_cluster))
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


def mine(cluster: RedisCluster) -> list[str]:
    return [told for node in cluster.nodes for told in node.connections().values() if "name mine" in told]


@pytest.mark.parametrize(
    ("args", "key"),
    [
        ((b"GET", b"k"), b"k"),
        ((b"eval", b"return 1", b"1", b"k", b"a"), b"k"),
        ((b"XREAD", b"COUNT", b"1", b"streams", b"k", b"0"), b"k"),
        ((b"XINFO", b"STREAM", b"k"), b"k"),
        ((b"PING",), None),
        ((b"SCRIPT", b"FLUSH"), None),
    ],
)
def test_keys_of_commands(args: tuple[bytes, ...], key: Any) -> None:
    assert key_of(args) == key
