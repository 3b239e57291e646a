import asyncio
import threading

import argon2
import bcrypt
import pytest

from ramkit.auth import passwords as module
from ramkit.auth.passwords import PasswordRejected, PasswordsBusy, PasswordService
from ramkit.kernel.errors import ConfigurationError

CHEAP = {"time_cost": 1, "memory_cost": 64, "lanes": 1}


@pytest.fixture
async def service():
    made = PasswordService(**CHEAP)
    yield made
    await made.aclose()


async def test_a_password_is_verified_by_its_hash(service):
    known = await service.hash("correct horse")
    assert known.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert known != await service.hash("correct horse")
    assert await service.verify(known, "correct horse")
    assert not await service.verify(known, "correct horsf")
    assert not await service.verify(known, "")
    unicode = await service.hash("pässwörd ☃")
    assert await service.verify(unicode, "pässwörd ☃")


def test_the_defaults_are_those_of_rfc_9106():
    hasher = PasswordService()._hasher
    assert (hasher.time_cost, hasher.memory_cost, hasher.parallelism) == (3, 65_536, 4)
    assert hasher.type is argon2.Type.ID


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
async def test_bcrypt_hashes_count_and_want_to_be_replaced(service, prefix):
    known = bcrypt.hashpw(b"from before", bcrypt.gensalt(4)).decode().replace("$2b$", f"${prefix}$")
    assert await service.verify(known, "from before")
    assert not await service.verify(known, "from after")
    assert service.needs_rehash(known)
    assert not service.needs_rehash(await service.hash("from before"))


async def test_bcrypt_never_saw_more_than_72_bytes(service):
    known = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert await service.verify(known, "x" * 80)
    assert not await service.verify(known, "x" * 71)
    ours = await service.hash("x" * 80)
    assert not await service.verify(ours, "x" * 72)


async def test_other_parameters_want_a_new_hash(service):
    for other in ({"time_cost": 2}, {"memory_cost": 128}, {"lanes": 2}):
        known = argon2.PasswordHasher(
            other.get("time_cost", 1), other.get("memory_cost", 64), other.get("lanes", 1)
        ).hash("password")
        assert service.needs_rehash(known)
        assert await service.verify(known, "password")
    assert service.needs_rehash(argon2.PasswordHasher(1, 64, 1, type=argon2.Type.I).hash("password"))


@pytest.mark.parametrize("known", ["", "plain", "$2b$04$short", "$argon2id$v=19$m=8", "$2b$99$" + "." * 53])
async def test_an_unreadable_hash_is_nobodys(service, known):
    assert not await service.verify(known, "plain")
    assert service.needs_rehash(known)


async def test_an_unknown_user_costs_the_same_work(service, monkeypatch):
    worked = []
    verify = argon2.PasswordHasher.verify

    def counted(self, known, password):
        worked.append(argon2.extract_parameters(known))
        return verify(self, known, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    known = await service.hash("password")
    assert not await service.verify(known, "wrong password")
    for nobody in (None, "plain"):
        assert not await service.verify(nobody, "wrong password")
    assert worked == worked[:1] * 3


async def test_bounds_of_length(service):
    for short in ("", "1234567"):
        with pytest.raises(PasswordRejected, match="at least 8 characters"):
            await service.hash(short)
    for long in ("x" * 1025, "ü" * 513, "\ud800" * 8):
        with pytest.raises(PasswordRejected, match="at most 1024 bytes") as raised:
            await service.hash(long)
        assert raised.value.status_code == 422
        assert not await service.verify(None, long)
    assert await service.verify(await service.hash("x" * 1024), "x" * 1024)


async def test_so_many_at_a_time_and_no_more_wait(monkeypatch):
    service = PasswordService(**CHEAP, parallel=2, waiting=3)
    lock, most, now, go = threading.Lock(), 0, 0, threading.Event()

    def slow(self, known, password):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        go.wait(30)
        with lock:
            now -= 1
        return False

    monkeypatch.setattr(argon2.PasswordHasher, "verify", slow)
    under_way = [asyncio.ensure_future(service.verify(None, "password")) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(PasswordsBusy) as raised:
        await service.verify(None, "password")
    assert (raised.value.status_code, raised.value.headers) == (503, {"retry-after": "1"})
    # The loop turned all the while: this test goes on, and the threads still wait for it.
    assert not any(each.done() for each in under_way)
    under_way[0].cancel()
    go.set()
    await asyncio.gather(*under_way, return_exceptions=True)
    assert most == 2
    assert not await service.verify(None, "password")
    await service.aclose()


async def test_it_works_again_after_it_was_closed(service):
    known = await service.hash("password")
    await service.aclose()
    await service.aclose()
    assert await service.verify(known, "password")


def test_mistakes_are_named():
    for arguments in (
        {"time_cost": 0},
        {"memory_cost": 7, "lanes": 1},
        {"lanes": 0},
        {"parallel": 0},
        {"waiting": -1},
        {"min_length": 0},
        {"max_bytes": 5},
    ):
        with pytest.raises(ConfigurationError, match=next(iter(arguments))):
            PasswordService(**arguments)
    assert module.__all__


async def test_who_waits_while_it_closes_is_told(monkeypatch):
    service, go = PasswordService(**CHEAP, parallel=1), threading.Event()
    monkeypatch.setattr(argon2.PasswordHasher, "verify", lambda *_: go.wait(30))
    under_way, waiting = (asyncio.ensure_future(service.verify("", "password")) for _ in range(2))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(service.aclose())
    with pytest.raises(PasswordsBusy):
        await waiting
    go.set()
    await closing
    assert await under_way


async def test_who_leaves_makes_no_room_for_another_before_the_thread_is_done(monkeypatch):
    service, go = PasswordService(**CHEAP, parallel=1, waiting=0), threading.Event()
    began = threading.Event()

    def slow(*_):
        began.set()
        return go.wait(30)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", slow)
    leaving = asyncio.ensure_future(service.verify("", "password"))
    await asyncio.to_thread(began.wait, 30)
    leaving.cancel()
    await asyncio.wait([leaving])
    with pytest.raises(PasswordsBusy):
        await service.verify("", "password")
    go.set()
    await service.aclose()
    assert leaving.cancelled()
    assert await service.verify("", "password")
    await service.aclose()
