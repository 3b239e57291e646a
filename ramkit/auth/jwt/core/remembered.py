"""Tokens that were verified, until they expire: what makes the second verification cost microseconds."""

from typing import Any, Final, cast

__all__ = ["OVERHEAD", "Remembered", "Verified", "own"]

#: Bytes that a token's place takes beside its text and its claims, which count as three times as long.
OVERHEAD: Final = 1000


class Verified:
    """Claims that were good from ``begins`` until ``ends`` (Unix time) under the keys of ``version``."""

    __slots__ = ("begins", "claims", "ends", "folded", "nested", "version")

    def __init__(self, claims: dict[str, Any], begins: float, ends: float, version: int) -> None:
        self.claims, self.begins, self.ends, self.version = claims, begins, ends, version
        #: the state of the revocations at which it was not among them; they are looked at when that changes
        self.folded = -1
        self.nested = tuple(name for name, value in claims.items() if isinstance(value, list | dict))

    def copy(self) -> dict[str, Any]:
        """The claims, the caller's own down to the last list."""
        claims = self.claims.copy()
        for name in self.nested:
            claims[name] = own(claims[name])
        return claims


class Remembered:
    """At most ``max_bytes`` of them; the oldest leave. Only what was good is kept, so what others send along
    drives nothing out."""

    __slots__ = ("_size", "_tokens", "get", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self._size = max_bytes, 0
        self._tokens: dict[str, Verified] = {}
        self.get = self._tokens.get

    def __len__(self) -> int:
        return len(self._tokens)

    def put(self, token: str, verified: Verified) -> None:
        size = 4 * len(token) + OVERHEAD
        if size > self.max_bytes:
            return
        self.drop(token)
        while self._size + size > self.max_bytes:
            self.drop(next(iter(self._tokens)))
        self._tokens[token] = verified
        self._size += size

    def drop(self, token: str) -> None:
        if self._tokens.pop(token, None) is not None:
            self._size -= 4 * len(token) + OVERHEAD


def own(value: Any) -> Any:
    """A copy of a JSON value that shares nothing with it that could change."""
    if isinstance(value, list):
        return [own(each) for each in cast(list[object], value)]
    if isinstance(value, dict):
        return {name: own(each) for name, each in cast(dict[str, Any], value).items()}
    return value
