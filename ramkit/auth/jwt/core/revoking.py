"""Revocations by the log: messages, and the list that every process folds them into.

A message names tokens by ``jti``, subjects with everything that was issued to them until a moment, and
families (the claim ``sid``), which are dead for good. It carries digests, nothing in clear. An entry is kept
until the last token that it could be about has expired.
"""

import logging
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import msgspec

__all__ = ["Kind", "Revocation", "RevocationList", "message", "revocation"]

_log = logging.getLogger("ramkit")

Kind = Literal["jti", "sub", "sid"]
_VERSION: Final = b"\x01"
#: entries before it is worth looking for those that have expired
_SWEEP: Final = 1024


class Revocation(NamedTuple):
    """``digest`` of a kind and a name; ``at``: what was issued until then is revoked; ``until``: when no such
    token is left. Both Unix time."""

    digest: bytes
    at: float
    until: float


_encoder = msgspec.msgpack.Encoder()
_decoder: Any = msgspec.msgpack.Decoder(list[Revocation])


def revocation(kind: Kind, name: str, at: float, until: float) -> Revocation:
    """One entry."""
    return Revocation(_digest(kind, name), at, until)


def message(revocations: Iterable[Revocation]) -> bytes:
    """A version byte, then MessagePack."""
    return _VERSION + _encoder.encode(list(revocations))


def _digest(kind: Kind, name: str) -> bytes:
    person = kind.encode()  # so that no kind meets another
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16, person=person).digest()


class RevocationList:
    """What a process knows of revocations: ``ramkit.kernel.log.Fold``.

    ``version`` changes when anything was folded: a token found good stays so while it does not. A log that
    was lost takes nothing with it: what is known stays known, and ``orphaned`` until it is in the new one,
    too.
    """

    def __init__(self) -> None:
        self.version = 0
        self.orphaned = False
        self._entries: dict[bytes, tuple[float, float]] = {}
        self._incarnation = 0
        self._latest = 0.0
        self._sweep_at = _SWEEP

    def __len__(self) -> int:
        return len(self._entries)

    def revokes(self, claims: Mapping[str, Any]) -> bool:
        """Whether these claims are of a token that was revoked. One that does not say when it was issued was
        issued before."""
        entries = self._entries
        if not entries:
            return False
        jti, sid, sub = claims.get("jti"), claims.get("sid"), claims.get("sub")
        if jti is not None and _digest("jti", jti) in entries:
            return True
        if sid is not None and _digest("sid", sid) in entries:
            return True
        entry = entries.get(_digest("sub", sub)) if sub is not None else None
        return entry is not None and claims.get("iat", entry[0]) <= entry[0]

    def reset(self, incarnation: int, epoch: int, snapshot: bytes | None) -> None:  # noqa: ARG002 - the port's signature
        self.version += 1
        self.orphaned = bool(self._entries) and incarnation != self._incarnation
        self._incarnation = incarnation
        if snapshot is not None:
            self._fold(snapshot)

    def apply(self, epoch: int, message: bytes) -> None:  # noqa: ARG002 - the port's signature
        self.version += 1
        self._fold(message)

    def snapshot(self) -> bytes:
        self._sweep()
        return message(Revocation(digest, *times) for digest, times in self._entries.items())

    def _fold(self, data: bytes) -> None:
        try:
            if data[:1] != _VERSION:
                raise ValueError("another version")
            found: list[Revocation] = _decoder.decode(memoryview(data)[1:])
        except (ValueError, UnicodeDecodeError) as error:
            _log.error("a revocation cannot be read and does not count here: %s", error)
            return
        for digest, at, until in found:
            known = self._entries.get(digest, (at, until))
            self._entries[digest] = (max(known[0], at), max(known[1], until))
            self._latest = max(self._latest, at)
        if len(self._entries) >= self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        """What has expired by the time of the last revocation."""
        self._entries = {digest: times for digest, times in self._entries.items() if times[1] > self._latest}
        self._sweep_at = max(_SWEEP, 2 * len(self._entries))
