from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis.asyncio

from ramkit.cache.backends.memory import MemoryStore
from ramkit.cache.backends.redis import RedisStore
from ramkit.cache.backends.tiered import TieredStore
from ramkit.cache.core.entry import Entry
from ramkit.cache.core.purging import PurgeTable
from ramkit.cache.port import Store
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.redis import Redis
from ramkit.testing.clock import ManualClock
from ramkit.testing.contracts.shared_store import HangingStoreContract, SharedStoreContract
from ramkit.testing.contracts.store import StoreContract, make_entry
from ramkit.testing.servers import RedisCluster, RedisServer

#: Seconds: commands that a busy machine answers late are not what is tested here.
DEADLINE = 0.9


class TestMemory(StoreContract):
    @pytest.fixture(autouse=True)
    def _clock(self, clock: ManualClock) -> None:
        self.clock = clock

    def make(self) -> Store:
        return MemoryStore(clock=self.clock)

    async def elapse(self, seconds: float) -> None:
        self.clock.advance(seconds)


class OnRedis(HangingStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str, redis_server: RedisServer) -> Iterator[None]:
        self.url, self.server = redis_url, redis_server
        yield
        if redis_server.ours:
            redis_server.resume()

    async def damage(self, key: bytes, data: bytes) -> None:
        self.server.execute("SET", b"rk:c:cache:" + key, data, "PX", 60_000)

    def pause(self) -> None:
        self.server.pause()

    def resume(self) -> None:
        self.server.resume()


class TestRedis(OnRedis):
    def make(self) -> Store:
        return RedisStore(self.url, deadline=DEADLINE)


class TestTiered(OnRedis):
    def make(self) -> Store:
        return TieredStore(RedisStore(self.url, deadline=DEADLINE))


class TestCluster(SharedStoreContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, redis_cluster: RedisCluster) -> None:
        self.cluster = redis_cluster

    def make(self) -> Store:
        return RedisStore(self.cluster.url, deadline=DEADLINE)

    async def damage(self, key: bytes, data: bytes) -> None:
        client = Redis(self.cluster.url, deadline=DEADLINE)
        await client.execute("SET", b"rk:c:cache:" + key, data, "PX", 60_000)
        await client.aclose()


# -- Redis --------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(store: RedisStore) -> AsyncGenerator[RedisStore, None]:
    try:
        yield store
    finally:
        await store.aclose()


def entry(stored: float = 0.0, body: bytes = b"body") -> Entry:
    return Entry(1, 1, (), "/", stored, 2e10, 2e10, 2e10, body=body)


async def test_caches_of_two_names_or_prefixes_do_not_meet(redis_url: str) -> None:
    shared = Redis(redis_url, deadline=DEADLINE)
    stores = [RedisStore(shared), RedisStore(shared, name="other"), RedisStore(shared, prefix="x:")]
    logs = [store.log(PurgeTable()) for store in stores]
    await stores[0].set(b"key", entry(), 60)
    assert [await store.get(b"key") is not None for store in stores] == [True, False, False]
    _, epoch = await logs[0].append(b"")
    for store, log in zip(stores[1:], logs[1:], strict=True):
        await log.catch_up()
        assert (log.incarnation, log.epoch) != (logs[0].incarnation, epoch)
        lease = await store.leases().acquire(b"key")
        assert lease is not None
        await lease.release()
    lease = await stores[0].leases().acquire(b"key")
    assert lease is not None
    for store in stores:
        await store.aclose()
    await shared.aclose()


async def test_the_servers_key_says_whose_it_is_and_when_it_ends(
    redis_url: str, redis_server: RedisServer
) -> None:
    async with opened(RedisStore(redis_url, prefix="app:", name="pages", deadline=DEADLINE)) as store:
        await store.set(b"\x00\xff", entry(), 0.0001)
        await store.set(b"\x00\xff", entry(), 30)
        assert 29_000 < redis_server.execute("PTTL", b"app:c:pages:\x00\xff") <= 30_000
        await store.set(b"\x00\xff", entry(), float("inf"))
        assert redis_server.execute("PTTL", b"app:c:pages:\x00\xff") > 10**11


async def test_what_the_user_made_stays_open(redis_url: str) -> None:
    client: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    ours = Redis(redis_url, deadline=DEADLINE)
    try:
        for server in (client, ours):
            store = RedisStore(server, deadline=DEADLINE)
            await store.set(b"key", entry(body=b"\xff"), 60)
            found = await store.get(b"key")
            assert found is not None
            assert found.body == b"\xff"
            await store.aclose()
        assert await client.ping()
        assert await ours.execute("PING") in (b"PONG", "PONG")
    finally:
        await ours.aclose()
        await client.aclose()


async def test_a_redis_that_refuses_is_unavailable(redis_url: str, redis_server: RedisServer) -> None:
    async with opened(RedisStore(redis_url, deadline=DEADLINE)) as store:
        redis_server.execute("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        with pytest.raises(Unavailable, match="maxmemory"):
            await store.set(b"key", entry(), 60)


async def test_full_memory_stops_renders_from_being_shared_but_no_purge(
    redis_url: str, redis_server: RedisServer
) -> None:
    async with opened(RedisStore(redis_url, deadline=DEADLINE)) as store:
        log = store.log(PurgeTable())
        await log.catch_up()
        redis_server.execute("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        assert (await log.append(b""))[1] == log.epoch
        with pytest.raises(Unavailable):
            await store.leases().acquire(b"key")


def test_mistakes_are_named() -> None:
    for arguments in ({"name": "a:b"}, {"max_entry": 0}, {"deadline": 0}):
        with pytest.raises(ConfigurationError, match=next(iter(arguments))):
            RedisStore("redis://127.0.0.1", **arguments)
    store = RedisStore("redis://127.0.0.1")
    store.log(PurgeTable())
    with pytest.raises(ConfigurationError, match="store"):
        store.log(PurgeTable())
    with pytest.raises(ConfigurationError, match="log"):
        TieredStore(MemoryStore())._now()


# -- tiers --------------------------------------------------------------------------------------------


class _Shared(MemoryStore):
    """A shared tier that gives a copy each time, as a server would, and fails when told to."""

    fails = False

    async def get(self, key: bytes) -> Entry | None:
        found = await super().get(key)
        return None if found is None else entry(found.stored, found.body)

    async def set(self, key: bytes, entry: Entry, ttl: float) -> None:
        if self.fails:
            raise Unavailable("as told")
        await super().set(key, entry, ttl)


@pytest.fixture
def shared(clock: ManualClock) -> _Shared:
    return _Shared(clock=clock)


@pytest.fixture
def tiered(shared: _Shared, clock: ManualClock) -> TieredStore:
    store = TieredStore(shared, local=MemoryStore(clock=clock))
    store.log(PurgeTable())
    return store


async def test_what_is_fetched_is_kept_and_is_what_is_returned(shared: _Shared, tiered: TieredStore) -> None:
    await shared.set(b"key", entry(), 60)
    assert tiered.peek(b"key") is None
    got = await tiered.get(b"key")
    assert got is not None
    assert tiered.peek(b"key") is got


async def test_the_copy_here_stays_while_the_server_has_it(shared: _Shared, tiered: TieredStore) -> None:
    await shared.set(b"key", entry(1.0), 60)
    first = await tiered.get(b"key")
    assert first is not None
    first.checked = 7
    assert await tiered.get(b"key") is first
    for newer in (entry(2.0), entry(2.0, b"other")):
        await shared.set(b"key", newer, 60)
        second = await tiered.get(b"key")
        assert second is not None
        assert (second.checked, second.body, second.stored) == (-1, newer.body, 2.0)
        assert tiered.peek(b"key") is second


async def test_a_copy_lives_no_longer_than_the_entry_is_good_for(
    shared: _Shared, tiered: TieredStore, clock: ManualClock
) -> None:
    log = shared._log
    assert log is not None
    for which in ("fresh_until", "revalidate_until", "error_until"):
        good = make_entry(log, fresh_until=0.0, revalidate_until=0.0, error_until=0.0)
        setattr(good, which, log.now() + 10)
        shared.get = _giving(good)  # type: ignore[method-assign]  # what it would have decoded
        assert await tiered.get(which.encode()) is good
        clock.advance(9.9)
        assert tiered.peek(which.encode()) is good
        clock.advance(0.2)
        assert await tiered.local.get(which.encode()) is None
        assert await tiered.get(which.encode()) is good
        assert await tiered.local.get(which.encode()) is None


def _giving(one: Entry) -> Any:
    async def get(key: bytes) -> Entry | None:
        return one

    return get


async def test_set_reaches_this_process_also_when_the_server_is_away(
    shared: _Shared, tiered: TieredStore
) -> None:
    shared.fails, one = True, entry()
    with pytest.raises(Unavailable, match="as told"):
        await tiered.set(b"key", one, 60)
    assert tiered.peek(b"key") is one


async def test_a_set_during_a_get_wins(shared: _Shared, tiered: TieredStore) -> None:
    old, new = entry(1.0, b"old"), entry(2.0, b"new")

    async def overtaken(key: bytes) -> Entry | None:
        await tiered.set(key, new, 60)
        return old

    shared.get = overtaken  # type: ignore[method-assign]  # a reply that was under way
    assert await tiered.get(b"key") is new
    assert tiered.peek(b"key") is new


async def test_log_and_leases_are_the_servers(shared: _Shared) -> None:
    store = TieredStore(shared)
    assert store.log(PurgeTable()) is shared._log
    assert await store.leases().acquire(b"key") is not None
    with suppress(ConfigurationError):
        store.log(PurgeTable())
        pytest.fail("one store served two caches")


def test_they_are_stores() -> None:
    # For the type checkers.
    made: list[Store] = [MemoryStore(), TieredStore(MemoryStore()), RedisStore("redis://127.0.0.1")]
    assert len(made) == 3
