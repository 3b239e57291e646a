from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from ramkit.db.core.pages import BadPage, Column, Cursors, keyset, number
from ramkit.kernel.errors import ConfigurationError

ORDER = [Column(name="rank", descending=True), Column(name="id")]
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.mark.parametrize("given", ["", "NaN", "-1", "0", "101", "9" * 5000, "٣", "1.0", " 1", "1_0"])
def test_what_is_no_number_is_refused(given: str) -> None:
    with pytest.raises(BadPage):
        number("limit", [given], default=10, highest=100)


def test_numbers() -> None:
    assert number("limit", [], default=10, highest=100) == 10
    assert number("limit", ["100"], default=10, highest=100) == 100
    with pytest.raises(BadPage):
        number("limit", ["1", "1"], default=10, highest=100)


def test_values_survive_the_cursor() -> None:
    values = [
        None, True, -(2**63), "ü\0", Decimal("1.500"), datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC),
        date(1, 1, 1), UUID(int=5), b"\0\xff", 0.1, float("inf"),
    ]  # fmt: skip
    read, back = Cursors([NEW], ORDER).read(Cursors([NEW], ORDER).make(values, back=True))
    assert (repr(read), back) == (repr(values), True)


def test_foreign_and_damaged_cursors_are_refused() -> None:
    text = Cursors([OLD], ORDER).make([1, 2])
    assert Cursors([NEW, OLD], ORDER).read(text) == ([1, 2], False)
    for other in (Cursors([NEW], ORDER), Cursors([OLD], ORDER[1:]), Cursors([OLD], ORDER, "owner=2")):
        with pytest.raises(BadPage):
            other.read(text)
    for at in range(len(text)):
        with pytest.raises(BadPage):
            Cursors([OLD], ORDER).read(text[:at])
    for bad in ("ü", "A" * 5000, "!" + text[1:], ("B" if text[0] != "B" else "C") + text[1:]):
        with pytest.raises(BadPage):
            Cursors([OLD], ORDER).read(bad)
    with pytest.raises(ConfigurationError):
        Cursors([b"short"], ORDER)


def test_names_are_quoted_and_values_are_arguments() -> None:
    text, args = keyset("SELECT 1 -- x", ["a"], [Column(name='x" y')], ["'; DROP"], limit=3)
    assert args == ["a", "'; DROP", 3]
    assert '"x"" y" > $2' in text
    assert text.endswith('ORDER BY "x"" y" ASC NULLS LAST LIMIT $3')
