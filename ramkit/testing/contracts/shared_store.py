"""What a store owes the cache when several processes share it: each ``make`` is a process.

    class TestMine(HangingStoreContract):
        def make(self):
            return MyStore("mine://localhost")

        async def damage(self, key, data): ...
        def pause(self): ...
        def resume(self): ...

``SharedStoreContract`` is the same without a server that hangs.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from ramkit.cache.core.entry import encode
from ramkit.cache.core.purging import Verdict, message, slot
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.log import Log
from ramkit.testing.contracts.store import (
    BOUND,
    Opened,
    Recorder,
    StoreContract,
    body_of,
    eventually,
    make_entry,
)

__all__ = ["HangingStoreContract", "SharedStoreContract"]


class SharedStoreContract(StoreContract):
    """Stores that `make` gives see each other's entries, purges and leases."""

    async def damage(self, key: bytes, data: bytes) -> None:
        """Put ``data`` in the place of the bytes that the server has of an entry."""
        raise NotImplementedError

    async def test_another_store_has_what_this_one_set(self) -> None:
        async with self.opened() as one, self.opened() as other:
            await one.store.set(b"key", make_entry(one.log, b"1"), 60)
            assert await body_of(other.store) == b"1"
            await other.store.set(b"key", make_entry(other.log, b"2"), 60)
            assert await body_of(one.store) == b"2"

    async def test_damaged_bytes_are_a_miss(self) -> None:
        async with self.opened() as one, self.opened() as other:
            entry = make_entry(one.log)
            whole = encode(entry)
            other_version, not_ours = b"\xff" + whole[1:], whole[:1] + b"\xc1" + whole[2:]
            for data in (b"", b"\x00", whole[:-1], whole[:5], other_version, not_ours):
                await one.store.set(b"key", entry, 60)
                await self.damage(b"key", data)
                assert await other.store.get(b"key") is None

    async def test_a_purge_is_seen_by_the_other_store(self) -> None:
        async with self.opened() as one, self.opened() as other:
            assert one.log.incarnation == other.log.incarnation
            entry = make_entry(one.log, slots=(slot("g:a"),))
            assert other.fold.table.judge(entry) is Verdict.VALID
            place = await one.log.append(message(["g:a"]))
            await other.log.catch_up()
            assert (other.log.incarnation, other.log.epoch) == place
            assert other.fold.messages[-1] == one.fold.messages[-1]
            assert other.fold.table.judge(entry) is Verdict.GONE

    async def test_who_follows_hears_without_asking(self) -> None:
        async with self.opened() as one, self.opened() as other:
            _, epoch = await one.log.append(b"heard")

            async def heard() -> bool:
                return other.log.epoch >= epoch

            assert await eventually(heard)
            assert other.fold.messages[-1] == (epoch, b"heard")

    async def test_all_stores_fold_the_same_in_the_same_order(self) -> None:
        async with self.opened() as one, self.opened() as other:
            both = (one, other)
            await asyncio.gather(*(both[number % 2].log.append(b"%d" % number) for number in range(40)))
            await asyncio.gather(one.log.catch_up(), other.log.catch_up())
            assert one.fold.messages[-40:] == other.fold.messages[-40:]

    async def test_who_comes_later_knows_of_earlier_purges(self) -> None:
        async with self.opened() as one:
            entry = make_entry(one.log, slots=(slot("g:a"),))
            await one.log.append(message(["g:a"]))
            kept = make_entry(one.log, slots=(slot("g:a"),))
            async with self.opened() as late:
                assert late.fold.table.judge(entry) is Verdict.GONE
                assert late.fold.table.judge(kept) is Verdict.VALID

    async def test_a_lease_has_one_holder(self) -> None:
        async with self.opened() as one, self.opened() as other:
            lease = await one.leases.acquire(b"k" * 64)
            assert lease is not None
            assert await other.leases.acquire(b"k" * 64) is None
            elsewhere = await other.leases.acquire(b"l" * 64)
            assert elsewhere is not None
            await lease.release()
            mine = await other.leases.acquire(b"k" * 64)
            assert mine is not None
            await lease.release()  # too late to be anything but nothing
            assert await one.leases.acquire(b"k" * 64) is None
            await mine.release()
            await elsewhere.release()

    async def test_release_wakes_who_waits(self) -> None:
        async with self.opened() as one, self.opened() as other:
            lease = await one.leases.acquire(b"key")
            assert lease is not None
            waiters = [asyncio.ensure_future(each.leases.released(b"key", 3600)) for each in (one, other)]
            await other.leases.released(b"key", 0.01)  # for its timeout: it is held
            assert not any(waiter.done() for waiter in waiters)
            await lease.release()
            await asyncio.wait_for(asyncio.gather(*waiters), BOUND)

    async def test_a_holder_that_is_gone_loses_its_lease(self) -> None:
        async with self.opened() as other:
            async with self.opened() as one:
                assert await one.leases.acquire(b"key") is not None
            await asyncio.wait_for(other.leases.released(b"key", 3600), BOUND)
            assert await other.leases.acquire(b"key") is not None


class HangingStoreContract(SharedStoreContract):
    """As ``SharedStoreContract``, and the server can be made to hang."""

    def pause(self) -> None:
        """Make the server hang: connections stay, nothing answers."""
        raise NotImplementedError

    def resume(self) -> None:
        """Let the server answer again."""
        raise NotImplementedError

    async def test_a_server_that_hangs_is_unavailable(self) -> None:
        async with self.opened() as one:
            await one.store.set(b"key", make_entry(one.log), 60)
            lease = await one.leases.acquire(b"mine")
            assert lease is not None
            peeked = one.store.peek(b"key")
            self.pause()
            try:
                await self._all_unavailable(one)
                assert one.store.peek(b"key") is peeked
                await asyncio.wait_for(lease.release(), BOUND)
                async with self._unread() as log:
                    await asyncio.wait_for(log.start(), BOUND)
                    assert not log.current()
            finally:
                self.resume()
            assert await eventually(lambda: self._answers(one))

    async def _all_unavailable(self, one: Opened) -> None:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: one.store.get(b"key"),
            lambda: one.store.set(b"other", make_entry(one.log), 60),
            lambda: one.log.append(b""),
            one.log.catch_up,
            lambda: one.leases.acquire(b"other"),
        ]
        for call in calls:
            try:
                await asyncio.wait_for(call(), BOUND)
            except Unavailable:
                continue
            raise AssertionError(f"call {calls.index(call)} came through while the server hung")

    @asynccontextmanager
    async def _unread(self) -> AsyncGenerator[Log, None]:
        store = self.make()
        try:
            yield store.log(Recorder())
        finally:
            await store.aclose()

    async def _answers(self, one: Opened) -> bool:
        try:
            await one.log.append(b"again")
            return await one.store.get(b"key") is not None
        except Unavailable:
            return False
