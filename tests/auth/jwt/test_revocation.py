import asyncio

import pytest

from ramkit.auth.jwt import InvalidToken, JWTService, Revocations, RevocationsUnavailable
from ramkit.auth.jwt.core.revoking import RevocationList, message, revocation
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.redis import Redis
from tests.auth.jwt.making import forge, hs256
from tests.redis.helpers import Closing, eventually


@pytest.fixture
async def closing():
    async with Closing() as stack:
        yield stack


def passes(service: JWTService, token: str) -> bool:
    try:
        return bool(service.verify(token))
    except InvalidToken as error:
        if "revoked" not in error.reason:
            raise
        return False


async def test_one_token_by_its_jti(clock):
    revocations = Revocations(clock=clock)
    service = hs256(revocations=revocations, clock=clock)
    one, other = service.sign({"sub": "ada"}), service.sign({"sub": "ada"})
    assert passes(service, one)
    assert passes(service, other)
    await revocations.revoke_token(service.verify(one))
    assert not passes(service, one)  # although it was remembered
    assert passes(service, other)
    with pytest.raises(ConfigurationError):
        await revocations.revoke_token({"sub": "ada"})


async def test_a_subject_until_now(clock):
    revocations = Revocations(clock=clock)
    service = hs256(revocations=revocations, clock=clock)
    before, bob = service.sign({"sub": "ada"}), service.sign({"sub": "bob"})
    clock.advance(0.001)
    await revocations.revoke_subject("ada")
    clock.advance(0.001)
    after = service.sign({"sub": "ada"})  # in the same second
    assert [passes(service, each) for each in (before, bob, after)] == [False, True, True]


async def test_whole_seconds_are_taken_for_issued_before(clock):
    """Of others' tokens: which half of the second cannot be told."""
    clock.step(0.5)
    revocations = Revocations(clock=clock)
    service = hs256(revocations=revocations, clock=clock)
    await revocations.revoke_subject("ada")
    second = int(clock.time())
    claims = {"sub": "ada", "exp": second + 60}
    clock.advance(1)
    assert not passes(service, forge({"alg": "HS256"}, {**claims, "iat": second}))
    assert passes(service, forge({"alg": "HS256"}, {**claims, "iat": second + 1}))
    assert not passes(service, forge({"alg": "HS256"}, claims))  # does not say when


async def test_a_family_for_good(clock):
    revocations = Revocations(clock=clock)
    service = hs256(revocations=revocations, clock=clock)
    await revocations.revoke_family("f1")
    clock.advance(5)
    assert not passes(service, service.sign({"sid": "f1"}))
    assert passes(service, service.sign({"sid": "f2", "sub": "f1", "jti": "f1"}))


async def test_tokens_that_outlive_their_revocation_are_refused(clock):
    service = hs256(revocations=Revocations(lifetime=1000, clock=clock), clock=clock)
    service.verify(service.sign({"exp": clock.time() + 1000}))
    with pytest.raises(ConfigurationError, match="lives longer"):
        service.sign({"exp": clock.time() + 1001})
    with pytest.raises(InvalidToken, match="lives longer"):
        service.verify(hs256(clock=clock).sign({"exp": clock.time() + 1001}))
    with pytest.raises(ConfigurationError, match="lifetime"):
        hs256(expires_in=1001, revocations=Revocations(lifetime=1000))


def test_the_list_forgets_what_has_expired():
    folded = RevocationList()
    for number in range(5000):
        folded.apply(number, message([revocation("jti", str(number), at=number, until=number + 100)]))
    assert len(folded) < 2 * 1024
    assert folded.revokes({"jti": "4999"})
    assert folded.revokes({"jti": "4950"})
    copy = RevocationList()
    copy.reset(1, 1, folded.snapshot())
    assert copy.revokes({"jti": "4950"})
    assert not copy.revokes({"jti": "x"})
    for damaged in (b"", b"\x02x", b"\x01", b"\x01\xc1"):
        copy.apply(2, damaged)
    assert copy.revokes({"jti": "4950"})


async def test_known_in_every_process_within_no_round_trip(redis_url, closing):
    one, other = closing(Revocations(redis_url)), closing(Revocations(redis_url))
    services = [hs256(revocations=each) for each in (one, other)]
    for each in services:
        await each.start()
    token = services[0].sign({"sub": "ada"})
    await asyncio.sleep(0)
    assert all([await each.authenticate(token) for each in services])
    await one.revoke_token(services[0].decode_unverified(token))
    assert not passes(services[0], token)
    await eventually(lambda: not passes(services[1], token))
    late = closing(Revocations(redis_url))
    with pytest.raises(InvalidToken, match="revoked"):
        await hs256(revocations=late).authenticate(token)


async def test_in_a_cluster(redis_cluster, closing):
    one, other = closing(Revocations(redis_cluster.url)), closing(Revocations(redis_cluster.url))
    service = hs256(revocations=other)
    token = service.sign({"sub": "ada"})
    await service.authenticate(token)
    await one.revoke_token(service.decode_unverified(token))
    await eventually(lambda: not passes(service, token))


async def test_no_command_for_a_request(redis_url, redis_server, closing):
    service = hs256(revocations=closing(Revocations(redis_url)))
    token = service.sign({})
    await service.authenticate(token)
    before = redis_server.execute("INFO", "commandstats")
    for _ in range(200):
        await service.authenticate(token)
    after = redis_server.execute("INFO", "commandstats")
    assert calls_of(after) - calls_of(before) < 20


def calls_of(stats) -> int:
    return sum(command["calls"] for command in stats.values())


async def test_the_last_known_list_counts_for_a_while_and_then_503(redis_url, redis_server, closing, clock):
    redis = closing(Redis(redis_url, clock=clock))
    revocations = closing(Revocations(redis, outage=60))
    service = hs256(revocations=revocations)
    await service.start()  # from here on Redis says what time it is
    good, bad = service.sign({"sub": "ada", "exp": revocations.now() + 5000}), service.sign({"sub": "bob"})
    await service.authenticate(good)
    await revocations.revoke_token(service.decode_unverified(bad))
    redis_server.pause()
    try:
        clock.advance(59)
        assert await service.authenticate(good)
        assert not passes(service, bad)
        clock.advance(2)
        with pytest.raises(RevocationsUnavailable) as caught:
            await service.authenticate(good)
        assert caught.value.status_code == 503
        with pytest.raises(Unavailable):
            await revocations.revoke_subject("ada")
    finally:
        redis_server.resume()
    clock.advance(2)

    async def answered() -> bool:
        try:
            return bool(await service.authenticate(good))
        except Unavailable:
            clock.advance(2)
            return False

    async with asyncio.timeout(20):
        while not await answered():
            await asyncio.sleep(0.01)
    assert not passes(service, bad)


async def test_before_anything_was_heard_nobody_gets_in(closing):
    service = hs256(revocations=closing(Revocations("redis://127.0.0.1:1")))
    with pytest.raises(RevocationsUnavailable):
        await service.authenticate(service.sign({}))
    with pytest.raises(RevocationsUnavailable):
        service.verify(service.sign({}))
    await service.start()


async def test_a_log_that_was_lost_gets_back_what_is_known(redis_url, redis_server, closing):
    one = closing(Revocations(redis_url))
    service = hs256(revocations=one)
    token, other = service.sign({"sub": "ada"}), service.sign({"sub": "bob"})
    await service.authenticate(other)
    await one.revoke_token(service.decode_unverified(token))
    redis_server.execute("FLUSHALL")
    await one.catch_up()
    assert not passes(service, token)
    assert passes(service, other)
    late = hs256(revocations=closing(Revocations(redis_url)))
    await late.start()
    await eventually(lambda: not passes(late, token))


async def test_a_redis_that_evicts_is_refused(redis_url, redis_server):
    redis_server.execute("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    try:
        revocations = Revocations(redis_url)
        with pytest.raises(ConfigurationError, match="volatile-lru"):
            await revocations.start()
        await revocations.aclose()
        careless = Revocations(redis_url, eviction_may_forget_revocations=True)
        await careless.start()
        await careless.revoke_subject("ada")
        await careless.aclose()
    finally:
        redis_server.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.parametrize(
    ("argument", "options"),
    [("lifetime", {"lifetime": 0}), ("outage", {"outage": 1}), ("outage", {"outage": "x"})],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        Revocations(**options)
    assert caught.value.argument == argument
