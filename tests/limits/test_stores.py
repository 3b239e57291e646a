"""The stores fulfil their contract, and what each does beyond it."""

import asyncio
import random

import pytest

from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.limits import Limiter, MemoryStore, Policy, RedisStore
from ramkit.limits.core import Charge
from ramkit.redis import Redis
from ramkit.testing.clock import ManualClock
from ramkit.testing.contracts.limits import LimitStoreContract

HOUR = 3_600_000_000


def charge(key: str, units: int = 1, quota: int = 3, tag: str = "t") -> Charge:
    """Units of an hour: nothing is earned while a test runs."""
    return Charge(b"l:{%s}:%s" % (tag.encode(), key.encode()), units * HOUR, quota * HOUR)


class TestMemory(LimitStoreContract):
    def make(self):
        return MemoryStore()


class TestRedis(LimitStoreContract):
    @pytest.fixture(autouse=True)
    def server(self, redis_url):
        self.url = redis_url

    def make(self):
        return RedisStore(self.url, deadline=10)


class TestCluster(LimitStoreContract):
    @pytest.fixture(autouse=True)
    def server(self, redis_cluster):
        self.url = redis_cluster.url

    def make(self):
        return RedisStore(self.url, deadline=10)


async def units(store, *charges):
    """Backlogs of one group in units, rounded: less than one is earned meanwhile."""
    return [round(backlog / HOUR, 1) for backlog in await store.take(charges)]


# -- in memory -----------------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return ManualClock()


async def test_idle_keys_go_first(clock):
    store = MemoryStore(100, clock=clock)
    for number in range(100):
        await units(store, Charge(b"%d" % number, (number + 1) * 1_000_000, HOUR))
    clock.advance(60)
    for number in range(60):
        await units(store, Charge(b"new%d" % number, HOUR, HOUR))
    assert len(store) <= 100
    backlogs = await store.take([Charge(b"%d" % number, 0, HOUR) for number in range(100)])
    assert backlogs == [0] * 60 + [number * 1_000_000 for number in range(1, 41)]


async def test_a_flood_stays_bounded_and_does_not_reset_a_limited_client(clock):
    store = MemoryStore(100, clock=clock)
    limited = charge("limited")
    assert [await units(store, limited) for _ in range(4)] == [[0], [1], [2], [3]]
    for number in range(5000):
        clock.advance(0.001)
        await units(store, charge(f"flood{number}"))
        assert len(store) <= 100
    assert await units(store, limited) == [3]


async def test_what_is_forgotten_is_always_what_is_owed_least(clock):
    """Beside a model that sorts."""
    store, model, rng = MemoryStore(20, clock=clock), {}, random.Random(7)
    for _ in range(3000):
        clock.advance(rng.random() * 20)
        now = int(clock.monotonic() * 1_000_000)
        key, increment = b"%d" % rng.randrange(40), rng.randrange(1, 60_000_000)
        await store.take([Charge(key, increment, HOUR)])
        model[key] = max(model.get(key, 0), now) + increment
        active = sorted((tat for tat in model.values() if tat > now), reverse=True)
        if len(active) > 20:
            model = {each: tat for each, tat in model.items() if tat >= active[19]}
        look = [Charge(each, 0, HOUR) for each in map(b"%d".__mod__, range(40))]
        backlogs = await store.take(look)
        assert backlogs == [max(model.get(each.key, 0) - now, 0) for each in look]


def test_the_bound_is_a_number():
    with pytest.raises(ConfigurationError, match="max_entries"):
        MemoryStore(0)


# -- in Redis ------------------------------------------------------------------------------------------


async def test_keys_expire_by_themselves_and_hold_nothing_in_clear(redis_url, redis_server):
    store = RedisStore(redis_url, prefix="app:", deadline=10)
    try:
        await store.take([Charge(b"l:{a}:p", 90_000_000, HOUR)])
        await store.take([Charge(b"l:{b}:p", 0, HOUR)])
    finally:
        await store.aclose()
    assert redis_server.execute("KEYS", "*") == [b"app:l:{a}:p"]
    assert 80_000 < redis_server.execute("PTTL", "app:l:{a}:p") <= 90_000


async def test_the_charges_of_a_turn_are_one_script(redis_url, redis_server):
    store = RedisStore(redis_url, deadline=10)
    try:
        await store.take([charge("warm")])
        redis_server.execute("CONFIG", "RESETSTAT")
        groups = [[charge(f"k{n}"), charge(f"m{n}", tag="u")][: 1 + n % 2] for n in range(60)]
        await asyncio.gather(*map(store.take, groups))
        stats = redis_server.execute("INFO", "commandstats")
    finally:
        await store.aclose()
    assert int(stats["cmdstat_evalsha"]["calls"]) <= 2  # half of a long queue for each connection
    assert int(stats["cmdstat_set"]["calls"]) == 90


async def test_the_largest_batch_goes_through(redis_url):
    """128 calls of 32 keys each, as the middleware admits them."""
    store = RedisStore(redis_url, deadline=10)
    groups = [[charge(f"k{call}.{n}") for n in range(32)] for call in range(300)]
    try:
        replies = await asyncio.gather(*map(store.take, groups))
    finally:
        await store.aclose()
    assert set(map(tuple, replies)) == {(0,) * 32}


@pytest.mark.parametrize("ahead", [HOUR * 24 * 365, 3 * HOUR + 1], ids=["clock set back", "lower quota"])
async def test_what_is_too_far_ahead_is_brought_back(redis_url, redis_server, ahead):
    """Not only looked at so: it has to be earned again from now on."""
    store = RedisStore(redis_url, deadline=10)
    seconds, micros = redis_server.execute("TIME")
    tat = int(seconds) * 1_000_000 + int(micros) + ahead + 60_000_000
    key = "rk:" + charge("a").key.decode()
    redis_server.execute("SET", key, str(tat))
    try:
        assert await units(store, charge("a")) == [3]
    finally:
        await store.aclose()
    assert 0 < redis_server.execute("PTTL", key) <= 3 * HOUR // 1000


async def test_something_else_under_the_key_is_replaced(redis_url, redis_server):
    store = RedisStore(redis_url, deadline=10)
    key = "rk:" + charge("a").key.decode()
    redis_server.execute("SET", key, "no number")
    try:
        assert [await units(store, charge("a")) for _ in range(2)] == [[0], [1]]
    finally:
        await store.aclose()


async def test_a_redis_that_evicts_is_refused_at_the_start(redis_url, redis_server):
    redis_server.execute("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    for store in (redis_url, RedisStore(redis_url, deadline=10)):
        limiter = Limiter(store)
        try:
            with pytest.raises(ConfigurationError, match="evicts .volatile-ttl.*eviction_may_forget_limits"):
                await limiter.start()
        finally:
            await limiter.store.aclose()
    willing = Limiter(RedisStore(redis_url, deadline=10, eviction_may_forget_limits=True))
    await willing.start()


async def test_a_redis_that_is_away_at_the_start_is_not_waited_for():
    limiter = Limiter("redis://127.0.0.1:1/0")
    try:
        await limiter.start()
        assert (await limiter.check(Policy("p", "1/s"), "ada")).source == "local"
    finally:
        await limiter.aclose()


async def test_a_redis_of_the_user_stays_open(redis_url):
    redis = Redis(redis_url, deadline=10)
    store = RedisStore(redis)
    try:
        await units(store, charge("a"))
        await store.aclose()
        assert await redis.execute("PING") == b"PONG"
    finally:
        await redis.aclose()


# -- on a cluster --------------------------------------------------------------------------------------


@pytest.fixture
def apart(redis_cluster):
    """Two charges of an hour out of twenty, on two nodes."""
    nodes = {redis_cluster.node_of(tag): tag for tag in "tuvwxyz"}
    first, second = list(nodes.values())[:2]
    return charge("a", 1, 20, first), charge("b", 1, 20, second)


async def test_who_leaves_gives_back_what_a_refused_group_took(redis_cluster, apart):
    """Else who is refused by one limit, and goes at once, uses up another for all."""
    store = RedisStore(redis_cluster.url, deadline=10)
    first, second = apart
    try:
        await store.take([charge("a", 20, 20, first.key[3:4].decode())])
        for _ in range(10):
            leaving = asyncio.ensure_future(store.take([first, second]))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            await units(store, first, second)  # a round trip more on each node
        await asyncio.gather(*(store.take([each]) for each in (first, second)))
        assert await units(store, second) == [1]
    finally:
        await store.aclose()


async def test_a_node_that_refuses_costs_nothing_on_another(redis_cluster, apart):
    store = RedisStore(redis_cluster.url, deadline=10)
    first, second = apart
    redis_cluster.node_of(b"rk:" + first.key).execute("CONFIG", "SET", "maxmemory", "1")
    try:
        for _ in range(5):
            with pytest.raises(Unavailable):
                await store.take([first, second])
        assert await units(store, second) == [0]
    finally:
        await store.aclose()
