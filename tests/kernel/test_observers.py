import logging
from dataclasses import dataclass

import pytest

from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.observers import Event, notify, observers_of


@dataclass(frozen=True)
class Happened(Event):
    metric = "ramkit_happened_total"
    kind = "counter"
    help = "What happened."


def test_one_that_raises_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []

    def broken(event: object) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "ramkit"):
        notify(observers_of([seen.append, broken, seen.append]), Happened())
    assert seen == [Happened(), Happened()]
    assert "broken" in caplog.text


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="observers"):
        observers_of([object()])  # type: ignore[list-item]  # the mistake under test


def test_unavailable_is_a_503_that_says_when_to_come_back() -> None:
    error = Unavailable("Redis does not answer", headers={"x": "y"})
    assert (error.status_code, error.headers) == (503, {"retry-after": "1", "x": "y"})
