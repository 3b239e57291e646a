import asyncio
import gc
import random
import tracemalloc
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.cache.backends.memory import OVERHEAD, MemoryStore
from ramkit.cache.core.entry import Entry
from ramkit.cache.core.purging import PurgeTable, Verdict, message, slot
from ramkit.cache.core.sieve import Sieve
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.clock import ManualClock


def entry(body: bytes = b"") -> Entry:
    return Entry(1, 1, (), "/", 0.0, 0.0, 0.0, 0.0, body=body)


#: what an entry with a body of 400 bytes takes
UNIT = entry(bytes(400)).size + OVERHEAD


# -- what stays ---------------------------------------------------------------------------------------


def test_the_bound_holds_whatever_is_put() -> None:
    rng = random.Random(1)
    store = MemoryStore(UNIT * 40)
    for _ in range(5000):
        key = b"%d" % rng.randrange(300)
        if rng.random() < 0.3:
            store.peek(key)
        else:
            store.put(key, entry(bytes(rng.randrange(3000))), rng.choice((0.0, 1.0, 100.0)))
        assert store.size <= store.max_bytes
        assert store.size == sum(node.value.size + OVERHEAD for node in store._nodes.values())
    assert len(store) > 10


def test_the_bound_is_one_of_memory() -> None:
    store = MemoryStore(4 * 2**20)
    tracemalloc.start()
    try:
        for number in range(5000):
            headers = [(b"etag", b'"%d"' % number), (b"cache-control", b"max-age=60, %d" % number)]
            slots = tuple(range(1000, 1007))
            times = (number + 0.25, number + 0.5, number + 0.75, number + 1.25)
            one = Entry(1, 5000 + number, slots, f"/a/{number}", *times, headers=headers, body=bytes(200))
            store.put(b"%016d" % number, one, 100)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store) < 5000
    assert taken < 1.1 * store.max_bytes


class _Lru:
    """What SIEVE is measured by."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: OrderedDict[bytes, None] = OrderedDict()

    def asked(self, key: bytes) -> bool:
        hit = key in self.kept
        self.kept[key] = None
        self.kept.move_to_end(key)
        if len(self.kept) > self.most:
            self.kept.popitem(last=False)
        return hit


def _asked(store: MemoryStore, key: bytes) -> bool:
    if store.peek(key) is not None:
        return True
    store.put(key, entry(bytes(400)), 1e9)
    return False


def test_a_scan_takes_nothing_of_what_is_asked_for() -> None:
    store = MemoryStore(UNIT * 100)
    hot = [b"hot%d" % number for number in range(60)]
    for key in hot * 2:
        _asked(store, key)
    for number in range(10_000):
        _asked(store, b"scan%d" % number)
    assert all(store.peek(key) is not None for key in hot)


def test_it_keeps_more_of_what_is_asked_for_than_lru() -> None:
    rng = random.Random(2)
    weights = [1 / rank for rank in range(1, 2001)]
    popular = rng.choices(range(2000), weights, k=30_000)
    # Every other request is for something that is never asked for again.
    asked = [b"%d" % key if place % 2 else b"once%d" % place for place, key in enumerate(popular)]
    store, lru = MemoryStore(UNIT * 200), _Lru(200)
    hits = sum(_asked(store, key) for key in asked)
    lru_hits = sum(lru.asked(key) for key in asked)
    assert hits > 1.2 * lru_hits


def test_what_expired_leaves_before_what_did_not_even_if_it_was_hit(clock: ManualClock) -> None:
    store = MemoryStore(UNIT * 10, clock=clock)
    store.put(b"short", entry(bytes(400)), 1)
    for number in range(9):
        store.put(b"%d" % number, entry(bytes(400)), 100)
    assert store.peek(b"short") is not None
    clock.advance(1)
    store.put(b"new", entry(bytes(400)), 100)
    assert len(store) == 10
    assert store.peek(b"short") is None
    assert all(store.peek(b"%d" % number) is not None for number in range(9))


@given(st.lists(st.tuples(st.sampled_from("phd"), st.integers(0, 8), st.integers(1, 5)), max_size=60))
def test_the_queue_is_whole_after_any_calls(calls: list[tuple[str, int, int]]) -> None:
    sieve: Sieve[int] = Sieve(10)
    for what, number, size in calls:
        key = b"%d" % number
        if what == "p":
            sieve.put(key, number, size, 1.0, 0.0)
            assert sieve.nodes[key].size == size
        elif what == "d":
            sieve.drop(key)
            assert key not in sieve.nodes
        elif key in sieve.nodes:
            sieve.nodes[key].visited = True
        order = _order(sieve)
        assert sorted(order) == sorted(sieve.nodes)
        assert sieve.size == sum(node.size for node in sieve.nodes.values()) <= 10
        assert sieve._hand is None or sieve._hand.key in sieve.nodes


def _order(sieve: Sieve[int]) -> list[bytes]:
    """Keys from the oldest to the newest, the links checked in both directions."""
    found: list[bytes] = []
    node, older = sieve._oldest, None
    while node is not None:
        assert node.older is older
        found.append(node.key)
        older, node = node, node.newer
    assert sieve._newest is older
    return found


# -- lifetimes and sizes ------------------------------------------------------------------------------


async def test_an_entry_is_there_until_its_ttl_by_the_monotonic_clock(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    one = entry()
    await store.set(b"key", one, 10)
    clock.step(1000)
    clock.advance(9.99)
    assert store.peek(b"key") is one
    assert await store.get(b"key") is one
    clock.advance(0.02)
    assert await store.get(b"key") is None
    assert (store.size, len(store)) == (0, 0)


def test_an_entry_above_an_eighth_of_the_bound_is_not_kept() -> None:
    store = MemoryStore(UNIT * 8)
    store.put(b"key", entry(bytes(400)), 10)
    assert store.peek(b"key") is not None
    store.put(b"key", entry(bytes(401)), 10)
    assert store.peek(b"key") is None
    assert store.size == 0


def test_a_bound_of_nothing_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"^max_bytes: "):
        MemoryStore(0)


def test_a_store_serves_one_cache() -> None:
    store = MemoryStore()
    store.log(PurgeTable())
    with pytest.raises(ConfigurationError, match=r"^store: "):
        store.log(PurgeTable())


# -- log and leases -----------------------------------------------------------------------------------


async def test_the_log_counts_from_one_and_is_always_current(clock: ManualClock) -> None:
    table = PurgeTable()
    log = MemoryStore(clock=clock).log(table)
    assert log.current()
    assert (table.incarnation, table.epoch) == (log.incarnation, 0)
    assert [await log.append(message(["g:a"])) for _ in range(3)] == [
        (log.incarnation, epoch) for epoch in (1, 2, 3)
    ]
    one = Entry(log.incarnation, 2, (slot("g:a"),), "/", 0.0, 0.0, 0.0, 0.0)
    assert table.judge(one) is Verdict.GONE
    assert await log.append(b"", replicas=2) == (log.incarnation, 4)
    await log.start()
    await log.catch_up()
    assert log.epoch == 4


def test_no_two_logs_have_one_incarnation() -> None:
    made = {MemoryStore().log(PurgeTable()).incarnation for _ in range(50)}
    assert len(made) == 50
    assert 0 not in made


def test_its_time_is_the_clocks_without_its_steps(clock: ManualClock) -> None:
    log = MemoryStore(clock=clock).log(PurgeTable())
    began = clock.time()
    clock.step(-500)
    clock.advance(3)
    assert log.now() == began + 3


async def test_leases_are_granted_to_whoever_asks() -> None:
    leases = MemoryStore().leases()
    first, second = await leases.acquire(b"key"), await leases.acquire(b"key")
    assert first is not None
    assert second is not None
    await first.release()
    await asyncio.wait_for(leases.released(b"key", 3600), 10)


def test_one_event_loop_after_another() -> None:
    store = MemoryStore()
    log = store.log(PurgeTable())

    async def use(body: bytes) -> bytes | None:
        found = await store.get(b"key")
        await store.set(b"key", entry(body), 60)
        await log.append(message(["g:a"]))
        await store.aclose()
        return found.body if found else None

    assert [asyncio.run(use(body)) for body in (b"1", b"2", b"3")] == [None, b"1", b"2"]
    assert log.epoch == 3
