"""Byte ranges: what is asked for, what is there, and the 206 made of it (RFC 9110 §14, §15.3.7)."""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from ramkit.cache.core.conditional import parse_etag, parse_http_date, strong_match
from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.headers import find, find_all, without

__all__ = [
    "Parts",
    "Range",
    "Span",
    "accept_ranges",
    "bare",
    "declined",
    "if_range_holds",
    "parse_content_range",
    "parse_range",
    "partial",
    "resolve",
    "strong_validator",
]

# -- what is asked for (§14.1, §14.2) ------------------------------------------------------------------

#: Ranges in one request, and bytes of its field. More are nobody's honest question: they are ignored.
_MOST, _LONGEST = 16, 512
#: Ranges that lie closer are sent as one: a part of its own costs about this many bytes (§15.3.7.2).
_OVERHEAD = 80

_SET = re.compile(rb"[ \t]*bytes=(.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(rb"(\d*)-(\d*)")


class Span(NamedTuple):
    """Bytes by position, the last one included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


#: ``(0, 4)`` is 0-4, ``(5, None)`` is 5-, ``(None, 3)`` is -3.
Spec: TypeAlias = tuple[int | None, int | None]
Range: TypeAlias = tuple[Spec, ...]


def parse_range(value: bytes) -> Range | None:
    """The ranges of a Range field; None where it is to be ignored: another unit, malformed, too many."""
    if len(value) > _LONGEST or (match := _SET.fullmatch(value)) is None:
        return None
    specs: list[Spec] = []
    for member in match[1].split(b","):
        text = member.strip(b" \t")
        if not text:  # RFC 9110 §5.6.1.2: empty members of a list do not count
            continue
        spec = _SPEC.fullmatch(text)
        if spec is None or text == b"-":
            return None
        first, last = (int(each) if each else None for each in spec.groups())
        if first is not None and last is not None and first > last:  # §14.1.1: invalid
            return None
        specs.append((first, last))
    return tuple(specs) if 0 < len(specs) <= _MOST else None


def resolve(asked: Range, length: int | None) -> list[Span] | None:
    """The bytes that are asked for, of a representation of that length (None: unknown).

    Disjoint, in the order of the request; what overlaps or nearly touches is one (§15.3.7.2), so that
    nobody makes much of little. Empty when nothing can be satisfied (§14.1.2). None when no range can say
    it: the end of what has no known length, all of what is empty.
    """
    spans: list[Span] = []
    for first, last in asked:
        if length is None:
            if first is None or last is None:
                return None
            spans.append(Span(first, last))
        elif first is None:
            if last and not length:
                return None
            if last:
                spans.append(Span(max(0, length - last), length - 1))
        elif first < length:
            spans.append(Span(first, length - 1 if last is None else min(last, length - 1)))
    return _coalesced(spans)


def _coalesced(spans: list[Span]) -> list[Span]:
    """Each run of neighbours stands where its first member was asked for."""
    merged: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(spans), key=lambda each: each[1]):
        if merged and span.first <= merged[-1][1].last + _OVERHEAD:
            before, known = merged[-1]
            merged[-1] = min(before, place), Span(known.first, max(known.last, span.last))
        else:
            merged.append((place, span))
    return [span for _, span in sorted(merged)]


# -- validators (§8.8.2.2, §13.1.5) ----------------------------------------------------------------------

#: Seconds that Last-Modified must lie before Date: by then no second change of that second is unseen, and
#: the clocks of two machines do not matter.
_SETTLED = 60


def strong_validator(headers: RawHeaders, at: float) -> bytes | None:
    """A field value by which two responses are known to be of the same bytes: a strong ETag or, where
    there is none at all, a Last-Modified that is old enough. ``at``: when the response was made, in seconds
    since the epoch, for one without Date."""
    etag = find(headers, b"etag")
    if etag is not None:
        tag = parse_etag(etag)
        return etag.strip() if tag is not None and not tag.weak else None
    modified = find(headers, b"last-modified")
    return modified if modified is not None and _strong_date(headers, at) is not None else None


def _strong_date(headers: RawHeaders, at: float) -> int | None:
    modified = parse_http_date(find(headers, b"last-modified") or b"")
    if modified is None:
        return None
    date = parse_http_date(find(headers, b"date") or b"")
    return modified if modified + _SETTLED <= (at if date is None else date) else None


def if_range_holds(value: bytes | None, headers: RawHeaders, at: float) -> bool:
    """§13.1.5: whether Range counts. By strong comparison, or by the very same date if that is strong."""
    if value is None:
        return True
    wanted = parse_etag(value)
    if wanted is not None:
        current = parse_etag(find(headers, b"etag") or b"")
        return current is not None and strong_match(wanted, current)
    date = parse_http_date(value)
    return date is not None and date == _strong_date(headers, at)


# -- what is there (§14.4) ---------------------------------------------------------------------------------

_CONTENT_RANGE = re.compile(rb"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
#: Runs that are kept of one representation: many tiny ones would cost more than they save.
_RUNS = 64


def parse_content_range(value: bytes) -> tuple[Span, int | None] | None:
    """What a 206 brings and the complete length, if that is known; None when it is invalid."""
    match = _CONTENT_RANGE.fullmatch(value.strip(b" \t"))
    if match is None:
        return None
    span, length = Span(int(match[1]), int(match[2])), None if match[3] == b"*" else int(match[3])
    if span.first > span.last or (length is not None and length <= span.last):
        return None
    return span, length


class Parts(NamedTuple):
    """What is known of one representation: runs of its bytes, ascending, one behind the other in ``body``."""

    runs: tuple[Span, ...]
    length: int | None
    body: bytes

    @classmethod
    def read(cls, headers: RawHeaders, body: bytes) -> "Parts | None":
        """As ``listing`` wrote it; None when it is damaged."""
        text, _, length = (find(headers, b"content-range") or b"").removeprefix(b"bytes ").partition(b"/")
        runs: list[Span] = []
        for each in text.split(b","):
            read = parse_content_range(b"bytes %b/%b" % (each, length))
            if read is None or (runs and read[0].first <= runs[-1].last):
                return None
            runs.append(read[0])
        if sum(run.length for run in runs) != len(body):
            return None
        return cls(tuple(runs), None if length == b"*" else int(length), body)

    def listing(self) -> tuple[bytes, bytes]:
        """A field that says which bytes these are; it is for the store, no client sees it."""
        runs = b",".join(b"%d-%d" % run for run in self.runs)
        return b"content-range", b"bytes %b/%b" % (runs, _length(self.length))

    @property
    def whole(self) -> bool:
        return self.length is not None and self.runs == (Span(0, self.length - 1),)

    def slice(self, span: Span) -> bytes | None:
        """These bytes, if all of them are there."""
        at = 0
        for run in self.runs:
            if run.first <= span.first and span.last <= run.last:
                return self.body[at + span.first - run.first : at + span.last + 1 - run.first]
            at += run.length
        return None

    def joined(self, other: "Parts", most: int) -> "Parts | None":
        """Both together. None when they contradict each other, or make more than ``most`` bytes or too
        many runs."""
        lengths = {self.length, other.length} - {None}
        if len(lengths) > 1:
            return None
        merged: list[tuple[int, bytes]] = []
        for first, data in sorted((*self._pieces(), *other._pieces())):
            at, known = merged[-1] if merged else (0, b"")
            if not merged or first > at + len(known):
                merged.append((first, data))
                continue
            shared = known[first - at : first - at + len(data)]
            if not data.startswith(shared):
                return None
            merged[-1] = at, known + data[len(shared) :]
        body = b"".join(data for _, data in merged)
        runs = tuple(Span(first, first + len(data) - 1) for first, data in merged)
        length = lengths.pop() if lengths else None
        if len(body) > most or len(runs) > _RUNS or (length is not None and runs[-1].last >= length):
            return None
        return Parts(runs, length, body)

    def _pieces(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        at = 0
        for run in self.runs:
            found.append((run.first, self.body[at : at + run.length]))
            at += run.length
        return found

    def missing(self) -> bytes | None:
        """A Range for what is not there, as one range; None when that cannot be known, or is nothing."""
        if self.length is None or self.whole:
            return None
        head, tail = self.runs[0], self.runs[-1]
        first = 0 if head.first else head.last + 1
        if tail.last < self.length - 1:
            return b"bytes=%d-" % first
        return b"bytes=%d-%d" % (first, tail.first - 1)


# -- the answer (§15.3.7) ------------------------------------------------------------------------------------

#: Of the content of one response, not of the representation.
_OF_CONTENT = (b"content-length", b"content-range", b"content-md5", b"content-digest")


def bare(headers: RawHeaders) -> RawHeaders:
    """A part's fields without those that are of this part alone."""
    return without(headers, *_OF_CONTENT)


def partial(
    headers: RawHeaders, pieces: Sequence[tuple[Span, bytes]], length: int | None, boundary: bytes
) -> tuple[RawHeaders, bytes]:
    """Headers and content of a 206. ``headers``: those that the 200 would have; ``boundary``: must not
    occur in the content."""
    kept = bare(headers)
    if len(pieces) == 1:
        ((span, body),) = pieces
        kept += ((b"content-length", b"%d" % len(body)), (b"content-range", _content_range(span, length)))
        return kept, body
    kind = find(headers, b"content-type")
    said = b"\r\ncontent-type: " + kind if kind is not None else b""
    content: list[bytes] = []
    for span, piece in pieces:
        where = _content_range(span, length)
        content += (b"\r\n--", boundary, said, b"\r\ncontent-range: ", where, b"\r\n\r\n", piece)
    body = b"".join([*content, b"\r\n--", boundary, b"--\r\n"])
    kept = without(kept, b"content-type")
    kept += (
        (b"content-type", b"multipart/byteranges; boundary=" + boundary),
        (b"content-length", b"%d" % len(body)),
    )
    return kept, body


def _content_range(span: Span, length: int | None) -> bytes:
    return b"bytes %d-%d/%b" % (*span, _length(length))


def _length(length: int | None) -> bytes:
    return b"*" if length is None else b"%d" % length


def declined(headers: RawHeaders) -> bool:
    """Whether the app says that there are no ranges of this (§14.3)."""
    return any(value.strip().lower() == b"none" for value in find_all(headers, b"accept-ranges"))


def accept_ranges(headers: RawHeaders) -> RawHeaders:
    """The headers of a whole response, with Accept-Ranges where it helps: a client that is to go on
    where it stopped needs a strong ETag for If-Range."""
    tag = parse_etag(find(headers, b"etag") or b"")
    if tag is None or tag.weak or find(headers, b"accept-ranges") is not None:
        return headers
    return [*headers, (b"accept-ranges", b"bytes")]
