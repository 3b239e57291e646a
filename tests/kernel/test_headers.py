from hypothesis import given
from hypothesis import strategies as st

from ramkit.kernel.asgi import raw_headers
from ramkit.kernel.headers import find, find_all, replace, scan, without

PAIRS = [(b"a", b"1"), (b"set-cookie", b"x=1"), (b"b", b"2"), (b"set-cookie", b"y=2"), (b"b", b"3")]
NAMES = st.sampled_from([b"a", b"b", b"c"])


def test_find() -> None:
    assert find(PAIRS, b"b") == b"2"
    assert find(PAIRS, b"c") is None
    assert find(iter(PAIRS), b"a") == b"1"
    assert find_all(PAIRS, b"set-cookie") == [b"x=1", b"y=2"]
    assert find_all(PAIRS, b"c") == []


def test_scan_joins_the_lines_of_a_list() -> None:
    assert scan(PAIRS, {b"a", b"b", b"c"}) == {b"a": b"1", b"b": b"2, 3"}
    assert scan(iter(PAIRS), frozenset()) == {}


def test_scan_joins_cookies_as_http_2_splits_them() -> None:
    assert scan([(b"cookie", b"a=1"), (b"cookie", b"b=2")], {b"cookie"}) == {b"cookie": b"a=1; b=2"}


@given(st.lists(st.tuples(NAMES, st.sampled_from([b"x", b"y"]))), st.sets(NAMES))
def test_scan_loses_nothing(pairs: list[tuple[bytes, bytes]], names: set[bytes]) -> None:
    expected = {name: b", ".join(find_all(pairs, name)) for name in names if find(pairs, name) is not None}
    assert scan(pairs, names) == expected


def test_without_and_replace_give_fresh_lists() -> None:
    pairs = list(PAIRS)
    assert without(pairs, b"set-cookie", b"a") == [(b"b", b"2"), (b"b", b"3")]
    assert replace(pairs, b"b", b"4") == [PAIRS[0], PAIRS[1], PAIRS[3], (b"b", b"4")]
    assert replace(pairs, b"c", b"5") == [*PAIRS, (b"c", b"5")]
    assert without(pairs) is not pairs
    assert pairs == PAIRS


def test_raw_headers_reads_what_apps_send() -> None:
    assert raw_headers({"type": "http.response.start"}) == []
    pairs = ([bytearray(b"Set-Cookie"), memoryview(b"A=1")] for _ in range(2))
    assert raw_headers({"headers": pairs}) == [(b"set-cookie", b"A=1")] * 2
    message = {"headers": [(b"a", b"1")]}
    raw_headers(message).append((b"b", b"2"))
    assert message == {"headers": [(b"a", b"1")]}
