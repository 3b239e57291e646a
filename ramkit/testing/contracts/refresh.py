"""What every store of refresh tokens owes: each sentence of ``ramkit.auth.jwt.port.RefreshStore`` as a test.

    class TestMine(RefreshStoreContract):
        def make(self):
            return MyStore("mine://localhost")

        async def elapse(self, seconds): ...

The tests are coroutines: they need pytest-asyncio in auto mode, or a mark on the class
(``pytest.mark.asyncio``). Needs the extra ``auth``.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

from ramkit.auth.jwt.errors import InvalidRefreshToken
from ramkit.auth.jwt.port import RefreshStore
from ramkit.auth.jwt.refresh import RefreshTokens

__all__ = ["RefreshStoreContract"]

#: seconds
IDLE, ABSOLUTE, GRACE = 3600.0, 36_000.0, 1200.0


class RefreshStoreContract:
    """Subclass it, name the subclass ``Test…``, and give `make` and `elapse`."""

    def make(self) -> RefreshStore:
        """A store of the same families each time, not used yet."""
        raise NotImplementedError

    async def elapse(self, seconds: float) -> None:
        """Let the store's time pass for all families."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[RefreshTokens]:
        """Tokens over a store of `make`."""
        tokens = RefreshTokens(self.make(), idle=IDLE, absolute=ABSOLUTE, grace=GRACE)
        await tokens.start()
        try:
            yield tokens
        finally:
            await tokens.aclose()

    async def test_each_use_gives_a_successor(self) -> None:
        async with self.opened() as tokens:
            first = await tokens.issue("ada", {"scope": "a b"})
            second = await tokens.refresh(first.token)
            third = await tokens.refresh(second.token)
            assert len({first.token, second.token, third.token}) == 3
            assert first.family == second.family == third.family
            assert (third.subject, third.data) == ("ada", {"scope": "a b"})

    async def test_a_hundred_at_once_get_one_successor(self) -> None:
        async with self.opened() as tokens:
            first = await tokens.issue("ada")
            grants = await asyncio.gather(*(tokens.refresh(first.token) for _ in range(100)))
            assert len({each.token for each in grants}) == 1
            assert grants[0].token != first.token
            current = await tokens.refresh(grants[0].token)  # the family is alive
            await self.elapse(GRACE + 60)
            await self.dies(tokens, first.token, current.token)

    async def test_late_repeats_do_not_kill_who_went_on(self) -> None:
        async with self.opened() as tokens:
            chain = [(await tokens.issue("ada")).token]
            for _ in range(5):
                chain.append((await tokens.refresh(chain[-1])).token)
            for old, successor in pairwise(chain):
                assert (await tokens.refresh(old)).token == successor
            assert (await tokens.refresh(chain[-1])).token not in chain

    async def test_an_old_token_kills_the_family(self) -> None:
        async with self.opened() as tokens:
            first = await tokens.issue("ada")
            second = await tokens.refresh(first.token)
            await self.elapse(GRACE + 60)
            await self.dies(tokens, first.token, second.token)
            other = await tokens.issue("ada")
            await tokens.refresh(other.token)

    async def test_what_was_made_up_kills_nothing(self) -> None:
        async with self.opened() as tokens:
            first = await tokens.issue("ada")
            for made_up in (
                "",
                "x",
                "A" * 64,
                "A" * 21 + first.token[21:],
                first.token + "A",
                first.token[:-1],
            ):
                await self.refused(tokens, made_up, reused=False)
            await tokens.refresh(first.token)

    async def test_idle_and_absolute_lifetime(self) -> None:
        async with self.opened() as tokens:
            idle = await tokens.issue("ada")
            await self.elapse(IDLE + 60)
            await self.refused(tokens, idle.token, reused=False)
            token = (await tokens.issue("ada")).token
            for _ in range(13):
                await self.elapse(2700)
                token = (await tokens.refresh(token)).token
            await self.elapse(1000)
            await self.refused(tokens, token, reused=False)

    async def test_a_family_that_was_logged_out_stays_dead(self) -> None:
        async with self.opened() as tokens:
            first = await tokens.issue("ada")
            racing = [tokens.refresh(first.token) for _ in range(10)]
            results = await asyncio.gather(*racing, tokens.revoke(first.token), return_exceptions=True)
            await tokens.revoke(first.token)
            for each in results:
                token = first.token if isinstance(each, BaseException) or each is None else each.token
                await self.refused(tokens, token, reused=False)

    async def test_a_subject_is_cut_off(self) -> None:
        async with self.opened() as one, self.opened() as other:
            tokens = [await one.issue("ada"), await other.issue("ada")]
            bob = await one.issue("bob")
            await self.elapse(1)
            await other.revoke_subject("ada")
            for each in tokens:
                await self.refused(one, each.token, reused=False)
            await one.refresh(bob.token)
            await self.elapse(1)
            await one.refresh((await one.issue("ada")).token)

    async def test_a_login_that_was_under_way_is_cut_off(self) -> None:
        async with self.opened() as one, self.opened() as other:
            await other.revoke_subject("ada")
            late = await one.issue("ada", age=10)
            await self.refused(one, late.token, reused=False)
            await self.elapse(1)
            await one.refresh((await one.issue("ada")).token)

    async def test_which_families_there_are(self) -> None:
        async with self.opened() as tokens:
            store = self.make()
            first = await tokens.issue("ada")
            assert await store.known(first.family)
            assert not await store.known("0" * 32)
            await tokens.refresh(first.token)
            await tokens.revoke(first.token)
            assert not await store.known(first.family)

    async def dies(self, tokens: RefreshTokens, old: str, current: str) -> None:
        """An old token is presented: that is noticed, and the current one is dead, too."""
        await self.refused(tokens, old, reused=True)
        await self.refused(tokens, current, reused=False)
        await self.refused(tokens, old, reused=False)

    async def refused(self, tokens: RefreshTokens, token: str, *, reused: bool) -> None:
        """Not refreshed, and for that reason."""
        (seen,) = await asyncio.gather(tokens.refresh(token), return_exceptions=True)
        assert isinstance(seen, InvalidRefreshToken), f"{seen!r} instead of a refusal"
        assert seen.reused is reused, f"reused is {seen.reused}"
