from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import pytest

from ramkit.db.core.keyset import Column
from ramkit.db.core.pages import BadPage, Cursors, number
from ramkit.kernel.errors import ConfigurationError

ORDER = [Column("rank", descending=True), Column("id")]
OLD, NEW = b"o" * 32, b"n" * 32
ROW = {"rank": 1, "id": 2}


@pytest.mark.parametrize("given", ["", "NaN", "-1", "0", "101", "9" * 5000, "٣", "1.0", " 1", "1_0"])
def test_what_is_no_number_is_refused(given: str) -> None:
    with pytest.raises(BadPage):
        number("limit", [given], default=10, highest=100)


def test_numbers() -> None:
    assert number("limit", [], default=10, highest=100) == 10
    assert number("limit", ["100"], default=10, highest=100) == 100
    with pytest.raises(BadPage):
        number("limit", ["1", "1"], default=10, highest=100)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("7", 7),
        ("0", 1),
        ("-3", 1),
        ("-" + "9" * 5000, 1),
        ("101", 100),
        ("9" * 5000, 100),
        ("NaN", 10),
        ("", 10),
    ],
)
def test_clamped_numbers(given: str, found: int) -> None:
    assert number("limit", [given], default=10, highest=100, clamp=True) == found


def test_clamped_repetition_is_the_default() -> None:
    assert number("limit", ["5", "6"], default=10, highest=100, clamp=True) == 10


VALUES = [
    None, True, -(2**63), "ü\0", Decimal("1.500"), datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC),
    date(1, 1, 2), UUID(int=5), b"\0\xff", 0.1, float("inf"), time(1, 2, 3, 4),
]  # fmt: skip


def test_values_survive_the_cursor() -> None:
    row = {f"c{place}": value for place, value in enumerate(VALUES)}
    order = [Column(name) for name in row]
    read, back = Cursors(order, secret=NEW).read(Cursors(order, secret=NEW).make(row, back=True))
    assert (repr(read), back) == (repr(VALUES), True)


def test_foreign_and_damaged_cursors_are_refused() -> None:
    old = Cursors(ORDER, secret=OLD)
    text = old.make(ROW)
    assert Cursors(ORDER, secret=NEW, previous=[OLD]).read(text) == ([1, 2], False)
    for other in (Cursors(ORDER, secret=NEW), Cursors(ORDER[1:], secret=OLD)):
        with pytest.raises(BadPage):
            other.read(text)
    with pytest.raises(BadPage):
        old.read(text, filters=["owner=2"])
    assert old.read(old.make(ROW, filters=["a"]), filters=["a"]) == ([1, 2], False)
    for at in range(len(text)):
        with pytest.raises(BadPage):
            old.read(text[:at])
    for bad in ("ü", "A" * 5000, "!" + text[1:], ("B" if text[0] != "B" else "C") + text[1:]):
        with pytest.raises(BadPage):
            old.read(bad)


def test_mistakes_are_found_when_cursors_are_made() -> None:
    for argument, make in {
        "secret": lambda: Cursors(ORDER, secret=b"short"),
        "previous": lambda: Cursors(ORDER, secret=NEW, previous=["short"]),
        "order": lambda: Cursors([], secret=NEW),
        "order:": lambda: Cursors([*ORDER, Column("id")], secret=NEW),
        "name": lambda: Column(""),
    }.items():
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert caught.value.argument == argument.rstrip(":")


def test_what_no_cursor_can_carry_is_named() -> None:
    with pytest.raises(TypeError, match="rank, a list"):
        Cursors(ORDER, secret=OLD).make({"rank": [], "id": 1})
    with pytest.raises(ValueError, match="rank, id make a cursor of"):
        Cursors(ORDER, secret=OLD).make({"rank": "x" * 5000, "id": 1})
