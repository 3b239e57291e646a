"""The cases of the W3C's own test suite (github.com/w3c/trace-context), and a few more."""

import pytest

from ramkit.kernel.trace import parent_of

TRACE, SPAN = "12345678901234567890123456789012", "1234567890123456"


def said(*values: str) -> tuple[str, str] | None:
    return parent_of([(b"host", b"x"), *((b"traceparent", value.encode()) for value in values)])


@pytest.mark.parametrize(
    "value",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-03",  # level 2: the random flag
        f"00-{TRACE}-{SPAN}-ff",
        f" \t00-{TRACE}-{SPAN}-01\t ",
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"01-{TRACE}-{SPAN}-01-",
    ],
)
def test_what_is_followed(value: str) -> None:
    assert said(value) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        "",
        TRACE,
        f"00-{TRACE}-{SPAN}-01.",
        f"00-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
        f"ff-{TRACE}-{SPAN}-01",
        f".0-{TRACE}-{SPAN}-01",
        f"0.-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"0000-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-.{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE[:-1]}.-{SPAN}-01",
        f"00-{TRACE}3-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-.{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN}7-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE}-{SPAN}-.0",
        f"00-{TRACE}-{SPAN}-0.",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}",
        f"00-{'A' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'A' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_begins_anew(value: str) -> None:
    assert said(value) is None


def test_two_of_them_and_none() -> None:
    assert said(f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01") is None
    assert said() is None
    assert parent_of([(b"trace-parent", f"00-{TRACE}-{SPAN}-01".encode())]) is None
