"""A session's bytes: a head, an index, and a msgpack map of what it holds.

The map is read and written as a whole, which takes a microsecond, and a change, however deep, is found by
comparing it with what was read. The index says where each key and its value are, so that the script that
merges need not know what is in them.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

__all__ = [
    "EMPTY", "HEAD", "NIL", "NOBODY", "Change", "Fields", "Record", "change_between", "decode", "decode_map",
    "encode", "encode_fields", "encode_map", "fields_of", "map_of", "merge", "pack", "pack_names", "size_of",
    "subject_hash_input",
]  # fmt: skip

#: encoded values by their keys
Fields = dict[str, bytes]

#: version; created, end and last activity in seconds of the store's time; the subject's hash.
#: The scripts have the same.
_HEAD: Final = struct.Struct(">Bddd32s")
#: bytes of the head
HEAD: Final = _HEAD.size
_COUNT: Final = struct.Struct(">I")
#: the head and the index's first number, which every read wants
_START: Final = struct.Struct(_HEAD.format + "I")
_LENGTHS: Final = struct.Struct(">II")
_VERSION: Final = 1
#: the hash of no subject
NOBODY: Final = bytes(32)
#: None, encoded
NIL: Final = b"\xc0"
#: a map of nothing
EMPTY: Final = b"\x80"

_encode = msgspec.msgpack.Encoder().encode
_decode_raw = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
#: a map's values; raises ValueError
decode_map = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Record(NamedTuple):
    """What a store keeps of a session; times in seconds since the epoch, by the store's clock; ``body`` is a
    msgpack map."""

    created: float
    ends: float
    seen: float
    subject: bytes
    body: bytes

    @property
    def fields(self) -> Fields:
        """The encoded values."""
        return fields_of(self.body)


class Change(NamedTuple):
    """What a request did to a session's keys."""

    sets: Fields
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.sets or self.removed)


def encode_map(values: dict[str, Any]) -> bytes:
    """A map's bytes. Raises TypeError for what has none."""
    try:
        return _encode(values)
    except (TypeError, ValueError, OverflowError, RecursionError):
        encode_fields(values)  # says which
        raise


def encode_fields(values: Mapping[str, Any]) -> Fields:
    """Each value's bytes. Raises TypeError for what has none, and for a key that is no string."""
    fields: Fields = {}
    for name, value in values.items():
        if type(name) is not str:
            raise TypeError(f"a session's keys are strings, not {name!r}")
        try:
            _encode(name)
            fields[name] = _encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TypeError(f"session[{name!r}] cannot be stored: {error}") from error
    return fields


def fields_of(body: bytes) -> Fields:
    """The encoded values of a map. Raises ValueError."""
    return {name: bytes(raw) for name, raw in _decode_raw(body).items()}


def map_of(fields: Fields) -> bytes:
    """The map that holds these."""
    return _encode({name: msgspec.Raw(data) for name, data in fields.items()})


def change_between(base: Fields, now: Fields) -> Change:
    """What was set and removed from one to the other."""
    sets = {name: data for name, data in now.items() if base.get(name) != data}
    return Change(sets, tuple(name for name in base if name not in now))


def merge(current: Fields, change: Change) -> Fields:
    """What another request left, with this one's change: for the keys that it changed, this one wins."""
    removed = frozenset(change.removed)
    merged = {name: data for name, data in current.items() if name not in removed}
    merged.update(change.sets)
    return merged


def pack(fields: Fields) -> bytes:
    """The index and the map: how many there are, the lengths of each key and value, and these."""
    body = map_of(fields)
    lengths = [_LENGTHS.pack(len(_encode(name)), len(data)) for name, data in fields.items()]
    return b"".join((_COUNT.pack(len(fields)), *lengths, body))


def pack_names(names: Iterable[str]) -> bytes:
    """Encoded keys alone, each after its length."""
    keys = [_encode(name) for name in names]
    return b"".join(_COUNT.pack(len(key)) + key for key in keys)


def encode(record: Record) -> bytes:
    """A record's bytes."""
    return _HEAD.pack(_VERSION, *record[:4]) + pack(record.fields)


def decode(data: bytes) -> Record | None:
    """The record, None for bytes that are none; its map is not looked into."""
    if len(data) < _START.size or data[0] != _VERSION:
        return None
    _, created, ends, seen, subject, count = _START.unpack_from(data)
    body = data[_START.size + _LENGTHS.size * count :]
    return Record(created, ends, seen, subject, body) if body else None


def size_of(fields: Fields) -> int:
    """Bytes of a record that holds these."""
    return HEAD + _COUNT.size + _LENGTHS.size * len(fields) + len(map_of(fields))


def subject_hash_input(subject: Any) -> bytes:
    """Bytes that are the same for equal subjects, and tell ``1`` from ``"1"``."""
    try:
        return _encode(subject)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{subject!r} cannot be a subject: {error}") from error
