import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.db.core.lsn import format_lsn, parse_lsn, reachable


@given(st.integers(0, 2**64 - 1))
def test_round_trip(lsn):
    assert parse_lsn(format_lsn(lsn)) == lsn


def test_as_postgresql_writes_it():
    assert parse_lsn("16/B374D848") == 0x16B374D848
    assert format_lsn(0x16B374D848) == "16/B374D848"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "1",
        "1/",
        "/1",
        "123456789/0",
        "0/123456789",
        "x/y",
        "1/2/3",
        "-1/0",
        "+1/0",
        "1_0/0",
        " 1/0",
        "0x1/0",
    ],
)
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="no LSN"):
        parse_lsn(text)


@pytest.mark.parametrize(
    ("inserted", "reached"),
    [
        (8192 * 5 + 24, 8192 * 5),  # after the short header of a page
        (2**20 * 3 + 40, 2**20 * 3),  # after the long one of a segment
        (8192 * 5 + 48, 8192 * 5 + 48),
        (8192 * 5, 8192 * 5),
    ],
)
def test_a_replica_stops_before_the_header_of_an_empty_page(inserted, reached):
    assert reachable(inserted) == reached


@given(st.integers(0, 2**40), st.sampled_from([4096, 8192, 32768]))
def test_it_is_never_beyond_and_at_most_a_header_before(lsn, page):
    assert 0 <= lsn - reachable(lsn, page) <= 40
