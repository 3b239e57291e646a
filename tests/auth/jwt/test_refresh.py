import asyncio

import pytest

from ramkit.auth.jwt import (
    InvalidRefreshToken,
    InvalidToken,
    JWTService,
    RefreshTokens,
    RefreshUse,
    Revocations,
)
from ramkit.auth.jwt.backends.memory import MemoryRefreshStore
from ramkit.auth.jwt.backends.redis import RedisRefreshStore
from ramkit.auth.jwt.core.refreshing import RefreshToken, new_nonce, new_token, read_token
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.redis import Redis
from ramkit.testing.clock import ManualClock
from ramkit.testing.contracts.refresh import RefreshStoreContract
from tests.auth.jwt.making import hs256

#: shifts a family into the past: what it knows of time, and when Redis forgets it
_AGE = b"""
local by = tonumber(ARGV[1])
for _, name in ipairs({'c', 'x'}) do
  redis.call('HSET', KEYS[1], name, string.format('%.0f', redis.call('HGET', KEYS[1], name) - by))
end
local aged = {}
local replaced = redis.call('HGET', KEYS[1], 'r')
for at = 1, #replaced, 77 do
  aged[#aged + 1] = string.sub(replaced, at, at + 63)
    .. string.format('%013.0f', string.sub(replaced, at + 64, at + 76) - by)
end
redis.call('HSET', KEYS[1], 'r', table.concat(aged))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', redis.call('PEXPIRETIME', KEYS[1]) - by))
"""


class TestMemory(RefreshStoreContract):
    @pytest.fixture(autouse=True)
    def _store(self, clock: ManualClock):
        self.clock, self.store = clock, MemoryRefreshStore(clock=clock)

    def make(self):
        return self.store

    async def elapse(self, seconds):
        self.clock.advance(seconds)


class OnRedis(RefreshStoreContract):
    @pytest.fixture(autouse=True)
    async def _clients(self, address, monkeypatch):
        self.seen, made = set(), []
        key = RedisRefreshStore._key

        def remembering(store, family):
            self.seen.add(key(store, family))
            return key(store, family)

        def make():
            made.append(Redis(address, deadline=5.0))
            return RedisRefreshStore(made[-1])

        monkeypatch.setattr(RedisRefreshStore, "_key", remembering)
        monkeypatch.setattr(self, "make", make)
        self.client = Redis(address, deadline=5.0)
        yield
        for each in [*made, self.client]:
            await each.aclose()

    async def elapse(self, seconds):
        if seconds <= 1:
            await asyncio.sleep(0.005)  # Redis' own time: later than what was, in milliseconds
            return
        for key in list(self.seen):
            if await self.client.execute("EXISTS", key):
                await self.client.execute("EVAL", _AGE, 1, key, int(seconds * 1000))


class TestRedis(OnRedis):
    @pytest.fixture
    def address(self, redis_url):
        return redis_url


class TestCluster(OnRedis):
    @pytest.fixture
    def address(self, redis_cluster):
        return redis_cluster.url


async def test_nothing_in_redis_is_a_token(redis_url, redis_server):
    tokens = RefreshTokens(redis_url)
    first = await tokens.issue("ada")
    second = await tokens.refresh(first.token)
    await tokens.aclose()
    (key,) = redis_server.execute("KEYS", "*")
    assert key == f"rk:refresh:{{{first.family}}}".encode()
    kept = key + b"".join(redis_server.execute("HGETALL", key))
    for token in (first.token, second.token):
        read = read_token(token)
        assert read is not None
        for secret in (
            read.root,
            read.own,
            token.encode(),
            read.root.hex().encode(),
            read.own.hex().encode(),
        ):
            assert secret not in kept


def test_a_successor_takes_its_predecessor_and_the_nonce():
    token, nonce = new_token(), new_nonce()
    successor = token.successor(nonce)
    assert successor == token.successor(nonce) != token.successor(new_nonce())
    assert RefreshToken(token.root, bytes(32)).successor(nonce) != successor
    assert successor.family == token.family
    assert read_token(successor.text) == successor
    assert len(successor.text) == 64
    assert token.hash != successor.hash


async def test_theft_revokes_the_access_tokens_too(clock):
    revocations, seen = Revocations(clock=clock), []
    service = hs256(revocations=revocations, clock=clock)
    tokens = RefreshTokens(
        MemoryRefreshStore(clock=clock),
        grace=5,
        revocations=revocations,
        observers=[lambda e: seen.append(e.result)],
    )
    first = await tokens.issue("ada")
    access = service.sign({"sub": "ada", "sid": first.family})
    await tokens.refresh(first.token)
    await tokens.refresh(first.token)
    service.verify(access)
    clock.advance(6)
    with pytest.raises(InvalidRefreshToken) as caught:
        await tokens.refresh(first.token)
    assert caught.value.reused
    with pytest.raises(InvalidToken, match="revoked"):
        service.verify(access)
    assert seen == ["rotated", "repeated", "reused"]
    assert RefreshUse.labels == ("result",)


async def test_logging_out_everywhere(clock):
    revocations = Revocations(clock=clock)
    service: JWTService = hs256(revocations=revocations, clock=clock)
    tokens = RefreshTokens(MemoryRefreshStore(clock=clock), revocations=revocations)
    first, access = await tokens.issue("ada"), service.sign({"sub": "ada"})
    clock.advance(0.01)
    await tokens.revoke_subject("ada")
    with pytest.raises(InvalidRefreshToken):
        await tokens.refresh(first.token)
    with pytest.raises(InvalidToken):
        service.verify(access)
    clock.advance(0.01)
    assert service.verify(service.sign({"sub": "ada"}))


async def test_rotations_without_end_are_bounded(clock):
    store = MemoryRefreshStore(clock=clock)
    tokens = RefreshTokens(store)
    token = (await tokens.issue("ada")).token
    for _ in range(200):
        token = (await tokens.refresh(token)).token
    (kept,) = store._families.values()
    assert len(kept.replaced) <= 64
    for number in range(1000):
        await tokens.issue(str(number))
    clock.advance(100 * 86_400)
    for number in range(2000):
        await tokens.issue(str(number))
    assert len(store._families) < 2100


async def test_a_redis_that_evicts_is_refused(redis_url, redis_server):
    redis_server.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        tokens = RefreshTokens(redis_url)
        for attempt in (tokens.start, lambda: tokens.issue("ada")):
            with pytest.raises(ConfigurationError, match="allkeys-lru"):
                await attempt()
        await tokens.aclose()
        careless = RefreshTokens(RedisRefreshStore(redis_url, eviction_may_log_users_out=True))
        assert await careless.issue("ada")
        await careless.aclose()
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_a_redis_that_hangs_is_unavailable(redis_url, redis_server):
    tokens = RefreshTokens(redis_url)
    first = await tokens.issue("ada")
    redis_server.pause()
    try:
        with pytest.raises(Unavailable):
            await tokens.refresh(first.token)
    finally:
        redis_server.resume()
        await tokens.aclose()


@pytest.mark.parametrize(
    ("argument", "options"),
    [("idle", {"idle": 0}), ("idle", {"idle": 9, "absolute": 8}), ("grace", {"grace": -1})],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        RefreshTokens(**options)
    assert caught.value.argument == argument


async def test_who_makes_up_tokens_to_log_out_fills_no_list(clock):
    revocations = Revocations(clock=clock)
    tokens = RefreshTokens(revocations=revocations)
    for _ in range(100):
        await tokens.revoke(new_token().text)
    assert len(revocations._list) == 0
    await tokens.revoke((await tokens.issue("ada")).token)
    assert len(revocations._list) == 1


async def test_a_logout_that_was_not_confirmed_can_be_tried_again(clock, monkeypatch):
    revocations = Revocations(clock=clock)
    service = hs256(revocations=revocations, clock=clock)
    tokens = RefreshTokens(revocations=revocations)
    first = await tokens.issue("ada")
    access = service.sign({"sub": "ada", "sid": first.family})

    async def away(message):
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(revocations.log, "append", away)
        with pytest.raises(Unavailable):
            await tokens.revoke(first.token)
    await tokens.revoke(first.token)
    with pytest.raises(InvalidToken, match="revoked"):
        service.verify(access)


async def test_steps_of_the_wall_clock_end_nobodys_login(clock):
    tokens = RefreshTokens(MemoryRefreshStore(clock=clock), idle=3600)
    token = (await tokens.issue("ada")).token
    clock.step(7200)
    token = (await tokens.refresh(token)).token
    clock.step(-14_400)
    clock.advance(3601)
    with pytest.raises(InvalidRefreshToken):
        await tokens.refresh(token)
