"""What a backend of sessions fulfils."""

from typing import Literal, NamedTuple, Protocol

from ramkit.auth.sessions.core.record import Change, Record
from ramkit.auth.sessions.policy import Lifetime

__all__ = ["Lifetime", "Outcome", "SessionStore"]


class Outcome(NamedTuple):
    """What became of a change.

    ``stored``. ``gone``: there is no such session any more, and none was made. ``ended``: nothing was left
    of it, so it is no more. ``large``: it would have ``size`` bytes; it stays as it was (one that was to be
    replaced has ended).
    """

    what: Literal["stored", "gone", "ended", "large"]
    size: int = 0


class SessionStore(Protocol):
    """Keeps sessions by the hash of their id (32 bytes), and the hashes of a subject's sessions.

    Lifetimes are kept by the store's own clock, the same for every process. A session is gone when
    ``lifetime.idle`` seconds have passed since it was last created or changed, or ``lifetime.absolute`` since
    it was created. Every call but ``now`` and ``aclose`` raises ``Unavailable`` (ramkit.kernel.errors) when
    the server does not answer; what was to be written may or may not have been.
    """

    def now(self) -> float:
        """Seconds since the epoch by the store's clock, as far as this process knows it."""
        ...

    async def read(self, key: bytes) -> Record | None:
        """The session, None if there is none or its bytes are damaged."""
        ...

    async def create(
        self,
        key: bytes,
        subject: bytes,
        change: Change,
        lifetime: Lifetime,
        most: int,
        *,
        replacing: bytes | None = None,
    ) -> Outcome:
        """A new session of a subject (``NOBODY``: of none) that holds what the change sets.

        ``replacing``: the session that ends with this; the change is applied to what it holds in its last
        moment, and where it had ended before, nothing is made. The two are never alive at one time. A session
        is listed with its subject before it is alive, and one that ``take`` was asked for is never made.
        """
        ...

    async def change(
        self, key: bytes, subject: bytes, change: Change, lifetime: Lifetime, most: int
    ) -> Outcome:
        """Apply a change to what the session holds now, in one step, and begin its idle lifetime anew.

        The keys that the change names become what it says; all others stay as whoever wrote last has left
        them. An empty change extends the lifetime. Never makes a session. ``subject``: the session's;
        ``most``: bytes of a record.
        """
        ...

    async def take(self, key: bytes) -> Record | None:
        """End a session, in one step: what it held, None if there was none. It leaves its subject's."""
        ...

    async def listed(self, subject: bytes) -> list[bytes]:
        """The hashes of a subject's sessions; some may be of sessions that are no more, or not yet."""
        ...
