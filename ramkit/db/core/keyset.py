"""The SQL of a keyset page: the rows of a query that follow another one in an order."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import takewhile
from typing import Any

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Column", "keyset"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an ordering. ``nulls_first``: ``None`` is Postgres's way, last up and first down.

    ``nullable=False``: it has no nulls, or few. An index finds the page then, also where nulls come last;
    those that there are get a look into the index of their own, for which the query is run once more.
    """

    name: str
    _: KW_ONLY
    descending: bool = False
    nulls_first: bool | None = None
    nullable: bool = True

    def __post_init__(self) -> None:
        if not self.name or "\0" in self.name:
            raise ConfigurationError("name", f"{self.name!r} names no column")
        if self.nulls_first is None:
            object.__setattr__(self, "nulls_first", self.descending)

    @property
    def quoted(self) -> str:
        return '"' + self.name.replace('"', '""') + '"'

    @property
    def reversed(self) -> "Column":
        return Column(
            self.name,
            descending=not self.descending,
            nulls_first=not self.nulls_first,
            nullable=self.nullable,
        )

    @property
    def order(self) -> str:
        way, nulls = "DESC" if self.descending else "ASC", "FIRST" if self.nulls_first else "LAST"
        return f"{self.quoted} {way} NULLS {nulls}"


@dataclass(frozen=True, slots=True)
class _Place:
    """A column where the row is that is gone on from. ``argument``: its value, or None if that is null.
    ``nulls``: whether there may be some after it."""

    column: Column
    argument: str | None
    nulls: bool

    @property
    def null(self) -> str:
        return f"{self.column.quoted} IS NULL"

    @property
    def same(self) -> str:
        return self.null if self.argument is None else f"{self.column.quoted} = {self.argument}"

    @property
    def later(self) -> str:
        if self.argument is None:
            return f"{self.column.quoted} IS NOT NULL" if self.column.nulls_first else "FALSE"
        later = f"{self.column.quoted} {self.sign} {self.argument}"
        return f"({later} OR {self.null})" if self.nulls else later

    @property
    def sign(self) -> str:
        return "<" if self.column.descending else ">"

    @property
    def sought(self) -> bool:
        """Whether an index can begin there: its scan ends where "OR … IS NULL" begins."""
        return self.argument is not None and not (self.nulls and self.column.nullable)


def keyset(
    query: str, args: Sequence[Any], order: Sequence[Column], after: Sequence[Any] | None, *, limit: int
) -> tuple[str, list[Any]]:
    """The statement and its arguments for ``limit`` rows beyond ``after`` in this order.

    The last column must be unique and not null, else rows that tie with ``after`` are skipped. For the
    page before a row, give each column ``reversed`` and turn the rows round.
    """
    given = [*args, *(value for value in after or () if value is not None), limit]
    tail = f" ORDER BY {', '.join(column.order for column in order)} LIMIT ${len(given)}"
    # the newline ends a comment that the query may end with
    head = f"SELECT * FROM ({query}\n) AS page"  # noqa: S608 - the app's own query; values are arguments
    if after is None:
        return head + tail, given
    parts = [f"{head} WHERE {condition}{tail}" for condition in _beyond(_places(order, after, len(args)))]
    if len(parts) == 1:
        return parts[0], given
    return f"SELECT * FROM (({') UNION ALL ('.join(parts)})) AS page{tail}", given  # noqa: S608 - as above


def _places(order: Sequence[Column], after: Sequence[Any], used: int) -> list[_Place]:
    places: list[_Place] = []
    for n, (column, value) in enumerate(zip(order, after, strict=True), start=1):
        used += value is not None
        nulls = value is not None and not column.nulls_first and n < len(order)
        places.append(_Place(column, None if value is None else f"${used}", nulls))
    return places


def _beyond(places: Sequence[_Place]) -> Iterator[str]:
    """Conditions for the rows beyond, each of which an index can begin at; none has a row of another."""
    beyond = " OR ".join(f"({_all(places[:n], each.later)})" for n, each in enumerate(places))
    run = list(takewhile(lambda each: each.sought and each.sign == places[0].sign, places))
    if not run:
        yield beyond
        return
    # PostgreSQL compares rows column by column, up to the first difference or null, as its index is sorted
    names = ", ".join(each.column.quoted for each in run)
    arguments = ", ".join(str(each.argument) for each in run)
    if len(run) == len(places):
        yield f"({names}) {run[0].sign} ({arguments})"
    else:
        yield f"({names}) {run[0].sign}= ({arguments}) AND ({beyond})"
    for n, each in enumerate(run):
        if each.nulls:
            yield _all(places[:n], each.null)


def _all(same: Sequence[_Place], last: str) -> str:
    return " AND ".join([*(each.same for each in same), last])
