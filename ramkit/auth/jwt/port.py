"""What is asked of those who verify, and of those who keep refresh tokens."""

from collections.abc import Awaitable
from typing import Any, Literal, NamedTuple, Protocol

__all__ = ["Family", "RefreshStore", "Use", "Verifier"]


class Verifier(Protocol):
    """Says whether a token counts. One that has ``start`` and ``aclose`` is opened and closed with the
    lifespan."""

    def authenticate(self, token: str) -> Awaitable[dict[str, Any]]:
        """The claims, a dict of the caller's own. Raises ``InvalidToken``, or ``Unavailable`` when it cannot
        be known."""
        ...


class Family(NamedTuple):
    """What a family of refresh tokens was begun with; ``created`` and ``ends``: milliseconds of the store's
    time."""

    subject: str
    data: bytes
    created: int
    ends: int


class Use(NamedTuple):
    """What became of a token that was presented.

    ``outcome``: rotated, and the successor is the current one; repeated, and ``nonce`` is the one that its
    successor was made with; reused, and the family is gone; unknown. ``family`` of the first two.
    """

    outcome: Literal["rotated", "repeated", "reused", "unknown"]
    nonce: bytes = b""
    family: Family | None = None


class RefreshStore(Protocol):
    """Keeps families of refresh tokens, by hashes. Time is the store's own, the same for all who use it.

    A family lives until ``idle`` seconds after its last rotation and at most until its absolute end.
    Everything raises ``Unavailable`` when the server does not answer.
    """

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
        """Begin a family with the hash of its first token; both lifetimes in seconds. It counts as begun
        ``age`` seconds ago."""
        ...

    async def use(
        self, family: str, token: bytes, successor: bytes, nonce: bytes, *, idle: float, grace: float
    ) -> Use:
        """In one step, so that of concurrent uses one rotates.

        The current token: it is replaced by ``successor``. One that was replaced at most ``grace`` seconds
        ago: repeated, whoever comes first. Any other: reused, and the family is gone. (Who knows a family's
        key has held a token of it.) A family that was begun before its subject was cut off is unknown.
        """
        ...

    async def known(self, family: str) -> bool:
        """Whether there is such a family."""
        ...

    async def drop(self, family: str) -> None:
        """No token of this family counts any more, for good."""
        ...

    async def cut(self, subject: str, *, absolute: float) -> None:
        """No family that this subject has now counts any more; ``absolute``: seconds, the longest that one
        lives."""
        ...

    async def start(self) -> None:
        """Look at the server; raises ``ConfigurationError`` for one that may forget. Never needed."""
        ...

    async def aclose(self) -> None:
        """Close what this store opened. Usable again afterwards."""
        ...
