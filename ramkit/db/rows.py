"""Rows as msgspec structs, or as dicts of chosen columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

__all__ = ["RowMisfit", "as_dicts", "as_structs"]

S = TypeVar("S", bound=msgspec.Struct)


class RowMisfit(ValueError):
    """A row lacks a column or has a value of another type; the message names the column."""


def as_structs(rows: Iterable[Mapping[str, Any]], kind: type[S]) -> list[S]:
    """Each row as ``kind``, values checked, columns that it has no field for left out."""
    made: list[S] = []
    for row in rows:
        try:
            made.append(msgspec.convert(dict(row), kind))
        except msgspec.ValidationError as error:
            # msgspec's message has the field: "Expected `int`, got `str` - at `$.age`"
            raise RowMisfit(f"{kind.__name__}: {error}") from error
    return made


def as_dicts(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Each row's ``columns``, in their order."""
    try:
        return [{name: row[name] for name in columns} for row in rows]
    except KeyError as error:
        raise RowMisfit(f"the rows have no column {error}") from error
