import subprocess
import sys
import time
from calendar import timegm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.cache.core.conditional import (
    EntityTag,
    Preconditions,
    evaluate,
    http_date,
    make_etag,
    not_modified_headers,
    parse_etag,
    parse_etag_list,
    parse_http_date,
    strong_match,
    weak_match,
)

STRONG, WEAK = EntityTag(False, b"a"), EntityTag(True, b"a")

# -- entity tags -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (b'"a"', STRONG),
        (b'W/"a"', WEAK),
        (b' "a"\t', STRONG),
        (b'""', EntityTag(False, b"")),
        (b'"a,b"', EntityTag(False, b"a,b")),
        (b'"\\"', EntityTag(False, b"\\")),  # no escapes in an entity tag
        (b'"\xe4"', EntityTag(False, b"\xe4")),
        (b'w/"a"', None),
        (b'W"a"', None),
        (b'W/ "a"', None),
        (b"a", None),
        (b'"a', None),
        (b'a"', None),
        (b'"a b"', None),
        (b'"a\x7f"', None),
        (b'"a""b"', None),
        (b"", None),
    ],
)
def test_one_entity_tag(value: bytes, tag: EntityTag | None) -> None:
    assert parse_etag(value) == tag


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"*"], "*"),
        ([b" * "], "*"),
        ([b'"a"'], [STRONG]),
        ([b'"a", W/"a"'], [STRONG, WEAK]),
        ([b'"a"', b'W/"a"'], [STRONG, WEAK]),
        ([b'"a" ,\t"b"'], [STRONG, EntityTag(False, b"b")]),
        ([b'"x,y","a"'], [EntityTag(False, b"x,y"), STRONG]),
        ([b', ,"a",,'], [STRONG]),
        ([b'a, "a"'], [STRONG]),
        ([b'w/"b", "a"'], [STRONG]),
        ([b'"b"c, "a"'], [STRONG]),
        ([b'"b, "a"'], [STRONG]),
        ([b'*, "a"'], [STRONG]),
        ([b"a"], []),
        ([b""], []),
        ([], []),
    ],
)
def test_a_list_of_entity_tags(values: list[bytes], expected: object) -> None:
    found = parse_etag_list(values)
    assert (found if found == "*" else list(found)) == expected


ETAGC = sorted({*range(0x21, 0x100)} - {0x22, 0x7F})
OPAQUE = st.lists(st.sampled_from(ETAGC), max_size=9).map(bytes)


@given(st.lists(st.lists(st.tuples(st.booleans(), OPAQUE), min_size=1, max_size=3), min_size=1, max_size=3))
def test_any_list_over_any_field_lines_is_read(lines: list[list[tuple[bool, bytes]]]) -> None:
    values = [
        b" , ".join((b"W/" if weak else b"") + b'"' + tag + b'"' for weak, tag in line) for line in lines
    ]
    assert parse_etag_list(values) == tuple(EntityTag(*tag) for line in lines for tag in line)


@given(st.lists(st.text('W/"a,* \\').map(str.encode)))
def test_any_bytes_are_read_to_tags_that_were_there(values: list[bytes]) -> None:
    found = parse_etag_list(values)
    if found != "*":
        assert all(b'"' + tag.opaque + b'"' in b",".join(values) for tag in found)


@pytest.mark.parametrize(
    ("a", "b", "strong", "weak"),
    [  # the table of RFC 9110 §8.8.3.2
        (EntityTag(True, b"1"), EntityTag(True, b"1"), False, True),
        (EntityTag(True, b"1"), EntityTag(True, b"2"), False, False),
        (EntityTag(True, b"1"), EntityTag(False, b"1"), False, True),
        (EntityTag(False, b"1"), EntityTag(True, b"1"), False, True),
        (EntityTag(False, b"1"), EntityTag(False, b"1"), True, True),
    ],
)
def test_comparison(a: EntityTag, b: EntityTag, strong: bool, weak: bool) -> None:
    assert (strong_match(a, b), weak_match(a, b)) == (strong, weak)


def test_an_etag_made_of_content_is_the_same_in_every_process() -> None:
    etag = make_etag(b"content")
    code = "from ramkit.cache.core.conditional import make_etag; print(make_etag(b'content').decode())"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert done.stdout.strip() == etag
    tag = parse_etag(etag)
    assert tag is not None
    assert tag.weak
    assert len(tag.opaque) == 32
    assert make_etag(b"contents") != etag


# -- dates -------------------------------------------------------------------------------------------

SHOWN = 784111777  # the example of RFC 9110 §5.6.7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", SHOWN),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", SHOWN),
        (b"Sun Nov  6 08:49:37 1994", SHOWN),
        (b"Wed Nov 16 08:49:37 1994", SHOWN + 10 * 86400),
        (b" Sun, 06 Nov 1994 08:49:37 GMT ", SHOWN),
        (b"SUN, 06 nov 1994 08:49:37 gmt", SHOWN),  # RFC 9111 §4.2
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Wed, 31 Dec 1969 23:59:59 GMT", -1),
        (b"Thursday, 01-Jan-70 00:00:00 GMT", 0),
        (b"Wednesday, 01-Jan-69 00:00:00 GMT", -31536000),
        (b"Sunday, 01-Jan-68 00:00:00 GMT", timegm((2068, 1, 1, 0, 0, 0))),
        (b"Thursday, 18-Aug-50 02:01:18 GMT", timegm((2050, 8, 18, 2, 1, 18))),
        (b"Thu, 29 Feb 2024 00:00:00 GMT", timegm((2024, 2, 29, 0, 0, 0))),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", timegm((2017, 1, 1, 0, 0, 0))),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
        (b"Wed, 29 Feb 2023 00:00:00 GMT", None),
        (b"Sun, 31 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 00 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 0000 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 24:00:00 GMT", None),
        (b"Sun, 06 Nov 1994 08:60:37 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:61 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:37 UTC", None),
        (b"Sun, 06 Nov 1994 08:49:37 +0000", None),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"Sun, 6 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 94 08:49:37 GMT", None),
        (b"Sun 06 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 06-Nov-1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 8:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:37 GMT; length=7", None),
        (b"784111777", None),
        (b"0", None),
        (b"", None),
        ("Sun, 06 Nov 1994 08:49:3\uff17 GMT".encode(), None),
    ],
)
def test_dates(value: bytes, seconds: int | None) -> None:
    assert parse_http_date(value) == seconds


@given(st.integers(-62135596800, 253402300799))
def test_what_is_written_is_read(seconds: int) -> None:
    assert parse_http_date(http_date(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (SHOWN, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (SHOWN + 0.999999, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (-0.5, b"Wed, 31 Dec 1969 23:59:59 GMT"),
    ],
)
def test_a_date_is_rounded_down(seconds: float, value: bytes) -> None:
    assert http_date(seconds) == value


def test_the_longest_date_is_within_the_bound_and_a_longer_value_is_not_looked_at() -> None:
    assert parse_http_date(b"Wednesday, 09-Nov-94 08:49:37 GMT") == SHOWN + 3 * 86400
    assert parse_http_date(b" " * 100_000 + b"Sun, 06 Nov 1994 08:49:37 GMT" + b"x" * 100_000) is None


def test_no_time_zone_changes_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        assert http_date(SHOWN) == b"Sun, 06 Nov 1994 08:49:37 GMT"
        assert parse_http_date(b"Sun, 06 Nov 1994 08:49:37 GMT") == SHOWN
        assert time.localtime(SHOWN).tm_hour == 3
    time.tzset()


# -- preconditions -----------------------------------------------------------------------------------

EARLY, DATE, LATE = (http_date(SHOWN + hours * 3600) for hours in (-1, 0, 1))
INVALID = b"yesterday"


def ask(
    *fields: tuple[str, bytes],
    method: str = "GET",
    etag: bytes | None = b'"a"',
    modified: bytes | None = DATE,
    exists: bool = True,
) -> int:
    found = Preconditions.of([(b"host", b"h"), *((name.encode(), value) for name, value in fields)])
    assert found is not None
    return evaluate(method, found, etag=etag, last_modified=modified, exists=exists)


def test_a_request_without_preconditions_has_none() -> None:
    assert Preconditions.of([(b"host", b"h"), (b"if-range", b'"a"')]) is None
    assert Preconditions.of(iter([(b"if-match", b"*")])) == Preconditions(if_match="*")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        # If-None-Match, §13.1.2: weak comparison
        ([("if-none-match", b'"a"')], 304),
        ([("if-none-match", b'W/"a"')], 304),
        ([("if-none-match", b'"b", "a"')], 304),
        ([("if-none-match", b'"b"'), ("if-none-match", b'"a"')], 304),
        ([("if-none-match", b"*")], 304),
        ([("if-none-match", b'"b"')], 200),
        ([("if-none-match", b"a")], 200),
        # If-Modified-Since, §13.1.3
        ([("if-modified-since", DATE)], 304),
        ([("if-modified-since", LATE)], 304),
        ([("if-modified-since", EARLY)], 200),
        ([("if-modified-since", INVALID)], 200),
        ([("if-modified-since", LATE), ("if-modified-since", LATE)], 200),
        # ... is ignored with If-None-Match, even with one that nobody can read
        ([("if-none-match", b'"b"'), ("if-modified-since", LATE)], 200),
        ([("if-none-match", b"b"), ("if-modified-since", LATE)], 200),
        ([("if-none-match", b'"a"'), ("if-modified-since", EARLY)], 304),
        # If-Match, §13.1.1: strong comparison
        ([("if-match", b'"a"')], 200),
        ([("if-match", b'"b", "a"')], 200),
        ([("if-match", b"*")], 200),
        ([("if-match", b'W/"a"')], 412),
        ([("if-match", b'"b"')], 412),
        ([("if-match", b"a")], 412),
        # If-Unmodified-Since, §13.1.4
        ([("if-unmodified-since", DATE)], 200),
        ([("if-unmodified-since", LATE)], 200),
        ([("if-unmodified-since", EARLY)], 412),
        ([("if-unmodified-since", INVALID)], 200),
        # ... is ignored with If-Match
        ([("if-match", b'"a"'), ("if-unmodified-since", EARLY)], 200),
        ([("if-match", b'"b"'), ("if-unmodified-since", LATE)], 412),
        # the order of §13.2.2
        ([("if-match", b'"b"'), ("if-none-match", b'"a"')], 412),
        ([("if-match", b'"a"'), ("if-none-match", b'"a"')], 304),
        ([("if-unmodified-since", EARLY), ("if-none-match", b'"a"')], 412),
        ([("if-unmodified-since", LATE), ("if-modified-since", LATE)], 304),
    ],
)
def test_reading(fields: list[tuple[str, bytes]], status: int, method: str) -> None:
    assert ask(*fields, method=method) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("if-none-match", b'"a"')], 412),
        ([("if-none-match", b"*")], 412),
        ([("if-none-match", b'"b"')], 200),
        ([("if-modified-since", LATE)], 200),
        ([("if-match", b'"a"')], 200),
        ([("if-match", b'"b"')], 412),
        ([("if-unmodified-since", EARLY)], 412),
    ],
)
def test_writing(fields: list[tuple[str, bytes]], status: int) -> None:
    assert ask(*fields, method="PUT") == status


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT"])
def test_methods_without_a_representation_know_no_preconditions(method: str) -> None:
    assert ask(("if-match", b'"b"'), ("if-none-match", b"*"), method=method) == 200


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("if-none-match", b'"a"', 200),
        ("if-none-match", b"*", 304),
        ("if-match", b'"a"', 412),
        ("if-match", b"*", 200),
        ("if-modified-since", LATE, 200),
        ("if-unmodified-since", EARLY, 200),
    ],
)
def test_a_response_without_validators(field: str, value: bytes, status: int) -> None:
    assert ask((field, value), etag=None, modified=None) == status
    assert ask((field, value), etag=b"unquoted", modified=b"0") == status


def test_nothing_there() -> None:
    assert ask(("if-match", b"*"), method="PUT", etag=None, exists=False) == 412
    assert ask(("if-none-match", b"*"), method="PUT", etag=None, exists=False) == 200


# -- the headers of a 304 ----------------------------------------------------------------------------


def test_a_304_keeps_what_belongs_to_the_answer_and_drops_what_describes_content() -> None:
    kept = [
        (b"date", DATE),
        (b"cache-control", b"max-age=1"),
        (b"content-location", b"/a"),
        (b"etag", b'"a"'),
        (b"expires", LATE),
        (b"vary", b"accept"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"access-control-allow-origin", b"*"),
        (b"content-security-policy", b"default-src 'self'"),
        (b"strict-transport-security", b"max-age=1"),
        (b"x-cache", b"HIT"),
        (b"cache-status", b"ramkit; hit"),
        (b"age", b"1"),
    ]
    dropped = [
        (name.encode(), b"x")
        for name in (
            "content-length", "content-type", "content-encoding", "content-range", "content-language",
            "content-disposition", "content-digest", "repr-digest", "transfer-encoding", "trailer",
        )
    ]  # fmt: skip
    modified = [(b"last-modified", DATE)]
    assert not_modified_headers(dropped + kept[:5] + modified + kept[5:]) == kept
    assert not_modified_headers([kept[0], *modified]) == [kept[0], *modified]
