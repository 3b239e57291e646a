"""What a store keeps: one entry, and its bytes."""

from collections.abc import Mapping

import msgspec

from ramkit.kernel.asgi import RawHeaders

__all__ = [
    "BY_RULE",
    "OWN_ETAG",
    "PARTS",
    "SHARED",
    "SILENT",
    "VALUE",
    "VARIANTS",
    "Entry",
    "decode",
    "encode",
    "lowest",
]

#: ``Entry.status`` of entries that are no response: a memoized value; a list of Vary specifications; parts
#: of a representation, by ``ramkit.cache.core.ranges``
VALUE, VARIANTS, PARTS = 0, 1, 2

#: ``Entry.flags``. SHARED: public, s-maxage or must-revalidate allow it to answer Authorization
#: (RFC 9111 §3.5). BY_RULE: its lifetime came from a rule. OWN_ETAG: ramkit made its ETag, so the
#: app cannot validate it. SILENT: it has no Cache-Control, so its rule says what browsers may do.
SHARED, BY_RULE, OWN_ETAG, SILENT = 1, 2, 4, 8

_VERSION = b"\x03"


class Entry(msgspec.Struct, array_like=True, eq=False):
    """A stored response, memoized value or list of variants. Times are the cache's, in seconds.

    ``incarnation`` and ``epoch`` are the log's when the render began; ``slots`` the hashed names
    by which it can be purged; ``subject`` the path that purge patterns are matched with ("" for none).
    ``positions``: by database, the LSN that its render cannot have missed; None if it read none.
    """

    incarnation: int
    epoch: int
    slots: tuple[int, ...]
    subject: str
    stored: float
    #: fresh until here; may be served stale while it is refreshed, or on errors, until there
    fresh_until: float
    revalidate_until: float
    error_until: float
    #: Age in seconds when it was stored (RFC 9111 §4.2.3)
    age: float = 0.0
    #: refreshed ahead of its expiry from here on; not after ``fresh_until``
    refresh_at: float = 0.0
    flags: int = 0
    status: int = VALUE
    positions: dict[str, int] | None = None
    headers: RawHeaders = msgspec.field(default_factory=list[tuple[bytes, bytes]])
    body: bytes = b""
    # -- of this process only, never encoded --
    #: the purge table's version by which it was last found valid
    checked: int = -1
    #: the headers of a hit, good until the entry's age is a second more, or its refresh is due
    head: RawHeaders = msgspec.field(default_factory=list[tuple[bytes, bytes]])
    head_until: float = 0.0

    def misses(self, positions: Mapping[str, int]) -> bool:
        """Whether it may lack what was written at one of these LSNs, by database. Of a database that it did
        not read, it lacks nothing."""
        own = self.positions
        return own is not None and any(lsn > own.get(name, lsn) for name, lsn in positions.items())

    @property
    def size(self) -> int:
        """Bytes that it takes in process, about."""
        return (
            600
            + len(self.body)
            + 4 * len(self.subject)
            + sum(len(n) + len(v) + 120 for n, v in self.headers)
            + 8 * len(self.slots)
            + 150 * len(self.positions or ())
        )


def lowest(one: Mapping[str, int] | None, other: Mapping[str, int] | None) -> dict[str, int] | None:
    """The positions of what is made of two."""
    if one is None or other is None:
        both = one if one is not None else other
        return dict(both) if both is not None else None
    return {
        name: min(lsns) for name in {*one, *other} if (lsns := [p[name] for p in (one, other) if name in p])
    }


_decoder = msgspec.msgpack.Decoder(Entry)
_encoder = msgspec.msgpack.Encoder()
#: how MessagePack begins an array of the fields up to ``body``: nobody sets those of one process from outside
_BEGINNING = _VERSION + bytes([0x90 + Entry.__struct_fields__.index("body") + 1])


def encode(entry: Entry) -> bytes:
    """A version byte, then MessagePack."""
    e = entry
    return _VERSION + _encoder.encode(
        (
            e.incarnation, e.epoch, e.slots, e.subject, e.stored, e.fresh_until, e.revalidate_until,
            e.error_until, e.age, e.refresh_at, e.flags, e.status, e.positions, e.headers, e.body,
        )
    )  # fmt: skip


def decode(data: bytes) -> Entry | None:
    """The entry, or None for another version's or damaged bytes: both are a miss."""
    if not data.startswith(_BEGINNING):
        return None
    try:
        return _decoder.decode(data[1:])  # for most a memoryview costs more than the copy
    except msgspec.MsgspecError:
        return None
