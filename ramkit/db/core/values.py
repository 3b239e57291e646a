"""What a cursor can carry: values that come out of the driver and go back in as what they were, exactly."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

__all__ = ["decode", "encode"]

#: The driver gives infinity as these, and they go back as infinity even if they were not.
_ENDS = (date.min, date.max, datetime.min, datetime.max)  # noqa: DTZ901 - compared without their zone

_DECODERS: dict[str, Any] = {
    "n": Decimal,
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
    "c": time.fromisoformat,
    "u": UUID,
    "b": bytes.fromhex,
    "f": float.fromhex,
}


def encode(column: str, value: Any) -> Any:
    """As JSON has it. Raises ``TypeError`` for a type that no cursor carries, ``ValueError`` for a value."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return ["f", value.hex()]
        case Decimal():
            return ["n", str(value)]
        case datetime():
            return ["t", _finite(column, value, value.replace(tzinfo=None))]
        case date():
            return ["d", _finite(column, value, value)]
        case time(tzinfo=None):
            return ["c", value.isoformat()]
        case bytes():
            return ["b", value.hex()]
        case UUID():
            return ["u", str(value)]
        case time():
            raise _refused(column, "a time with time zone", "the driver drops the seconds of its offset")
        case timedelta():
            raise _refused(
                column, "an interval", "the driver takes a year for 365 days, and PostgreSQL for 360"
            )
        case _:
            raise _refused(column, f"a {type(value).__name__}", "it knows no way back to what it was")


def decode(value: Any) -> Any:
    """What ``encode`` was given."""
    return _DECODERS[value[0]](value[1]) if isinstance(value, list) else value


def _finite(column: str, value: date, moment: date) -> str:
    if moment in _ENDS:
        raise ValueError(
            f"a cursor cannot carry {column}: the driver does not tell {value} from infinity; "
            f"order by nullif({column}, 'infinity')"
        )
    return value.isoformat()


def _refused(column: str, what: str, why: str) -> TypeError:
    return TypeError(f"a cursor cannot carry {column}, {what}: {why}")
