"""Ranges without a server: RFC 9110's examples, and what holds for any bytes."""

import email

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.cache.core.ranges import (
    Parts,
    Span,
    accept_ranges,
    bare,
    declined,
    if_range_holds,
    parse_content_range,
    parse_range,
    partial,
    resolve,
    strong_validator,
)

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
NINE, TEN = b"Sun, 06 Nov 1994 08:48:00 GMT", b"Sun, 06 Nov 1994 08:48:38 GMT"


# -- Range --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        # RFC 9110 §14.1.2
        (b"bytes=0-499", ((0, 499),)),
        (b"bytes=500-999", ((500, 999),)),
        (b"bytes=-500", ((None, 500),)),
        (b"bytes=9500-", ((9500, None),)),
        (b"bytes=0-0,-1", ((0, 0), (None, 1))),
        (b"bytes= 0-0, 500-999 , -1", ((0, 0), (500, 999), (None, 1))),
        (b"bytes=500-600,601-999", ((500, 600), (601, 999))),
        (b"BYTES=0-1", ((0, 1),)),
        (b"bytes=,0-1,,", ((0, 1),)),
        (b"bytes=0-99999999999999999999999", ((0, 99999999999999999999999),)),
        (b"bytes=-0", ((None, 0),)),
        (b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(16)), tuple((n, n) for n in range(16))),
    ],
)
def test_ranges_are_read(value, found):
    assert parse_range(value) == found


@pytest.mark.parametrize(
    "value",
    [
        b"", b"bytes", b"bytes=", b"bytes=,", b"bytes=-", b"bytes=a-b", b"bytes=5", b"bytes=1-0",
        b"bytes=0-1;2-3",
        b"bytes=0-1,5-4", b"bytes=0-1, bytes=2-3", b"bytes =0-1", b"bytes=0 -1", b"bytes=+0-1", b"bytes=--1",
        b"bytes=0x0-1", b"bytes=\xb2-3", b"items=0-1", b"seconds=1-2", b"bytes:0-1", b"bytes=0-1\x00",
        b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(17)),
        b"bytes=0-" + b"9" * 600,
    ],
)  # fmt: skip
def test_what_is_malformed_of_another_unit_or_too_much_is_ignored(value):
    assert parse_range(value) is None


@pytest.mark.parametrize(
    ("value", "length", "spans"),
    [
        (b"bytes=0-499", 10_000, [(0, 499)]),
        (b"bytes=-500", 10_000, [(9500, 9999)]),
        (b"bytes=9500-", 10_000, [(9500, 9999)]),
        (b"bytes=0-0,-1", 10_000, [(0, 0), (9999, 9999)]),
        (b"bytes=-1,0-0", 10_000, [(9999, 9999), (0, 0)]),  # in the order of the request
        (b"bytes=500-600,601-999", 10_000, [(500, 999)]),
        (b"bytes=500-700,601-999", 10_000, [(500, 999)]),
        (b"bytes=0-1,80-81", 10_000, [(0, 81)]),  # a gap smaller than a part's own overhead
        (b"bytes=0-1,82-83", 10_000, [(0, 1), (82, 83)]),
        (b"bytes=5000-5001,0-1,4990-4999", 10_000, [(4990, 5001), (0, 1)]),
        (b"bytes=0-99999", 10, [(0, 9)]),
        (b"bytes=-99999", 10, [(0, 9)]),
        (b"bytes=10-", 10, []),
        (b"bytes=10-12", 10, []),
        (b"bytes=-0", 10, []),
        (b"bytes=10-12,0-1", 10, [(0, 1)]),  # what cannot be satisfied is left out
        (b"bytes=0-", 0, []),
        (b"bytes=-5", 0, None),  # satisfiable, but no Content-Range can say so
        (b"bytes=0-4", None, [(0, 4)]),
        (b"bytes=5-", None, None),
        (b"bytes=-5", None, None),
        (b"bytes=0-,0-,0-,0-,0-,0-,0-,0-", 10_000, [(0, 9999)]),
    ],
)
def test_ranges_are_resolved(value, length, spans):
    asked = parse_range(value)
    assert asked is not None
    assert resolve(asked, length) == spans


lengths = st.integers(1, 2000)
specs = st.one_of(
    st.tuples(st.integers(0, 2200), st.none()),
    st.tuples(st.none(), st.integers(0, 2200)),
    st.tuples(st.integers(0, 2200), st.integers(0, 300)).map(lambda each: (each[0], each[0] + each[1])),
)


@given(st.lists(specs, min_size=1, max_size=16), lengths)
def test_resolved_ranges_are_disjoint_and_hold_what_was_asked_for(asked, length):
    text = b"bytes=" + b",".join(
        b"%b-%b" % tuple(b"" if each is None else b"%d" % each for each in spec) for spec in asked
    )
    assert parse_range(text) == tuple(asked)
    spans = resolve(tuple(asked), length)
    assert spans is not None
    wanted: set[int] = set()
    for first, last in asked:
        every = range(length)
        if first is None:
            wanted.update(every[-last:] if last else ())
        else:
            wanted.update(every[first : None if last is None else last + 1])
    given_ = [position for span in spans for position in range(span.first, span.last + 1)]
    assert len(given_) == len(set(given_)) <= length  # no byte twice: nothing grows beyond the whole
    assert wanted <= set(given_)
    assert bool(spans) == bool(wanted)
    assert len(set(given_) - wanted) <= 80 * len(asked)


# -- If-Range and validators -----------------------------------------------------------------------------


def made(etag=None, modified=None, date=None):
    given_ = ((b"etag", etag), (b"last-modified", modified), (b"date", date))
    return [(name, value) for name, value in given_ if value is not None]


@pytest.mark.parametrize(
    ("value", "headers", "holds"),
    [
        (None, [], True),
        (b'"a"', made(b'"a"'), True),
        (b'"b"', made(b'"a"'), False),
        (b'W/"a"', made(b'"a"'), False),
        (b'"a"', made(b'W/"a"'), False),
        (b'W/"a"', made(b'W/"a"'), False),  # strong comparison: weak ones never match
        (b'"a"', [], False),
        (b"a", made(b"a"), False),
        (b'"a", "b"', made(b'"a"'), False),  # one, no list
        (b"*", made(b'"a"'), False),
        (NINE, made(modified=NINE), True),
        (NINE, made(b'"a"', NINE), True),
        (TEN, made(modified=NINE), False),  # no comparison but equality
        (NINE, made(modified=TEN), False),
        (TEN, made(modified=TEN), False),  # changed less than a minute before: not strong
        (NINE, made(modified=NINE, date=NINE), False),
        (TEN, made(modified=TEN, date=b"Sun, 06 Nov 1994 08:50:00 GMT"), True),
        (b"yesterday", made(modified=NINE), False),
        (b"", made(b'"a"'), False),
    ],
)
def test_if_range(value, headers, holds):
    assert if_range_holds(value, headers, NOW) is holds


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        (made(b'"a"'), b'"a"'),
        (made(b'W/"a"'), None),
        (made(b'W/"a"', NINE), None),  # it says that it may change without its date
        (made(b"a", NINE), None),
        (made(modified=NINE), NINE),
        (made(modified=TEN), None),
        (made(modified=b"never"), None),
        ([], None),
    ],
)
def test_strong_validators(headers, validator):
    assert strong_validator(headers, NOW) == validator


# -- Content-Range ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"bytes 42-1233/1234", (Span(42, 1233), 1234)),
        (b"bytes 42-1233/*", (Span(42, 1233), None)),
        (b"Bytes 0-0/1", (Span(0, 0), 1)),
        (b"bytes */1234", None),
        (b"bytes 5-4/10", None),
        (b"bytes 5-10/10", None),
        (b"bytes 0-4", None),
        (b"bytes=0-4/10", None),
        (b"items 0-4/10", None),
        (b"bytes 0-4/10, bytes 5-9/10", None),
        (b"bytes 0-4,6-8/10", None),
        (b"bytes -4/10", None),
        (b"", None),
        (b"bytes 0-9/" + b"9" * 40, None),
    ],
)
def test_content_range(value, found):
    assert parse_content_range(value) == found


# -- parts ------------------------------------------------------------------------------------------------


def part(body, first, last, length=True):
    return Parts((Span(first, last),), len(body) if length else None, body[first : last + 1])


@st.composite
def cut(draw, most=200):
    """A body and some of its parts, in any order."""
    body = draw(st.binary(min_size=1, max_size=most))
    places = st.integers(0, len(body) - 1)
    ends = draw(st.lists(st.tuples(places, places), min_size=1, max_size=12))
    return body, [Span(*sorted(each)) for each in ends]


@given(cut(), st.data())
def test_parts_joined_in_any_order_are_those_of_the_body(example, data):
    body, spans = example
    known = None
    for span in data.draw(st.permutations(spans)):
        piece = part(body, *span, length=data.draw(st.booleans()))
        known = piece if known is None else known.joined(piece, len(body))
        assert known is not None
    assert known is not None
    there = {position for span in spans for position in range(span.first, span.last + 1)}
    assert known.body == bytes(body[position] for position in sorted(there))
    assert {position for run in known.runs for position in range(run.first, run.last + 1)} == there
    assert all(one.last + 1 < next_.first for one, next_ in zip(known.runs, known.runs[1:], strict=False))
    assert known.whole == (known.length is not None and len(there) == len(body))
    assert Parts.read([(b"x", b"y"), known.listing()], known.body) == known
    asked = Span(*sorted(data.draw(st.tuples(*[st.integers(0, len(body) - 1)] * 2))))
    expected = body[asked.first : asked.last + 1]
    assert known.slice(asked) == (expected if set(range(asked.first, asked.last + 1)) <= there else None)


@given(cut(), st.data())
def test_with_what_is_missing_it_is_whole(example, data):
    body, spans = example
    known = part(body, *spans[0])
    for span in spans[1:]:
        known = known.joined(part(body, *span), len(body)) or known
    missing = known.missing()
    if missing is None:
        assert known.whole
        return
    (hole,) = resolve(parse_range(missing) or (), len(body)) or ()
    assert known.joined(part(body, *hole), len(body)) == Parts((Span(0, len(body) - 1),), len(body), body)


def test_parts_that_contradict_are_not_joined():
    body = b"0123456789"
    one = part(body, 0, 4)
    assert one.joined(part(b"01234X6789", 3, 6), 10) is not None
    assert one.joined(part(b"0123X56789", 3, 6), 10) is None  # other bytes in the same place
    assert one.joined(part(body + b"a", 5, 9), 10) is None  # another length
    assert part(body, 5, 9, length=False).joined(Parts((Span(0, 3),), 8, b"0123"), 10) is None
    assert one.joined(part(body, 5, 9), 9) is None  # too large together
    assert one.joined(part(body, 5, 9), 10) == Parts((Span(0, 9),), 10, body)


def test_the_number_of_runs_is_bounded():
    body = bytes(1000)
    known = part(body, 0, 0)
    for number in range(1, 64):
        known = known.joined(part(body, 2 * number, 2 * number), 1000) or known
    assert len(known.runs) == 64
    assert known.joined(part(body, 200, 200), 1000) is None
    assert known.joined(part(body, 1, 1), 1000) is not None


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (None, b"01234"), (b"bytes 0-4/10", b"0123"), (b"bytes 0-4,3-6/10", b"012343456"), (b"", b""),
        (b"bytes 5-9,0-4/10", b"0123456789"), (b"bytes 0-4", b"01234"), (b"bytes 0-4/4", b"01234"),
        (b"bytes 0-x/10", b""),
    ],
)  # fmt: skip
def test_damaged_parts_are_none(value, body):
    assert Parts.read([(b"content-range", value)] if value is not None else [], body) is None


@pytest.mark.parametrize(
    ("runs", "length", "missing"),
    [
        ([(0, 4)], 10, b"bytes=5-"),
        ([(5, 9)], 10, b"bytes=0-4"),
        ([(3, 4)], 10, b"bytes=0-"),
        ([(0, 1), (8, 9)], 10, b"bytes=2-7"),
        ([(0, 1), (4, 5)], 10, b"bytes=2-"),
        ([(0, 1), (4, 5), (9, 9)], 10, b"bytes=2-8"),
        ([(0, 9)], 10, None),
        ([(0, 4)], None, None),
    ],
)
def test_what_is_missing(runs, length, missing):
    spans = tuple(Span(*run) for run in runs)
    assert Parts(spans, length, bytes(sum(span.length for span in spans))).missing() == missing


# -- 206 --------------------------------------------------------------------------------------------------

WHOLE = [
    (b"content-type", b"text/plain"), (b"etag", b'"a"'), (b"content-length", b"10"), (b"content-md5", b"x"),
    (b"content-digest", b"sha-256=:x:"), (b"vary", b"accept"), (b"set-cookie", b"1"), (b"set-cookie", b"2"),
]  # fmt: skip


def test_a_single_part():
    headers, body = partial(WHOLE, [(Span(4, 6), b"456")], 10, b"B")
    assert body == b"456"
    assert headers == [
        (b"content-type", b"text/plain"), (b"etag", b'"a"'), (b"vary", b"accept"), (b"set-cookie", b"1"),
        (b"set-cookie", b"2"), (b"content-length", b"3"), (b"content-range", b"bytes 4-6/10"),
    ]  # fmt: skip
    assert partial(WHOLE, [(Span(4, 6), b"456")], None, b"B")[0][-1] == (b"content-range", b"bytes 4-6/*")


@pytest.mark.parametrize("kind", [b"text/plain", None])
def test_several_parts(kind):
    given_ = [pair for pair in WHOLE if pair[0] != b"content-type"]
    given_ += [(b"content-type", kind)] if kind else []
    pieces = [(Span(7, 9), b"\r\n9"), (Span(0, 1), b"01")]
    headers, body = partial(given_, pieces, 10, b"0123456789abcdef")
    found = dict(headers)
    assert found[b"content-length"] == b"%d" % len(body)
    assert b"content-range" not in found
    message = email.message_from_bytes(b"content-type: " + found[b"content-type"] + b"\r\n\r\n" + body)
    assert message.get_content_type() == "multipart/byteranges"
    parts = message.get_payload()
    assert [each["content-range"] for each in parts] == ["bytes 7-9/10", "bytes 0-1/10"]
    assert [each["content-type"] for each in parts] == [kind.decode() if kind else None] * 2
    assert [each.get_payload(decode=True) for each in parts] == [b"\r\n9", b"01"]


def test_what_is_of_one_response_alone():
    assert bare([*WHOLE, (b"content-range", b"bytes 0-9/10")]) == [
        pair for pair in WHOLE if pair[0] not in (b"content-length", b"content-md5", b"content-digest")
    ]


def test_accept_ranges():
    strong, weak = [(b"etag", b'"a"')], [(b"etag", b'W/"a"')]
    assert accept_ranges(strong) == [*strong, (b"accept-ranges", b"bytes")]
    none = [*strong, (b"accept-ranges", b"None")]
    for unchanged in (weak, [], none):
        assert accept_ranges(unchanged) == unchanged
    assert declined(none)
    assert not declined([*strong, (b"accept-ranges", b"bytes")])
