"""Positions in the write-ahead log: bytes since its beginning, as integers."""

import re

__all__ = ["format_lsn", "parse_lsn", "reachable"]

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
#: The sizes of a WAL page's header: short, and long at the start of a segment (``access/xlog_internal.h``).
_HEADERS = (24, 40)


def parse_lsn(text: str) -> int:
    """``16/B374D848`` as PostgreSQL writes it. Raises ``ValueError``."""
    found = _LSN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no LSN")
    return int(found[1], 16) << 32 | int(found[2], 16)


def format_lsn(lsn: int) -> str:
    """As PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def reachable(lsn: int, page: int = 8192) -> int:
    """The end of the last record before an insert position, which a replica's replay can reach.

    ``pg_current_wal_insert_lsn()`` tells where the next record will begin. Where the last one filled its page
    (of ``page`` bytes), that is past the next page's header, and an idle replica stays before it. No record
    ends within a header, and one that ends 40 bytes into a page began before it: rounding hides no commit.
    """
    return lsn - lsn % page if lsn % page in _HEADERS else lsn
