"""Floors on their way to a client and back: what they say, and that it was said here."""

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from ramkit.kernel.context import raise_positions

__all__ = ["LONGEST", "Codec", "Said", "known"]

#: Signatures are cut to this many bytes: 128 bits.
_SIGNATURE = 16
#: Characters: what is longer is none of ours.
LONGEST = 2048
_VERSION = b"\x02"
_LABEL = b"ramkit floor\0"


class Said(NamedTuple):
    """A floor as it travels. ``bypass``: until when each of these caches must not answer; ``made``: when the
    client was told. Both in seconds since the Unix epoch."""

    positions: dict[str, int]
    epochs: dict[str, tuple[int, int]]
    bypass: dict[str, float]
    made: float


_decoder = msgspec.msgpack.Decoder(Said)
_encoder = msgspec.msgpack.Encoder()


class Codec:
    """``secrets``: the first signs, each of them verifies."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)

    def encode(self, said: Said) -> bytes:
        """For a cookie's value or a header's."""
        payload = _VERSION + _encoder.encode(said)
        return urlsafe_b64encode(_signature(self._secrets[0], payload) + payload).rstrip(b"=")

    def decode(self, value: bytes) -> Said | None:
        """None for what was not signed here, or cannot be read."""
        if len(value) > LONGEST:
            return None
        try:
            data = urlsafe_b64decode(value + b"=" * (-len(value) % 4))
        except (binascii.Error, ValueError):
            return None
        signature, payload = data[:_SIGNATURE], data[_SIGNATURE:]
        if not any(hmac.compare_digest(signature, _signature(each, payload)) for each in self._secrets):
            return None
        if not payload.startswith(_VERSION):
            return None
        try:
            return _decoder.decode(payload[1:])
        except msgspec.MsgspecError:
            return None


def _signature(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, _LABEL + payload, "sha256")[:_SIGNATURE]


def known(said: Iterable[Said], databases: Iterable[str], caches: Iterable[str], now: float) -> Said:
    """The highest of all, of what is known here by name."""
    positions: dict[str, int] = {}
    epochs: dict[str, tuple[int, int]] = {}
    bypass: dict[str, float] = {}
    databases, caches, made = frozenset(databases), frozenset(caches), 0.0
    for each in said:
        made = max(made, each.made)
        raise_positions(positions, {name: each.positions[name] for name in databases & each.positions.keys()})
        for name in caches & each.epochs.keys():
            place = each.epochs[name]
            # Of two incarnations nobody can say which is the later one: the log tells, and repairs it.
            if name not in epochs or place[0] != epochs[name][0] or place[1] > epochs[name][1]:
                epochs[name] = place
        for name in caches & each.bypass.keys():
            if each.bypass[name] > now:
                bypass[name] = max(each.bypass[name], bypass.get(name, 0.0))
    return Said(positions, epochs, bypass, made)
