"""What every store of sessions owes them: each sentence of ``ramkit.auth.sessions.port`` as a test.

    class TestMine(SessionStoreContract):
        def make(self):
            return MyStore("mine://localhost")

        async def elapse(self, seconds): ...

The tests are coroutines: they need pytest-asyncio in auto mode, or a mark on the class
(``pytest.mark.asyncio``). Needs the extra ``auth``.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Any

from ramkit.auth.sessions.core.record import NOBODY, Change, Fields, size_of
from ramkit.auth.sessions.policy import Lifetime
from ramkit.auth.sessions.port import SessionStore
from ramkit.kernel.errors import Unavailable

__all__ = ["HangingSessionStoreContract", "SessionStoreContract"]

#: Seconds within which what hangs has to be found out.
BOUND = 15.0
MOST = 65_536
LIFE = Lifetime(100, 1000)
_SOMEBODY = bytes(range(32))


def sets(**fields: bytes) -> Change:
    """A change that sets these."""
    return Change(fields, ())


class SessionStoreContract:
    """Subclass it, name the subclass ``Test…``, and give `make` and `elapse`."""

    def make(self) -> SessionStore:
        """A store. Called once a test."""
        raise NotImplementedError

    async def elapse(self, seconds: float) -> None:
        """Let time pass for the store."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[SessionStore, None]:
        """A store that is closed in the end."""
        store = self.make()
        try:
            yield store
        finally:
            close: Any = getattr(store, "aclose", None)
            if close is not None:
                await close()

    async def test_what_was_created_is_read(self) -> None:
        async with self.opened() as store:
            key, fields = token_bytes(32), {"a": b"\x01", "ü" * 40: b"\xc5\x01\x2c" + bytes(300), "": b"\xc0"}
            assert await store.read(key) is None
            assert (await store.create(key, _SOMEBODY, Change(fields, ()), LIFE, MOST)).what == "stored"
            record = await store.read(key)
            assert record is not None
            assert (record.subject, record.fields) == (_SOMEBODY, fields)
            assert record.ends - record.created == LIFE.absolute
            assert record.seen == record.created
            assert abs(store.now() - record.created) < BOUND

    async def test_changes_of_different_keys_both_stay(self) -> None:
        async with self.opened() as store:
            key = token_bytes(32)
            await store.create(key, NOBODY, sets(a=b"\x01", b=b"\x02", c=b"\x03", d=b"\x04"), LIFE, MOST)
            await asyncio.gather(
                store.change(key, NOBODY, Change({"a": b"\x0a", "e": b"\x05"}, ("b",)), LIFE, MOST),
                store.change(key, NOBODY, Change({"c": b"\x1e"}, ("gone",)), LIFE, MOST),
            )
            assert await self._fields(store, key) == {"a": b"\x0a", "c": b"\x1e", "d": b"\x04", "e": b"\x05"}

    async def test_of_changes_of_one_key_the_last_counts(self) -> None:
        async with self.opened() as store:
            key = token_bytes(32)
            await store.create(key, NOBODY, sets(a=b"\x01", b=b"\x02"), LIFE, MOST)
            for change in (Change({}, ("a",)), sets(a=b"\xa5again"), sets(b=b"\x03"), Change({}, ("b",))):
                assert (await store.change(key, NOBODY, change, LIFE, MOST)).what == "stored"
            assert await self._fields(store, key) == {"a": b"\xa5again"}

    async def test_nothing_left_is_the_end(self) -> None:
        async with self.opened() as store:
            key = token_bytes(32)
            await store.create(key, _SOMEBODY, sets(a=b"\x01"), LIFE, MOST)
            assert (await store.change(key, _SOMEBODY, Change({}, ("a",)), LIFE, MOST)).what == "ended"
            assert await store.read(key) is None
            assert await store.listed(_SOMEBODY) == []

    async def test_a_change_makes_no_session(self) -> None:
        async with self.opened() as store:
            key = token_bytes(32)
            for _ in range(2):
                assert (await store.change(key, _SOMEBODY, sets(a=b"\x01"), LIFE, MOST)).what == "gone"
                assert (await store.change(key, _SOMEBODY, Change({}, ()), LIFE, MOST)).what == "gone"
                assert await store.read(key) is None
                await store.take(key)
            assert await store.listed(_SOMEBODY) == []

    async def test_what_is_too_large_stays_as_it_was(self) -> None:
        async with self.opened() as store:
            key, fields = token_bytes(32), {"a": b"\xa512345"}
            most = size_of(fields)
            assert await store.create(key, NOBODY, Change(fields, ()), LIFE, most - 1) == ("large", most)
            assert await store.read(key) is None
            assert (await store.create(key, NOBODY, Change(fields, ()), LIFE, most)).what == "stored"
            assert await store.change(key, NOBODY, sets(a=b"\xa6123456"), LIFE, most) == ("large", most + 1)
            assert await self._fields(store, key) == fields
            assert (await store.change(key, NOBODY, sets(a=b"\xa554321"), LIFE, most)).what == "stored"

    async def test_idle_and_absolute_lifetime(self) -> None:
        async with self.opened() as store:
            key, idle = token_bytes(32), token_bytes(32)
            await store.create(key, _SOMEBODY, sets(a=b"\x01"), LIFE, MOST)
            await store.create(idle, _SOMEBODY, sets(a=b"\x01"), LIFE, MOST)
            for _ in range(12):
                await self.elapse(80)
                await store.change(key, _SOMEBODY, Change({}, ()), LIFE, MOST)
            assert await store.read(idle) is None
            record = await store.read(key)
            assert record is not None
            assert record.seen - record.created > 900
            await self.elapse(80)  # 1040 seconds after its beginning
            assert await store.read(key) is None
            assert (await store.change(key, _SOMEBODY, sets(a=b"\x02"), LIFE, MOST)).what == "gone"

    async def test_replacing(self) -> None:
        async with self.opened() as store:
            old, new = token_bytes(32), token_bytes(32)
            await store.create(old, NOBODY, sets(a=b"\x01", b=b"\x02"), LIFE, MOST)
            await store.change(old, NOBODY, sets(c=b"\xa9meanwhile"), LIFE, MOST)
            change = Change({"a": b"\x0a"}, ("b",))
            assert (await store.create(new, _SOMEBODY, change, LIFE, MOST, replacing=old)).what == "stored"
            assert await store.read(old) is None
            assert await self._fields(store, new) == {"a": b"\x0a", "c": b"\xa9meanwhile"}
            again = await store.create(token_bytes(32), _SOMEBODY, change, LIFE, MOST, replacing=old)
            assert again.what == "gone"
            assert await store.listed(_SOMEBODY) == [new]

    async def test_one_of_many_replaces(self) -> None:
        async with self.opened() as store:
            old, new = token_bytes(32), [token_bytes(32) for _ in range(8)]
            await store.create(old, NOBODY, sets(a=b"\x01"), LIFE, MOST)
            made = await asyncio.gather(
                *(store.create(key, _SOMEBODY, sets(b=b"\x02"), LIFE, MOST, replacing=old) for key in new)
            )
            assert sorted(each.what for each in made) == ["gone"] * 7 + ["stored"]
            assert [await store.read(key) is not None for key in new].count(True) == 1

    async def test_taking(self) -> None:
        async with self.opened() as store:
            key = token_bytes(32)
            await store.create(key, _SOMEBODY, sets(a=b"\x01"), LIFE, MOST)
            assert await store.listed(_SOMEBODY) == [key]
            taken = await store.take(key)
            assert taken is not None
            assert taken.fields == {"a": b"\x01"}
            assert await store.take(key) is None
            assert await store.read(key) is None
            assert await store.listed(_SOMEBODY) == []
            assert (await store.change(key, _SOMEBODY, sets(a=b"\x02"), LIFE, MOST)).what == "gone"

    async def test_listed_are_a_subjects_own_and_do_not_pile_up(self) -> None:
        async with self.opened() as store:
            keys = [token_bytes(32) for _ in range(3)]
            for key in keys:
                await store.create(key, _SOMEBODY, sets(a=b"\x01"), LIFE, MOST)
            await store.create(token_bytes(32), bytes(reversed(range(32))), sets(a=b"\x01"), LIFE, MOST)
            assert sorted(await store.listed(_SOMEBODY)) == sorted(keys)
            await self.elapse(90)
            await store.change(keys[0], _SOMEBODY, Change({}, ()), LIFE, MOST)
            await self.elapse(90)
            alive = [key for key in await store.listed(_SOMEBODY) if await store.read(key) is not None]
            assert alive == keys[:1]
            last = token_bytes(32)
            await store.create(last, _SOMEBODY, sets(a=b"\x01"), LIFE, MOST)
            assert sorted(await store.listed(_SOMEBODY)) == sorted([keys[0], last])

    async def _fields(self, store: SessionStore, key: bytes) -> Fields | None:
        record = await store.read(key)
        return None if record is None else record.fields


class HangingSessionStoreContract(SessionStoreContract):
    """As ``SessionStoreContract``, for a server that can be made to hang."""

    def pause(self) -> None:
        """Make the server hang: connections stay, nothing answers."""
        raise NotImplementedError

    def resume(self) -> None:
        """Let the server answer again."""
        raise NotImplementedError

    async def test_a_server_that_hangs_is_unavailable(self) -> None:
        async with self.opened() as store:
            key = token_bytes(32)
            await store.create(key, NOBODY, sets(a=b"\x01"), LIFE, MOST)
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: store.read(key),
                lambda: store.create(token_bytes(32), NOBODY, sets(a=b"\x01"), LIFE, MOST),
                lambda: store.change(key, NOBODY, sets(a=b"\x01"), LIFE, MOST),
                lambda: store.take(token_bytes(32)),
                lambda: store.listed(_SOMEBODY),
            ]
            self.pause()
            try:
                for number, call in enumerate(calls):
                    try:
                        await asyncio.wait_for(call(), BOUND)
                    except Unavailable:
                        continue
                    raise AssertionError(f"call {number} came through while the server hung")
            finally:
                self.resume()
