"""What every store of the cache owes it: each sentence of ``ramkit.cache.port`` as a test.

One that several processes share owes more: ``shared_store``.

    class TestMine(StoreContract):
        def make(self):
            return MyStore("mine://localhost")

The tests are coroutines: they need pytest-asyncio in auto mode, or a mark on the class
(``pytest.mark.asyncio``). Needs the extra ``cache``.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from ramkit.cache.core.entry import BY_RULE, SHARED, Entry, encode
from ramkit.cache.core.purging import PurgeTable
from ramkit.cache.port import Leases, Store
from ramkit.kernel.log import Log

__all__ = ["BOUND", "Opened", "Recorder", "StoreContract", "body_of", "eventually", "make_entry"]

#: Seconds after which what should have happened is taken not to happen.
BOUND = 15.0


async def eventually(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether the condition came true within the bound."""
    end = time.monotonic() + BOUND
    while not await condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.005)
    return True


def make_entry(log: Log, body: bytes = b"body", **fields: Any) -> Entry:
    """An entry that is valid now, and fresh for a minute."""
    now = log.now()
    lives: dict[str, Any] = dict.fromkeys(("fresh_until", "revalidate_until", "error_until"), now + 60)
    given: dict[str, Any] = {"slots": (), "subject": "/", "stored": now, "status": 200, **lives, **fields}
    return Entry(log.incarnation, log.epoch, body=body, **given)


async def body_of(store: Store, key: bytes = b"key") -> bytes | None:
    """What the store gives for a key."""
    found = await store.get(key)
    return found.body if found is not None else None


class Recorder:
    """A fold that keeps what it is told, beside a purge table that understands it."""

    def __init__(self) -> None:
        self.table = PurgeTable()
        self.resets: list[tuple[int, int]] = []
        self.messages: list[tuple[int, bytes]] = []

    def reset(self, incarnation: int, epoch: int, snapshot: bytes | None) -> None:
        self.resets.append((incarnation, epoch))
        self.table.reset(incarnation, epoch, snapshot)

    def apply(self, epoch: int, message: bytes) -> None:
        assert self.resets, "a message came before the log's beginning"
        self.messages.append((epoch, message))
        self.table.apply(epoch, message)

    def snapshot(self) -> bytes:
        return self.table.snapshot()


@dataclass
class Opened:
    """A store as one process has it."""

    store: Store
    log: Log
    fold: Recorder
    leases: Leases


class StoreContract:
    """Subclass it, name the subclass ``Test…``, and give `make`; the rest as it applies.

    ``too_large``: bytes of a body with which an entry is certainly not kept.
    Fixtures that `make` needs can be taken by an autouse fixture method that puts them on ``self``.
    """

    too_large: ClassVar[int] = 16 * 2**20

    def make(self) -> Store:
        """A store, not used yet, with a deadline below a second."""
        raise NotImplementedError

    async def elapse(self, seconds: float) -> None:
        """Let time pass where the store's clock is injected; otherwise it passes by itself."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Opened, None]:
        """A store of `make`, started, its log read; closed afterwards."""
        store, fold = self.make(), Recorder()
        log = store.log(fold)
        try:
            await log.start()
            await log.catch_up()
            yield Opened(store, log, fold, store.leases())
        finally:
            await store.aclose()

    # -- entries ------------------------------------------------------------------------------------

    async def test_what_was_not_set_is_not_there(self) -> None:
        async with self.opened() as one:
            assert await one.store.get(b"nothing") is None
            assert one.store.peek(b"nothing") is None

    async def test_everything_comes_back_as_it_was(self) -> None:
        async with self.opened() as one:
            headers = [(b"set-cookie", b"b=2"), (b"x", b"\xff\x00"), (b"set-cookie", b"a=1"), (b"empty", b"")]
            entry = make_entry(
                one.log, bytes(range(256)) * 40, slots=(0, 65_535, 7), subject="/straße/%2F\n", age=1.5,
                refresh_at=0.25, flags=SHARED | BY_RULE, headers=headers,
            )  # fmt: skip
            await one.store.set(b"key", entry, 60)
            found = await one.store.get(b"key")
            assert found is not None
            assert encode(found) == encode(entry)
            assert found.headers == headers
            assert found.slots == (0, 65_535, 7)

    async def test_an_empty_body_is_a_body(self) -> None:
        async with self.opened() as one:
            await one.store.set(b"key", make_entry(one.log, b"", subject=""), 60)
            found = await one.store.get(b"key")
            assert found is not None
            assert found.body == b""

    async def test_set_replaces(self) -> None:
        async with self.opened() as one:
            for body in (b"first", b"second, which is longer", b"3rd"):
                await one.store.set(b"key", make_entry(one.log, body), 60)
                found = await one.store.get(b"key")
                assert found is not None
                assert found.body == body

    async def test_keys_of_64_bytes_do_not_meet(self) -> None:
        async with self.opened() as one:
            keys = [b"k" * 64, b"k" * 63, b"{k}" * 21 + b"k", b"\x00" * 64, b"\xff" * 64, b"a:b", b"a:b:"]
            for key in keys:
                await one.store.set(key, make_entry(one.log, key), 60)
            found = await asyncio.gather(*(one.store.get(key) for key in keys))
            assert [entry.body for entry in found if entry is not None] == keys

    async def test_an_entry_is_gone_after_its_ttl(self) -> None:
        async with self.opened() as one:
            await one.store.set(b"short", make_entry(one.log, fresh_until=one.log.now() + 0.05), 0.05)
            await one.store.set(b"tiny", make_entry(one.log), 1e-9)
            await one.store.set(b"long", make_entry(one.log), 10**12)
            await self.elapse(0.05)
            for key in (b"short", b"tiny"):
                assert await eventually(lambda key=key: self._is_gone(one.store, key))  # type: ignore[misc]  # the key of this turn
            assert await one.store.get(b"long") is not None

    async def _is_gone(self, store: Store, key: bytes) -> bool:
        return await store.get(key) is None

    async def test_a_new_ttl_replaces_the_old_one(self) -> None:
        async with self.opened() as one:
            await one.store.set(b"key", make_entry(one.log), 0.05)
            await one.store.set(b"key", make_entry(one.log), 60)
            await one.store.set(b"other", make_entry(one.log), 0.05)
            await self.elapse(0.05)
            assert await eventually(lambda: self._is_gone(one.store, b"other"))
            assert await one.store.get(b"key") is not None

    async def test_what_is_too_large_is_not_kept_nor_what_was_there(self) -> None:
        async with self.opened() as one:
            await one.store.set(b"key", make_entry(one.log, b"small"), 60)
            await one.store.set(b"key", make_entry(one.log, bytes(self.too_large)), 60)
            assert await one.store.get(b"key") is None
            assert one.store.peek(b"key") is None

    async def test_peek_gives_the_same_object_each_time(self) -> None:
        async with self.opened() as one:
            await one.store.set(b"key", make_entry(one.log), 60)
            got = await one.store.get(b"key")
            first = one.store.peek(b"key")
            assert first is one.store.peek(b"key")
            if first is not None:
                assert first is got
                assert await one.store.get(b"key") is first

    # -- the log ------------------------------------------------------------------------------------

    async def test_a_message_is_folded_when_append_returns(self) -> None:
        async with self.opened() as one:
            incarnation, epoch = await one.log.append(b"first")
            assert one.fold.messages[-1] == (epoch, b"first")
            assert (incarnation, epoch) == (one.log.incarnation, one.log.epoch)
            assert incarnation != 0
            again, later = await one.log.append(b"second")
            assert one.fold.messages[-2:] == [(epoch, b"first"), (later, b"second")]
            assert later > epoch
            assert again == incarnation
            assert one.fold.resets[-1][0] == incarnation

    async def test_messages_are_folded_once_and_in_order(self) -> None:
        async with self.opened() as one:
            bodies = [b"%d" % number for number in range(50)]
            places = await asyncio.gather(*(one.log.append(body) for body in bodies))
            epochs = [epoch for _, epoch in places]
            assert len(set(epochs)) == 50
            folded = [epoch for epoch, _ in one.fold.messages]
            assert folded == sorted(set(folded))
            assert dict(one.fold.messages) == dict(zip(epochs, bodies, strict=True))

    async def test_after_catching_up_it_is_current(self) -> None:
        async with self.opened() as one:
            await one.log.catch_up()
            assert one.log.current()
            assert one.log.incarnation != 0

    async def test_time_does_not_go_back(self) -> None:
        async with self.opened() as one:
            before = one.log.now()
            await one.log.append(b"")
            await self.elapse(1.0)
            assert one.log.now() >= before

    # -- leases -------------------------------------------------------------------------------------

    async def test_a_lease_given_up_can_be_had_again(self) -> None:
        async with self.opened() as one:
            for _ in range(3):
                lease = await one.leases.acquire(b"key")
                assert lease is not None
                await lease.release()
                await lease.release()

    async def test_waiting_for_what_nobody_holds_ends(self) -> None:
        async with self.opened() as one:
            await asyncio.wait_for(one.leases.released(b"free", 3600), BOUND)

    # -- closing --------------------------------------------------------------------------------------

    async def test_closed_it_can_be_used_again(self) -> None:
        async with self.opened() as one:
            for body in (b"1", b"2", b"3"):
                await one.store.set(b"key", make_entry(one.log, body), 60)
                assert await body_of(one.store) == body
                place = await one.log.append(body)
                assert one.fold.messages[-1] == (place[1], body)
                await one.store.aclose()
                await one.store.aclose()
