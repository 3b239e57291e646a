"""What the room tells its observers."""

from dataclasses import dataclass
from typing import ClassVar

from ramkit.kernel.observers import Event

__all__ = ["JWKSFetch", "RefreshUse", "TokenDecision"]


@dataclass(frozen=True, slots=True)
class TokenDecision(Event):
    """A request was let in or not. ``result``: accepted, missing, malformed, invalid, scope or
    unavailable."""

    metric: ClassVar[str] = "auth_tokens_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("result",)
    help: ClassVar[str] = "Requests by what became of their bearer token."

    result: str


@dataclass(frozen=True, slots=True)
class JWKSFetch(Event):
    """An issuer was asked for its keys. ``result``: fetched, unchanged or failed; ``keys``: how many are
    used, ``skipped``: how many of the document are not."""

    metric: ClassVar[str] = "auth_jwks_fetches_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("url", "result")
    help: ClassVar[str] = "Fetches of key sets by how they went."

    url: str
    result: str
    keys: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class RefreshUse(Event):
    """A refresh token was presented. ``result``: rotated, repeated (within the grace window), reused or
    unknown."""

    metric: ClassVar[str] = "auth_refreshes_total"
    kind: ClassVar = "counter"
    labels: ClassVar[tuple[str, ...]] = ("result",)
    help: ClassVar[str] = "Refresh tokens presented, by what became of them."

    result: str
