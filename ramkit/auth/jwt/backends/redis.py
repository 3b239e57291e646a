"""Refresh tokens and the log of revocations in Redis."""

from hashlib import blake2b
from typing import Any

from ramkit.auth.jwt.port import Family, Use
from ramkit.kernel.clock import Clock
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.log import Fold
from ramkit.redis import Log, Redis, Script, refuse_eviction

__all__ = ["FollowedLog", "RedisRefreshStore"]

_CREATE = Script.load("scripts/create.lua")
_USE = Script.load("scripts/use.lua")
_CUT = Script.load("scripts/cut.lua")


class _Server:
    """A client, ours or the user's, that is looked at once before anything is entrusted to it."""

    def __init__(self, server: Any, *, may_evict: bool, clock: Clock | None) -> None:
        self._own = not isinstance(server, Redis)
        timing: dict[str, Any] = {} if clock is None else {"clock": clock}
        self.redis: Redis = Redis(server, **timing) if self._own else server
        self._trusted = may_evict

    async def ready(self, what: str, *, argument: str, unless: str) -> None:
        if not self._trusted:
            await refuse_eviction(self.redis, what, argument=argument, unless=unless)
            self._trusted = True

    async def aclose(self) -> None:
        if self._own:
            await self.redis.aclose()


class FollowedLog:
    """The log of revocations, and its server."""

    def __init__(
        self,
        server: Any,
        fold: Fold,
        *,
        name: str,
        prefix: str,
        bound: float,
        may_evict: bool,
        clock: Clock | None,
    ) -> None:
        self._server = _Server(server, may_evict=may_evict, clock=clock)
        self.log = Log(self._server.redis, name, fold, prefix=prefix, bound=bound)

    async def ready(self) -> None:
        """Raises ``ConfigurationError`` for a server that evicts."""
        await self._server.ready(
            "what was revoked", argument="server", unless="eviction_may_forget_revocations"
        )

    async def aclose(self) -> None:
        await self.log.aclose()
        await self._server.aclose()


class RedisRefreshStore:
    """One hash a family, one string a subject that was cut off; each script touches one key.

    ``server``: a URL, a ``redis.asyncio`` client or a ``ramkit.redis.Redis``. A Redis that evicts is refused,
    unless ``eviction_may_log_users_out``.
    """

    def __init__(self, server: Any, *, prefix: str = "rk:", eviction_may_log_users_out: bool = False) -> None:
        self._server = _Server(server, may_evict=eviction_may_log_users_out, clock=None)
        self._redis, self._prefix = self._server.redis, f"{prefix}refresh:"

    async def create(
        self,
        family: str,
        token: bytes,
        subject: str,
        data: bytes,
        *,
        idle: float,
        absolute: float,
        age: float,
    ) -> None:
        await self.start_or_fail()
        args = (token, subject, data, _milliseconds(idle), _milliseconds(absolute), round(age * 1000))
        await self._redis.run(_CREATE, (self._key(family),), args)

    async def use(
        self, family: str, token: bytes, successor: bytes, nonce: bytes, *, idle: float, grace: float
    ) -> Use:
        await self.start_or_fail()
        args = (token, successor, nonce, _milliseconds(idle), _milliseconds(grace))
        reply: list[bytes] = await self._redis.run(_USE, (self._key(family),), args)
        outcome: Any = reply[0].decode()
        if len(reply) == 1:
            return Use(outcome)
        found = Family(reply[2].decode(), reply[3], int(reply[4]), int(reply[5]))
        cut = await self._redis.get(self._mark(found.subject))
        if cut is not None and found.created <= int(cut):
            await self.drop(family)
            return Use("unknown")
        return Use(outcome, reply[1], found)

    async def known(self, family: str) -> bool:
        return bool(await self._redis.execute(b"EXISTS", self._key(family)))

    async def drop(self, family: str) -> None:
        await self._redis.execute(b"DEL", self._key(family))

    async def cut(self, subject: str, *, absolute: float) -> None:
        await self.start_or_fail()
        await self._redis.run(_CUT, (self._mark(subject),), (_milliseconds(absolute),))

    async def start_or_fail(self) -> None:
        """``start``, where a server that is away is an error."""
        await self._server.ready("who is logged in", argument="store", unless="eviction_may_log_users_out")

    async def start(self) -> None:
        try:
            await self.start_or_fail()
        except Unavailable:
            return

    async def aclose(self) -> None:
        await self._server.aclose()

    def _key(self, family: str) -> bytes:
        return f"{self._prefix}{{{family}}}".encode()

    def _mark(self, subject: str) -> bytes:
        digest = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{self._prefix}cut:{{{digest}}}".encode()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
