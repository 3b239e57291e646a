"""Limits that all processes share, on Redis' own clock."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from ramkit.kernel.clock import Clock
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.observers import Observer
from ramkit.limits.core import Charge, admits
from ramkit.redis import Redis, Script, refuse_eviction

__all__ = ["RedisStore"]

_TAKE = Script.load("scripts/take.lua", vector=True, several=True)
_GIVE = Script.load("scripts/give.lua", vector=True)

_Part: TypeAlias = "tuple[Sequence[Charge], Awaitable[Sequence[int]]]"


class RedisStore:
    """One string for each key, which expires when it is idle; the charges of all requests of a turn of
    the loop are decided by one script.

    ``server``: a URL, a ``redis.asyncio`` client or cluster client (yours: it stays open), or a
    ``ramkit.redis.Redis`` that others use, too (then ``deadline``, ``clock`` and ``observers`` are its own).
    ``prefix`` begins all keys. ``deadline``: seconds that a Redis that hangs costs, once a cool-down. A
    Redis that evicts keys gives whoever floods it their quota back, so ``start``, which an app's lifespan
    calls, refuses it with a ``ConfigurationError``, unless ``eviction_may_forget_limits``.

    On a cluster the keys of one group may live on different nodes. Those of one hash tag are decided
    together; if some refuse, what others were charged is given back before ``take`` returns. Until then
    others may be refused what they would have got; nobody gets more.
    """

    def __init__(
        self,
        server: Any,
        *,
        prefix: str = "rk:",
        deadline: float = 0.1,
        eviction_may_forget_limits: bool = False,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._own = not isinstance(server, Redis)
        timing: dict[str, Any] = {} if clock is None else {"clock": clock}
        self.redis: Redis = (
            Redis(server, deadline=deadline, observers=observers, **timing) if self._own else server
        )
        self._prefix = prefix.encode()
        self._checked = eviction_may_forget_limits

    async def start(self) -> None:
        """Refuse a Redis that may forget limits; one that does not answer is not waited for."""
        if not self._checked:
            with suppress(Unavailable):
                unless = "eviction_may_forget_limits"
                await refuse_eviction(self.redis, "limits", argument="store", unless=unless)
                self._checked = True

    def take(self, charges: Sequence[Charge]) -> Awaitable[Sequence[int]]:
        if self.redis.clustered and len(charges) > 1:
            parts = [(part, self._take(part)) for part in _by_tag(charges)]
            # also when the caller is cancelled: what is under way may have to be given back
            return asyncio.shield(self._joined(charges, parts)) if len(parts) > 1 else parts[0][1]
        return self._take(charges)

    async def aclose(self) -> None:
        if self._own:
            await self.redis.aclose()

    def _take(self, charges: Sequence[Charge]) -> Awaitable[Sequence[int]]:
        prefix, args = self._prefix, [b"%d" % len(charges)]
        for _, increment, limit in charges:
            args += (b"%d" % increment, b"%d" % limit)
        return self.redis.run(_TAKE, [prefix + charge.key for charge in charges], args)

    async def _joined(self, charges: Sequence[Charge], asked: "Sequence[_Part]") -> Sequence[int]:
        replies = await asyncio.gather(*(reply for _, reply in asked), return_exceptions=True)
        backlogs: dict[bytes, int] = {}
        charged: list[Charge] = []
        for (part, _), found in zip(asked, replies, strict=True):
            if not isinstance(found, BaseException):
                backlogs |= zip((charge.key for charge in part), found, strict=True)
                if all(map(admits, found, part)):
                    charged += part
        given: Sequence[object] = ()
        if len(charged) < len(charges):
            giving = [self.redis.run(_GIVE, [self._prefix + key], [inc]) for key, inc, _ in charged if inc]
            given = await asyncio.gather(*giving, return_exceptions=True)
        for reply in (*replies, *given):
            if isinstance(reply, BaseException):
                raise reply
        return [backlogs[charge.key] for charge in charges]


def _by_tag(charges: Sequence[Charge]) -> Iterable[Sequence[Charge]]:
    """By what is in braces, which decides about the slot."""
    tags: dict[bytes, list[Charge]] = {}
    for charge in charges:
        tags.setdefault(charge.key.partition(b"{")[2].partition(b"}")[0], []).append(charge)
    return tags.values()
