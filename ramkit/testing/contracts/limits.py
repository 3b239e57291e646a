"""What every store of limits owes: each sentence of ``ramkit.limits.port.LimitStore`` as a test.

    class TestMine(LimitStoreContract):
        def make(self):
            return MyStore("mine://localhost")

The tests are coroutines: they need pytest-asyncio in auto mode, or a mark on the class
(``pytest.mark.asyncio``). Needs the extra ``limits``.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from ramkit.limits.core import Charge
from ramkit.limits.port import LimitStore

__all__ = ["LimitStoreContract"]

#: µs; in units of an hour nothing is earned while a test runs
_HOUR = 3_600_000_000
#: seconds
_BOUND = 20


def _charge(key: str, units: int = 1, quota: int = 3, tag: str = "t") -> Charge:
    return Charge(b"l:{%s}:%s" % (tag.encode(), key.encode()), units * _HOUR, quota * _HOUR)


def _units(backlogs: Sequence[int]) -> list[int]:
    """Less than one is earned meanwhile."""
    return [round(backlog / _HOUR) for backlog in backlogs]


class LimitStoreContract:
    """Subclass it, name the subclass ``Test…``, and give `make`."""

    def make(self) -> LimitStore:
        """A store of the same keys each time, empty when the test begins."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[LimitStore]:
        """A store of `make`."""
        store = self.make()
        try:
            yield store
        finally:
            await store.aclose()

    async def test_charges_until_the_limit_and_not_beyond(self) -> None:
        async with self.opened() as store:
            found = [_units(await store.take([_charge("a")])) for _ in range(5)]
            assert found == [[0], [1], [2], [3], [3]]
            assert _units(await store.take([_charge("b", 2)])) == [0]
            assert _units(await store.take([_charge("b", 2)])) == [2], "4 of 3 are refused whole"
            assert _units(await store.take([_charge("b")])) == [2]
            assert _units(await store.take([_charge("b")])) == [3]

    async def test_nothing_is_taken_by_looking(self) -> None:
        async with self.opened() as store:
            assert [_units(await store.take([_charge("a", 0)])) for _ in range(3)] == [[0]] * 3

    async def test_charges_of_one_call_are_all_or_nothing(self) -> None:
        for tags in ("ttt", "tuv"):  # in one slot of a cluster, and in several
            async with self.opened() as store:
                named = list(zip(("a" + tags, "b" + tags, "c" + tags), (5, 2, 9), tags, strict=True))
                group = [_charge(name, 1, quota, tag) for name, quota, tag in named]
                found = [_units(await store.take(group)) for _ in range(4)]
                assert found == [[0] * 3, [1] * 3, [2] * 3, [2] * 3]
                looks = [_charge(name, 0, 9, tag) for name, _, tag in named]
                assert _units(await store.take(looks)) == [2, 2, 2]

    async def test_calls_are_decided_for_themselves(self) -> None:
        async with self.opened() as store:
            groups = [[_charge("a", 4)], [_charge("b", 1, tag="u"), _charge("c", 1, tag="v")]]
            for before in (0, 1):
                found = await asyncio.gather(*map(store.take, groups))
                assert list(map(_units, found)) == [[0], [before] * 2]

    async def test_calls_at_one_time_see_each_other(self) -> None:
        async with self.opened() as store:
            groups = [[_charge("a", 1, 5)] for _ in range(8)]
            groups += [[_charge("b", 1, 5), _charge("a", 1, 5)]] * 2
            found = await asyncio.gather(*map(store.take, groups))
            assert sorted(_units(each)[0] for each in found[:8]) == [0, 1, 2, 3, 4, 5, 5, 5]
            assert _units(await store.take([_charge("b", 0)])) == [0]

    async def test_a_backlog_is_never_more_than_the_limit_it_is_asked_with(self) -> None:
        async with self.opened() as store:
            await store.take([_charge("a", 9, 9)])
            assert _units(await store.take([_charge("a", 1, 3)])) == [3]

    async def test_it_is_earned_again(self) -> None:
        quick = Charge(b"l:{q}:q", 1000, 1000)
        async with self.opened() as store, asyncio.timeout(_BOUND):
            backlogs = await store.take([quick])
            assert list(backlogs) == [0]
            backlogs = await store.take([quick])
            while backlogs[0]:  # admitted when the millisecond is over
                await asyncio.sleep(0)
                backlogs = await store.take([quick])
