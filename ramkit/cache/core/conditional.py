"""Validators and preconditions (RFC 9110 §8.8, §13)."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.headers import find, scan, without

__all__ = [
    "ETagList",
    "EntityTag",
    "Preconditions",
    "evaluate",
    "http_date",
    "make_etag",
    "not_modified_headers",
    "parse_etag",
    "parse_etag_list",
    "parse_http_date",
    "strong_match",
    "weak_match",
]

# -- entity tags (§8.8.3) ----------------------------------------------------------------------------


class EntityTag(NamedTuple):
    """``W/"opaque"`` or ``"opaque"``; the opaque part without its quotes."""

    weak: bool
    opaque: bytes


ETagList: TypeAlias = Literal["*"] | tuple[EntityTag, ...]

_ETAG = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_MEMBER = re.compile(_ETAG.pattern + rb"[ \t]*(?:,|\Z)")


def parse_etag(value: bytes) -> EntityTag | None:
    """One entity tag; None when it is malformed: unquoted, or with a lower case ``w/``."""
    match = _ETAG.fullmatch(value.strip(b" \t"))
    return EntityTag(match[1] is not None, match[2]) if match is not None else None


def parse_etag_list(values: Iterable[bytes]) -> ETagList:
    """The value of If-Match or If-None-Match (§13.1.1, §13.1.2), which may stand on several field lines.

    Malformed members are ignored; ``*`` only counts alone.
    """
    value = b",".join(values).strip(b" \t,")
    if value == b"*":
        return "*"
    only = parse_etag(value)
    if only is not None:
        return (only,)
    found: list[EntityTag] = []
    position, end = 0, len(value)
    while position < end:
        if value[position] in b" \t,":
            position += 1
            continue
        match = _MEMBER.match(value, position)
        if match is not None:
            found.append(EntityTag(match[1] is not None, match[2]))
            position = match.end()
        else:
            comma = value.find(b",", position)
            position = comma + 1 if comma >= 0 else end
    return tuple(found)


def strong_match(a: EntityTag, b: EntityTag) -> bool:
    """§8.8.3.2: the same bytes."""
    return not a.weak and not b.weak and a.opaque == b.opaque


def weak_match(a: EntityTag, b: EntityTag) -> bool:
    """§8.8.3.2: as good as the same."""
    return a.opaque == b.opaque


def make_etag(body: bytes) -> bytes:
    """An entity tag from content, the same in every process: 128 bits of BLAKE2b.

    Weak (§8.8.1), because a compressor outside may still change the bytes.
    """
    return b'W/"%b"' % blake2b(body, digest_size=16).hexdigest().encode()


# -- dates (§5.6.7) ----------------------------------------------------------------------------------

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}

_DAY = "(?:" + "|".join(_DAYS) + ")"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES = tuple(
    # RFC 9111 §4.2 has caches ignore case, where this section does not
    re.compile(pattern.encode(), re.IGNORECASE)
    for pattern in (
        rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"{_DAY} {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})",
    )
)
#: "Wednesday, 06-Nov-94 08:49:37 GMT"
_LONGEST_DATE = 33


def parse_http_date(value: bytes) -> int | None:
    """Seconds since the Unix epoch, from any of the three formats; None when it is no date of the calendar.

    A year of two digits is one of 1969 to 2068, as POSIX reads it. So none is taken for more than 50
    years ahead, and the old idiom for "expired", ``01-Jan-70``, stays in the past.
    """
    value = value.strip(b" \t")
    if len(value) > _LONGEST_DATE:
        return None
    for pattern in _DATES:
        match = pattern.fullmatch(value)
        if match is not None:
            return _seconds(match)
    return None


def _seconds(match: re.Match[bytes]) -> int | None:
    year, second = int(match["year"]), int(match["second"])
    if len(match["year"]) == 2:
        year += 1900 if year > 68 else 2000
    # A leap second is within the grammar, but datetime has none.
    leap = second == 60
    try:
        moment = datetime(
            year, _MONTH_NUMBERS[match["month"].lower()], int(match["day"]),
            int(match["hour"]), int(match["minute"]), second - leap, tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        return None
    return int(moment.timestamp()) + leap


def http_date(seconds: float) -> bytes:
    """IMF-fixdate, rounded down to the second."""
    moment = datetime.fromtimestamp(seconds // 1, UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return (
        f"{day}, {moment.day:02} {month} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    ).encode()


# -- preconditions (§13) -----------------------------------------------------------------------------

_FIELDS = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})
#: §13.2.1: methods that neither select nor change a representation
_UNCONDITIONAL = frozenset({"CONNECT", "OPTIONS", "TRACE"})


class Preconditions(NamedTuple):
    """What a request demands. Dates in seconds since the Unix epoch; None where a field is absent or,
    for dates, unreadable: those are to be ignored (§13.1.3, §13.1.4). If-Range is not among them."""

    if_match: ETagList | None = None
    if_none_match: ETagList | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> "Preconditions | None":
        """The preconditions in a request's header pairs; None when there are none."""
        found = scan(headers, _FIELDS)
        if not found:
            return None
        match, none_match = found.get(b"if-match"), found.get(b"if-none-match")
        modified, unmodified = found.get(b"if-modified-since"), found.get(b"if-unmodified-since")
        return cls(
            parse_etag_list((match,)) if match is not None else None,
            parse_etag_list((none_match,)) if none_match is not None else None,
            parse_http_date(modified) if modified is not None else None,
            parse_http_date(unmodified) if unmodified is not None else None,
        )


def evaluate(
    method: str,
    preconditions: Preconditions,
    *,
    etag: bytes | None,
    last_modified: bytes | None,
    exists: bool = True,
) -> Literal[200, 304, 412]:
    """What the preconditions make of a response that would be a 200, in the order of §13.2.2.

    ``etag`` and ``last_modified``: the field values of that response. ``exists``: whether there is a
    current representation at all.
    """
    if method in _UNCONDITIONAL:
        return 200
    reading = method in ("GET", "HEAD")
    current = parse_etag(etag) if etag is not None else None
    modified = parse_http_date(last_modified) if last_modified is not None else None
    asked = preconditions
    if asked.if_match is not None:
        if not _matches(asked.if_match, current, exists=exists, strong=True):
            return 412
    elif (unless := asked.if_unmodified_since) is not None and modified is not None and modified > unless:
        return 412
    if asked.if_none_match is not None:
        if _matches(asked.if_none_match, current, exists=exists, strong=False):
            return 304 if reading else 412
        return 200
    since = asked.if_modified_since
    if reading and since is not None and modified is not None and modified <= since:
        return 304
    return 200


def _matches(wanted: ETagList, current: EntityTag | None, *, exists: bool, strong: bool) -> bool:
    if wanted == "*":
        return exists
    if current is not None:
        compare = strong_match if strong else weak_match
        for each in wanted:
            if compare(each, current):
                return True
    return False


#: Representation metadata, and framing of content that a 304 does not have.
_NOT_IN_304 = frozenset(
    {b"content-digest", b"content-disposition", b"content-encoding", b"content-language", b"content-length",
     b"content-md5", b"content-range", b"content-type", b"digest", b"repr-digest", b"trailer",
     b"transfer-encoding"}
)  # fmt: skip


def not_modified_headers(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The headers of a 304, from those that the 200 would have had (§15.4.5).

    Gone is what describes content; Last-Modified stays only where no ETag says more. Everything
    else stays: cookies and CORS or security headers belong to this answer, not to the content.
    """
    kept = [pair for pair in headers if pair[0] not in _NOT_IN_304]
    return without(kept, b"last-modified") if find(kept, b"etag") is not None else kept
