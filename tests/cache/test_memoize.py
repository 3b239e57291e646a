"""cache.memoize."""

import asyncio
import uuid

import msgspec
import pytest

from ramkit.cache import Cache
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.clock import ManualClock


class City(msgspec.Struct):
    name: str
    population: int | None = None


async def test_values_come_back_as_annotated_and_none_is_a_value():
    cache, calls = Cache(), []

    @cache.memoize(ttl=60)
    async def city(number: int) -> City | None:
        calls.append(number)
        return City("Ulm", 5) if number else None

    assert await city(1) == await city(1) == await city(number=1) == City("Ulm", 5)
    assert await city(1) is not await city(1)
    assert await city(0) is await city(0) is None
    assert calls == [1, 0]


async def test_ttl_groups_and_purge():
    clock = ManualClock()
    cache, calls = Cache(clock=clock), []

    @cache.memoize(ttl=10, groups=lambda number: [f"n:{number}"])
    async def square(number: int) -> int:
        calls.append(number)
        return number * number

    for _ in range(2):
        await square(2)
        await square(3)
    await cache.purge_groups("n:2")
    await square(2)
    await square(3)
    assert calls == [2, 3, 2]
    await square.purge(number=3)
    await square(3)
    clock.advance(10)
    await square(2)
    assert calls == [2, 3, 2, 3, 2]


async def test_concurrent_calls_run_once_and_errors_reach_everyone():
    cache, calls, gate = Cache(), [], asyncio.Event()

    @cache.memoize(ttl=10)
    async def load(key: str) -> str:
        calls.append(key)
        await gate.wait()
        if key == "bad":
            raise LookupError(key)
        return key

    good = [asyncio.create_task(load("good")) for _ in range(32)]
    bad = [asyncio.create_task(load("bad")) for _ in range(4)]
    for _ in range(10):
        await asyncio.sleep(0)
    gate.set()
    assert set(await asyncio.gather(*good)) == {"good"}
    assert {type(result) for result in await asyncio.gather(*bad, return_exceptions=True)} == {LookupError}
    assert calls.count("good") == 1


async def test_stale_windows():
    clock = ManualClock()
    cache, calls, broken = Cache(clock=clock), [], False

    @cache.memoize(ttl=10, stale_while_revalidate=10, stale_if_error=100)
    async def number() -> int:
        calls.append(1)
        if broken:
            raise OSError("broken")
        return len(calls)

    assert await number() == 1
    clock.advance(15)
    assert await number() == 1
    await asyncio.sleep(0)
    while len(calls) < 2 or cache.flights._flying:
        await asyncio.sleep(0)
    assert await number() == 2
    broken = True
    clock.advance(25)
    assert await number() == 2
    clock.advance(200)
    with pytest.raises(OSError, match="broken"):
        await number()


async def test_methods_and_keys():
    cache, calls = Cache(), []

    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.memoize(ttl=10, key=lambda self, item: f"{self.name}:{item}")
        async def price(self, item: str, /) -> int:
            calls.append((self.name, item))
            return len(calls)

        @cache.memoize(ttl=10)
        async def keyless(self) -> int:
            return 1

    assert [await Shop("a").price("x"), await Shop("a").price("x"), await Shop("b").price("x")] == [1, 1, 2]
    with pytest.raises(TypeError, match=r"keyless.*key=…"):
        await Shop("a").keyless()


async def test_arguments_that_look_alike_do_not_collide():
    cache = Cache()

    @cache.memoize(ttl=10)
    async def kind(value: object) -> str:
        return type(value).__name__

    assert [await kind(value) for value in (1, True, "1", b"1", 1.5, None)] == [
        "int",
        "bool",
        "str",
        "bytes",
        "float",
        "NoneType",
    ]


async def test_a_value_of_another_shape_is_rendered_anew(redis_url):
    """Two versions of a program on one Redis."""

    class Old(msgspec.Struct):
        a: int = 1

    class New(msgspec.Struct, forbid_unknown_fields=True):
        b: int = 2

    for kind in (Old, New):
        cache = Cache(redis_url)

        @cache.memoize(ttl=10)
        async def load() -> kind:
            return kind()  # noqa: B023  # called within the round

        assert await load() == await load() == kind()
        await cache.aclose()


async def test_types_that_encode_alike_do_not_collide():
    cache = Cache()

    class User(msgspec.Struct):
        id: int

    class Service(msgspec.Struct):
        id: int

        @cache.memoize(ttl=10)
        async def page(self) -> str:
            return type(self).__name__

    class Admin(Service):
        pass

    @cache.memoize(ttl=10)
    async def kind(value: object) -> str:
        return type(value).__name__

    number = uuid.uuid4()
    values = [User(1), Service(1), {"id": 1}, [1], (1,), number, str(number), [number], [str(number)]]
    assert [await kind(value) for value in values] == [type(value).__name__ for value in values]
    assert [await Service(1).page(), await Admin(1).page()] == ["Service", "Admin"]
    await Admin(1).page.purge()


def test_closures_of_one_name_need_keys():
    cache = Cache()

    def make(tenant):
        @cache.memoize(ttl=10)
        async def page() -> str:
            return tenant

        return page

    make("a")
    with pytest.raises(ConfigurationError, match="^key:"):
        make("b")


async def test_groups_are_a_collection():
    cache, calls = Cache(), []

    @cache.memoize(ttl=10, groups=lambda number: f"city:{number}")
    async def city(number: int) -> int:
        calls.append(number)
        return number

    with pytest.raises(ConfigurationError, match="^groups:"):
        await city(1)
    assert calls == []


def test_only_async_functions():
    with pytest.raises(ConfigurationError, match="async"):
        Cache().memoize(ttl=1)(len)
