import re
import struct
import time
from collections.abc import Iterator
from secrets import token_bytes

import pytest

from ramkit.auth.sessions import MemorySessionStore, RedisSessionStore, SessionMiddleware, Sessions
from ramkit.auth.sessions.core.ids import hash_of, new_id
from ramkit.auth.sessions.core.record import NOBODY, Change, decode, merge
from ramkit.auth.sessions.policy import Lifetime
from ramkit.auth.sessions.port import SessionStore
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.redis import Redis
from ramkit.testing.client import drive, http_scope
from ramkit.testing.clock import ManualClock
from ramkit.testing.contracts.sessions import HangingSessionStoreContract, SessionStoreContract
from ramkit.testing.servers import RedisCluster, RedisServer

#: Seconds: commands that a busy machine answers late are not what is tested here.
DEADLINE = 0.9
LIFE = Lifetime(100, 1000)


class TestMemory(SessionStoreContract):
    @pytest.fixture(autouse=True)
    def _clock(self, clock: ManualClock) -> None:
        self.clock = clock

    def make(self) -> SessionStore:
        return MemorySessionStore(clock=self.clock)

    async def elapse(self, seconds: float) -> None:
        self.clock.advance(seconds)


def age(server: RedisServer, seconds: float) -> None:
    """Make all that is kept that much older: a server's clock cannot be moved."""
    for key in server.execute("KEYS", "rk:*"):
        left = server.execute("PTTL", key)
        if b":sessions:" in key:
            for member, score in pairs(server.execute("ZRANGE", key, 0, -1, "WITHSCORES")):
                server.execute("ZADD", key, float(score) - seconds, member)
        else:
            old = server.execute("GET", key)
            record = decode(old)
            if record is not None:
                times = (record.created - seconds, record.ends - seconds, record.seen - seconds)
                server.execute("SET", key, struct.pack(">Bddd", 1, *times) + old[25:], "KEEPTTL")
        server.execute("PEXPIRE", key, int(left - seconds * 1000))


def pairs(flat):
    return (
        flat if flat and isinstance(flat[0], (list, tuple)) else list(zip(flat[::2], flat[1::2], strict=True))
    )


class TestRedis(HangingSessionStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str, redis_server: RedisServer) -> Iterator[None]:
        self.url, self.server = redis_url, redis_server
        yield
        if redis_server.ours:
            redis_server.resume()

    def make(self) -> SessionStore:
        return RedisSessionStore(self.url, deadline=DEADLINE)

    async def elapse(self, seconds: float) -> None:
        age(self.server, seconds)

    def pause(self) -> None:
        self.server.pause()

    def resume(self) -> None:
        self.server.resume()


class TestCluster(SessionStoreContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, redis_cluster: RedisCluster) -> None:
        self.cluster = redis_cluster

    def make(self) -> SessionStore:
        return RedisSessionStore(self.cluster.url, deadline=DEADLINE)

    async def elapse(self, seconds: float) -> None:
        for node in self.cluster.nodes:
            age(node, seconds)


# -- Redis --------------------------------------------------------------------------------------------


async def test_the_server_has_hashes_and_lifetimes(redis_url: str, redis_server: RedisServer) -> None:
    store = RedisSessionStore(redis_url, deadline=DEADLINE)
    key, subject = token_bytes(32), token_bytes(32)
    await store.create(key, subject, Change({"a": b"\x01"}, ()), Lifetime(100, 150), 1000)
    session, listed = f"rk:session:{key.hex()}", f"rk:sessions:{subject.hex()}"
    assert {each.decode() for each in redis_server.execute("KEYS", "*")} == {session, listed}
    assert 99_000 < redis_server.execute("PTTL", session) <= 100_000
    assert 100_000 < redis_server.execute("PTTL", listed) <= 110_000
    age(redis_server, 90)
    await store.change(key, subject, Change({}, ()), Lifetime(100, 150), 1000)
    # no longer than the absolute lifetime
    assert 59_000 < redis_server.execute("PTTL", session) <= 60_000
    await store.take(key)
    assert redis_server.execute("STRLEN", session) == 0
    assert 0 < redis_server.execute("PTTL", session) <= 60_000
    await store.aclose()


async def test_who_logs_out_everywhere_also_ends_what_is_just_being_made(redis_url: str) -> None:
    """Regeneration lists the new session first: whoever revokes in between finds it there."""
    store = RedisSessionStore(redis_url, deadline=DEADLINE)
    sessions, who, old, new = Sessions(store), token_bytes(32), token_bytes(32), token_bytes(32)
    await store.create(old, who, Change({"a": b"\x01"}, ()), LIFE, 1000)
    take, seen = store.take, []

    async def take_while_others_revoke(key: bytes):
        taken = await take(key)
        if not seen:
            seen.extend(await store.listed(who))
            for each in seen:
                await take(each)
        return taken

    store.take = take_while_others_revoke  # type: ignore[method-assign]  # somebody else, in between
    outcome = await store.create(new, who, Change({"b": b"\x02"}, ()), LIFE, 1000, replacing=old)
    assert new in seen
    assert outcome.what == "gone"
    assert await store.read(new) is None
    await sessions.aclose()
    await store.aclose()


@pytest.mark.parametrize("damaged", [b"", b"\x00", b"\x01" * 56, b"\x02" + b"\x01" * 90, b"\x01" * 60])
async def test_damaged_bytes_are_no_session(
    redis_url: str, redis_server: RedisServer, damaged: bytes
) -> None:
    store = RedisSessionStore(redis_url, deadline=DEADLINE)
    key = token_bytes(32)
    redis_server.execute("SET", f"rk:session:{key.hex()}", damaged)
    assert await store.read(key) is None
    assert await store.take(key) is None
    await store.aclose()


async def nothing(scope, receive, send):
    pass


async def test_a_redis_that_evicts_is_refused(redis_url: str, redis_server: RedisServer) -> None:
    redis_server.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    store = RedisSessionStore(redis_url, deadline=DEADLINE)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="evicts .allkeys-lru"):
            await store.start()
        with pytest.raises(ConfigurationError, match="maxmemory-policy"):
            await store.create(token_bytes(32), NOBODY, Change({"a": b"\x01"}, ()), LIFE, 1000)
    willing = RedisSessionStore(redis_url, deadline=DEADLINE, eviction_may_end_sessions=True)
    await willing.start()
    assert (
        await willing.create(token_bytes(32), NOBODY, Change({"a": b"\x01"}, ()), LIFE, 1000)
    ).what == "stored"

    middleware = SessionMiddleware(nothing, store=redis_url)
    with pytest.raises(ConfigurationError, match="evicts"):
        await middleware.sessions.start()
    await middleware.sessions.aclose()
    await willing.aclose()
    await store.aclose()


async def test_full_memory_is_unavailable_and_ends_nothing(redis_url: str, redis_server: RedisServer) -> None:
    store = RedisSessionStore(redis_url, deadline=DEADLINE)
    key = token_bytes(32)
    await store.create(key, NOBODY, Change({"a": b"\x01"}, ()), LIFE, 1000)
    redis_server.execute("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
    with pytest.raises(Unavailable):
        await store.change(key, NOBODY, Change({"a": b"\x02"}, ()), LIFE, 1000)
    record = await store.read(key)
    assert record is not None
    assert record.fields == {"a": b"\x01"}
    assert await store.take(key) is not None
    assert await store.read(key) is None
    await store.aclose()


async def test_what_the_user_made_stays_open(redis_url: str) -> None:
    ours = Redis(redis_url, deadline=DEADLINE)
    store = RedisSessionStore(ours, prefix="app:")
    await store.create(token_bytes(32), NOBODY, Change({"a": b"\x01"}, ()), LIFE, 1000)
    await store.aclose()
    (key,) = await ours.execute("KEYS", "*")
    assert re.fullmatch(rb"app:session:[0-9a-f]{64}", key)
    await ours.aclose()


async def test_memory_forgets_the_expired(clock: ManualClock) -> None:
    store = MemorySessionStore(clock=clock)
    for _ in range(3000):
        await store.create(token_bytes(32), token_bytes(32), Change({"a": b"\x01"}, ()), LIFE, 1000)
        clock.advance(1)
    assert len(store) < 1300
    clock.step(86_400)  # a step of the wall clock ends nobody's session
    assert (await store.change(next(iter(store._kept)), NOBODY, Change({}, ()), LIFE, 1000)).what == "gone"
    assert await store.read(list(store._kept)[-1]) is not None


async def test_a_process_whose_clock_is_behind_extends_what_it_reads(
    redis_url: str, redis_server: RedisServer
) -> None:
    behind = ManualClock(time=time.time() - 7200)
    key, ahead = token_bytes(32), RedisSessionStore(redis_url, deadline=DEADLINE)
    await ahead.create(key, NOBODY, Change({"a": b"\x01"}, ()), LIFE, 1000)
    store = RedisSessionStore(redis_url, deadline=DEADLINE, clock=behind)
    record = await store.read(key)
    assert record is not None
    assert store.now() == pytest.approx(record.seen)
    behind.advance(60)
    assert store.now() >= record.seen + 60
    await store.aclose()
    await ahead.aclose()


def test_merging_takes_time_in_proportion() -> None:
    class Names(tuple[str, ...]):  # noqa: SLOT001 - it counts
        looks = 0

        def __contains__(self, name: object) -> bool:
            Names.looks += 1
            return super().__contains__(name)

    names = Names(str(number) for number in range(100))
    assert merge(dict.fromkeys(names, b"\x01"), Change({}, names)) == {}
    assert Names.looks == 0


async def test_values_nested_deep_are_no_session(clock: ManualClock) -> None:
    store = MemorySessionStore(clock=clock)
    app = SessionMiddleware(nothing, store=store)
    value = new_id()
    key = hash_of(value) or b""
    body = b"\x81\xa1a" + b"\x91" * 5000 + b"\xc0"
    now = store.now()
    head = struct.pack(">Bddd32s", 1, now, now + 100, now, NOBODY)
    store._kept[key] = (now + 100, head + struct.pack(">III", 1, 2, 5001) + body)
    scope = http_scope(headers=[(b"cookie", b"__Host-session=" + value)])
    assert await drive(app, scope) == []
    assert not scope["session"]
