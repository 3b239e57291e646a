"""Refresh tokens that change with every use, so that a stolen one is found out (RFC 9700 §4.14.2)."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ramkit.auth.jwt.backends.memory import MemoryRefreshStore
from ramkit.auth.jwt.core.refreshing import RefreshToken, new_nonce, new_token, read_token
from ramkit.auth.jwt.errors import InvalidRefreshToken
from ramkit.auth.jwt.events import RefreshUse
from ramkit.auth.jwt.policy import check_seconds
from ramkit.auth.jwt.port import RefreshStore
from ramkit.auth.jwt.revocation import Revocations
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.observers import Observer, notify, observers_of

__all__ = ["RefreshGrant", "RefreshTokens"]

_log = logging.getLogger("ramkit")
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class RefreshGrant:
    """``token``: for the client; ``family``: the name of the login, for the claim ``sid``; ``subject`` and
    ``data`` as they were given to ``issue``."""

    token: str
    family: str
    subject: str
    data: dict[str, Any]


class RefreshTokens:
    """Opaque tokens of 256 bits, kept as hashes, of which each is good for one use.

    ``store``: ``memory://`` for one process, a Redis URL or client, or a ``RefreshStore``. ``idle``: seconds
    from one use to the next at most; ``absolute``: seconds from the login. ``grace``: seconds in which a
    token that was just replaced gets the same successor again, because clients send requests at once and lose
    responses. Used later it was stolen, or its successor was: then the family dies, and with ``revocations``
    its access tokens, too.
    """

    def __init__(
        self,
        store: Any = "memory://",
        *,
        idle: float = 14 * _DAY,
        absolute: float = 90 * _DAY,
        grace: float = 10,
        revocations: Revocations | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self.idle, self._absolute = check_seconds("idle", idle), check_seconds("absolute", absolute)
        if idle > absolute:
            raise ConfigurationError("idle", "longer than absolute")
        self._grace = check_seconds("grace", grace, zero=True)
        self._revocations, self._observers = revocations, observers_of(observers)
        self._store: RefreshStore = _store_of(store)

    async def issue(
        self, subject: str, data: Mapping[str, Any] | None = None, *, age: float = 0
    ) -> RefreshGrant:
        """The first token of a new family: a login. ``data`` (JSON) is kept with the family. ``age``: seconds
        since the login was asked for; ``revoke_subject`` ends those, too, that were under way. Raises
        ``Unavailable``."""
        token = new_token()
        await self._store.create(
            token.family,
            token.hash,
            subject,
            msgspec.json.encode(data or {}),
            idle=self.idle,
            absolute=self._absolute,
            age=age,
        )
        return RefreshGrant(token.text, token.family, subject, dict(data or {}))

    async def refresh(self, token: str) -> RefreshGrant:
        """The token's successor. Raises ``InvalidRefreshToken``, or ``Unavailable``, after which the same
        token may be presented again within the grace period."""
        read = read_token(token)
        if read is None:
            raise self._refused("unknown")
        nonce = new_nonce()
        used = await self._store.use(
            read.family, read.hash, read.successor(nonce).hash, nonce, idle=self.idle, grace=self._grace
        )
        if used.family is None:
            if used.outcome == "reused":
                await self._kill(read)
            raise self._refused(used.outcome)
        self._tell(used.outcome)
        data: dict[str, Any] = msgspec.json.decode(used.family.data)
        return RefreshGrant(read.successor(used.nonce).text, read.family, used.family.subject, data)

    async def revoke(self, token: str) -> None:
        """Log out: the token's family is dead, and with revocations its access tokens. A token that is none
        is nothing to log out, and so is one that was made up. Raises ``Unavailable``."""
        read = read_token(token)
        if read is not None and await self._store.known(read.family):
            await self.revoke_family(read.family)

    async def revoke_family(self, family: str) -> None:
        """Log out by the family's name. Raises ``Unavailable``."""
        if self._revocations is not None:  # first: who has to try again finds the family still there
            await self._revocations.revoke_family(family)
        await self._store.drop(family)

    async def revoke_subject(self, subject: str) -> None:
        """Log out everywhere: every family of this subject, and with revocations every access token until
        now. Raises ``Unavailable``."""
        await self._store.cut(subject, absolute=self._absolute)
        if self._revocations is not None:
            await self._revocations.revoke_subject(subject)

    async def start(self) -> None:
        """Look at the server; raises ``ConfigurationError`` for one that evicts."""
        await self._store.start()

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _kill(self, token: RefreshToken) -> None:
        _log.warning("a refresh token of family %s was used again: the family is dead", token.family)
        if self._revocations is not None:
            try:
                await self._revocations.revoke_family(token.family)
            except Unavailable as error:
                _log.error("access tokens of family %s count until they expire: %s", token.family, error)

    def _refused(self, outcome: str) -> InvalidRefreshToken:
        self._tell(outcome)
        return InvalidRefreshToken(reused=outcome == "reused")

    def _tell(self, outcome: str) -> None:
        if self._observers:
            notify(self._observers, RefreshUse(outcome))


def _store_of(store: Any) -> RefreshStore:
    if store == "memory://":
        return MemoryRefreshStore()
    if hasattr(store, "use") and hasattr(store, "cut"):
        return store  # type: ignore[no-any-return]  # a RefreshStore by its methods
    from ramkit.auth.jwt.backends.redis import RedisRefreshStore

    return RedisRefreshStore(store)
