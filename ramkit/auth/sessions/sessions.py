"""The sessions of a store, by their subjects: listed, and ended from outside."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ramkit.auth.sessions.core.ids import is_handle, subject_hash
from ramkit.auth.sessions.port import SessionStore
from ramkit.kernel.clock import Clock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.observers import Observer

__all__ = ["SessionInfo", "Sessions", "store_of"]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session that is alive. Times are in seconds since the epoch, by the store's clock.

    ``handle`` is what ``revoke`` takes, and ``request.session.handle`` of the session itself: no secret, but
    nobody else's business. ``seen``: its last activity, to within ``extend_after``.
    """

    handle: str
    created: float
    seen: float
    ends: float


class Sessions:
    """What is in a store: ``of(subject)``, ``revoke(handle)``, ``revoke_all(subject)``.

    ``store`` as SessionMiddleware takes it, which also takes this object. A subject is what the sessions'
    ``user`` was set to (or what the middleware's ``subject`` gives): a string, a number, or anything that
    msgspec encodes, compared by that.
    """

    def __init__(
        self,
        store: "str | SessionStore",
        *,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
        eviction_may_end_sessions: bool = False,
    ) -> None:
        self.store = store_of(
            store, clock=clock, observers=observers, eviction_may_end_sessions=eviction_may_end_sessions
        )

    async def of(self, subject: Any) -> list[SessionInfo]:
        """A subject's sessions, the oldest first. Raises ``Unavailable``."""
        who = subject_hash(subject)
        found: list[SessionInfo] = []
        for key in await self.store.listed(who):
            record = await self.store.read(key)
            if record is not None and record.subject == who:
                found.append(SessionInfo(key.hex(), record.created, record.seen, record.ends))
        return sorted(found, key=lambda each: each.created)

    async def revoke(self, handle: str) -> bool:
        """End one session; whether there was one. Raises ``Unavailable`` when that is not certain."""
        return is_handle(handle) and await self.store.take(bytes.fromhex(handle)) is not None

    async def revoke_all(self, subject: Any, *, keep: str | None = None) -> int:
        """Log out everywhere: end a subject's sessions, those too that are just being made from them; how
        many were alive. ``keep``: the handle of one that stays. Raises ``Unavailable`` when it is not certain
        that all ended."""
        ended = 0
        for key in await self.store.listed(subject_hash(subject)):
            if key.hex() != keep:
                ended += await self.store.take(key) is not None
        return ended

    async def start(self) -> None:
        """Open the store, and refuse one that may lose sessions. Implied by its first use."""
        start = getattr(self.store, "start", None)
        if start is not None:
            await start()

    async def aclose(self) -> None:
        """Close what was opened here; never a store of yours."""
        close = getattr(self.store, "aclose", None)
        if close is not None:
            await close()


def store_of(
    store: Any, *, clock: Clock | None, observers: Iterable[Observer], eviction_may_end_sessions: bool
) -> SessionStore:
    """A store from what the user names."""
    if store == "memory://":
        from ramkit.auth.sessions.backends.memory import MemorySessionStore

        return MemorySessionStore(clock=clock)
    if isinstance(store, str):
        if not store.startswith(("redis", "valkey", "unix:")):
            raise ConfigurationError("store", f"{store!r} is neither memory:// nor a Redis URL")
        from ramkit.auth.sessions.backends.redis import RedisSessionStore

        return RedisSessionStore(
            store, clock=clock, observers=observers, eviction_may_end_sessions=eviction_may_end_sessions
        )
    for method in ("read", "create", "change", "take", "listed", "now"):
        if not callable(getattr(store, method, None)):
            raise ConfigurationError("store", f"{store!r} is no store of sessions: it has no {method}()")
    kept: SessionStore = store
    return kept
