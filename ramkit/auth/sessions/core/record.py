"""A session's bytes: a head, and each top-level key beside its value.

Values are msgpack (msgspec). Each is framed by itself, so that the script that merges need not know what
is in it, and a change is found by comparing bytes, however deep it is.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

__all__ = [
    "HEAD", "NIL", "NOBODY", "Change", "Fields", "Record", "change_between", "decode", "encode",
    "encode_fields", "merge", "pack", "pack_names", "subject_hash_input", "unpack", "value_of",
]  # fmt: skip

#: encoded values by their keys
Fields = dict[str, bytes]

#: version; created, end and last activity in seconds of the store's time; the subject's hash.
#: scripts/change.lua and create.lua have the same.
_HEAD: Final = struct.Struct(">Bddd32s")
#: bytes of the head
HEAD: Final = _HEAD.size
_LENGTH: Final = struct.Struct(">I")
_VERSION: Final = 1
#: the hash of no subject
NOBODY: Final = bytes(32)
#: None, encoded
NIL: Final = b"\xc0"

_encode = msgspec.msgpack.Encoder().encode
value_of = msgspec.msgpack.Decoder().decode


class Record(NamedTuple):
    """What a store keeps of a session; times in seconds since the epoch, by the store's clock."""

    created: float
    ends: float
    seen: float
    subject: bytes
    fields: Fields


class Change(NamedTuple):
    """What a request did to a session's keys."""

    sets: Fields
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.sets or self.removed)


def encode_fields(values: Mapping[str, Any]) -> Fields:
    """Each value's bytes. Raises TypeError for what has none, and for a key that is no string."""
    fields: Fields = {}
    for name, value in values.items():
        if type(name) is not str:
            raise TypeError(f"a session's keys are strings, not {name!r}")
        try:
            fields[name] = _encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TypeError(f"session[{name!r}] cannot be stored: {error}") from error
    return fields


def change_between(base: Fields, now: Fields) -> Change:
    """What was set and removed from one to the other."""
    if base == now:
        return _NOTHING
    sets = {name: data for name, data in now.items() if base.get(name) != data}
    return Change(sets, tuple(name for name in base if name not in now))


_NOTHING = Change({}, ())


def merge(current: Fields, change: Change) -> Fields:
    """What another request left, with this one's change: for the keys that it changed, this one wins."""
    merged = {name: data for name, data in current.items() if name not in change.removed}
    merged.update(change.sets)
    return merged


def pack(fields: Fields) -> bytes:
    """Key and value by turns, each after its length in four bytes."""
    parts: list[bytes] = []
    for name, data in fields.items():
        key = name.encode("utf-8", "surrogatepass")
        parts += (_LENGTH.pack(len(key)), key, _LENGTH.pack(len(data)), data)
    return b"".join(parts)


def pack_names(names: Iterable[str]) -> bytes:
    """Names alone, each after its length."""
    keys = [name.encode("utf-8", "surrogatepass") for name in names]
    return b"".join(_LENGTH.pack(len(key)) + key for key in keys)


def encode(record: Record) -> bytes:
    """A record's bytes."""
    return _HEAD.pack(_VERSION, *record[:4]) + pack(record.fields)


def decode(data: bytes) -> Record | None:
    """The record, None for bytes that are none."""
    if len(data) < HEAD or data[0] != _VERSION:
        return None
    _, created, ends, seen, subject = _HEAD.unpack_from(data)
    fields = unpack(data, HEAD)
    return None if fields is None else Record(created, ends, seen, subject, fields)


def unpack(data: bytes, at: int = 0) -> Fields | None:
    """What ``pack`` was given, from there on; None for bytes that are none."""
    fields: Fields = {}
    length, size = _LENGTH.unpack_from, len(data)
    try:
        while at < size:
            middle = at + 4 + length(data, at)[0]
            end = middle + 4 + length(data, middle)[0]
            if end > size:
                return None
            fields[str(data[at + 4 : middle], "utf-8", "surrogatepass")] = data[middle + 4 : end]
            at = end
    except (struct.error, UnicodeDecodeError):
        return None
    return fields


def subject_hash_input(subject: Any) -> bytes:
    """Bytes that are the same for equal subjects, and tell ``1`` from ``"1"``."""
    try:
        return _encode(subject)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{subject!r} cannot be a subject: {error}") from error
