"""Revocations that every process knows of, without asking anybody for each request."""

from collections.abc import Mapping
from typing import Any

from ramkit.auth.jwt.core.remembered import Verified
from ramkit.auth.jwt.core.revoking import Kind, RevocationList, message, revocation
from ramkit.auth.jwt.errors import InvalidToken, RevocationsUnavailable
from ramkit.auth.jwt.policy import check_seconds
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.lifespan import LoopBound
from ramkit.kernel.log import LocalLog

__all__ = ["Revocations"]

#: Seconds without news after which a process no longer counts as up to date (a parameter of the log).
_BOUND = 2.0
_UNKNOWN = "What was revoked is not known at the moment."


class Revocations(LoopBound):
    """A list of revoked tokens, subjects and families, followed by a log.

    ``server``: ``memory://`` for one process; a Redis URL, a ``redis.asyncio`` client or a
    ``ramkit.redis.Redis`` for many. ``lifetime``: seconds, the longest that any token lives; a service with
    these revocations refuses longer ones, since it could not know of their revocation to the end. ``outage``:
    seconds that the last known list counts while Redis does not answer; then what it guards is a 503.
    ``name`` tells lists under one ``prefix`` apart.

    A Redis that evicts keys is refused, unless ``eviction_may_forget_revocations``.
    """

    def __init__(
        self,
        server: Any = "memory://",
        *,
        lifetime: float = 86_400,
        outage: float = 60,
        name: str = "revoked",
        prefix: str = "rk:",
        eviction_may_forget_revocations: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.lifetime = check_seconds("lifetime", lifetime)
        if check_seconds("outage", outage) < _BOUND:
            raise ConfigurationError(
                "outage", f"at least {_BOUND:g} seconds, which is how often the log is heard"
            )
        self._slack = outage - _BOUND
        self._list = RevocationList()
        self._backend: Any = None
        if server == "memory://":
            self.log: Any = LocalLog(self._list, clock if clock is not None else SystemClock())
        else:
            from ramkit.auth.jwt.backends.redis import FollowedLog

            self._backend = FollowedLog(
                server, self._list, name=name, prefix=prefix, bound=_BOUND, clock=clock,
                may_evict=eviction_may_forget_revocations,
            )  # fmt: skip
            self.log = self._backend.log
        self._monotonic = self.log.clock.monotonic

    def now(self) -> float:
        """Unix time, the same for every process on one Redis."""
        return self.log.now()  # type: ignore[no-any-return]  # two logs of one port

    async def revoke_token(self, claims: Mapping[str, Any]) -> None:
        """One token, by its ``jti``. Returns when it is in the log: every process that is up to date refuses
        it within milliseconds. Raises ``Unavailable`` when that is not confirmed, ``ConfigurationError``
        without ``jti``.
        """
        jti = claims.get("jti")
        if not isinstance(jti, str):
            raise ConfigurationError("claims", "the token has no jti")
        await self._revoke("jti", jti)

    async def revoke_subject(self, subject: str) -> None:
        """Everything that was issued to this subject until now. What is issued later counts; a token whose
        ``iat`` is in whole seconds counts from the next second on. Raises ``Unavailable``."""
        await self._revoke("sub", subject)

    async def revoke_family(self, family: str) -> None:
        """Every token with this ``sid``, also those that are yet to come. Raises ``Unavailable``."""
        await self._revoke("sid", family)

    async def _revoke(self, kind: Kind, name: str) -> None:
        await self._ready()
        now = self.now()
        # a token of a family can be issued for as long as its last refresh is under way: hence twice
        until = now + 2 * self.lifetime
        await self.log.append(message([revocation(kind, name, now, until)]))

    async def revoked(self, claims: Mapping[str, Any]) -> bool:
        """Whether these are of a token that was revoked; reads the log first where that is not known. Raises
        ``RevocationsUnavailable``."""
        try:
            self._check_known()
        except RevocationsUnavailable:
            await self.catch_up()
        return self._revokes(claims)

    # -- what the service asks --

    def check(self, verified: Verified) -> None:
        """Raises ``InvalidToken`` for a token that was revoked, ``RevocationsUnavailable`` when that is not
        known."""
        self._check_known()
        if verified.folded == self._list.version:
            return
        if self._revokes(verified.claims):
            raise InvalidToken("The token was revoked.")
        verified.folded = self._list.version

    async def catch_up(self) -> None:
        """Read the log up to now. Raises ``RevocationsUnavailable``."""
        try:
            await self._ready()
            await self.log.catch_up()
        except Unavailable as error:
            raise RevocationsUnavailable(_UNKNOWN) from error

    async def start(self) -> None:
        """Begin to follow; never raises because Redis is away. Raises ``ConfigurationError`` for one that
        evicts."""
        self.attach()
        try:
            await self.catch_up()
        except Unavailable:
            return

    async def aclose(self) -> None:
        await super().aclose()
        if self._backend is not None:
            await self._backend.aclose()

    async def _ready(self) -> None:
        if self._backend is not None:
            await self._backend.ready()

    def _check_known(self) -> None:
        moment = self._monotonic()
        if moment > self.log.until and not self.log.current() and moment > self.log.until + self._slack:
            raise RevocationsUnavailable(_UNKNOWN)

    def _revokes(self, claims: Mapping[str, Any]) -> bool:
        if self._list.orphaned:
            self._republish()
        return self._list.revokes(claims)

    def _republish(self) -> None:
        """The log was lost: what this process knows goes into the new one. Others do the same; it is one
        list."""
        self._list.orphaned = False
        try:
            self.spawn(self._append_all())
        except RuntimeError:  # no loop runs: the next one that checks on one does it
            self._list.orphaned = True

    async def _append_all(self) -> None:
        try:
            await self.log.append(self._list.snapshot())
        except Unavailable:
            self._list.orphaned = True
