"""Pages of a query, by number or by keyset, from anything with ``fetch`` and ``fetchval``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.exceptions import HTTPException

from ramkit.db.core.pages import BadPage, Cursors, keyset, number
from ramkit.kernel.errors import RamkitError

__all__ = ["CursorPage", "InvalidPage", "Page", "Queries", "cursor_page", "paginate"]


class Queries(Protocol):
    """What runs a statement: a ``Database`` or an asyncpg connection."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...


class InvalidPage(RamkitError, HTTPException):
    """The client asked for what is no page: 400."""

    def __init__(self, detail: str) -> None:
        HTTPException.__init__(self, 400, detail)


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[Any]
    page: int
    limit: int
    more: bool
    total: int | None


@dataclass(frozen=True, slots=True)
class CursorPage:
    """``next`` and ``previous``: the cursors of the pages beside this one, where there may be one."""

    rows: Sequence[Any]
    next: str | None
    previous: str | None


async def paginate(
    db: Queries, query: str, *args: Any, page: str | int = 1, limit: str | int = 10, total: bool = False
) -> Page:
    """One page of a query, which should be ordered. 1-based, at most 100 rows. Raises ``InvalidPage``."""
    try:
        at = number("page", [str(page)], default=1, highest=10**15)
        size = number("limit", [str(limit)], default=10, highest=100)
    except BadPage as error:
        raise InvalidPage(str(error)) from None
    n = len(args)
    text = f"SELECT * FROM ({query}\n) AS page LIMIT ${n + 1} OFFSET ${n + 2}"  # noqa: S608 - the app's own query; values are arguments
    rows = await db.fetch(text, *args, size + 1, (at - 1) * size)
    count = None
    if total:
        count = await db.fetchval(f"SELECT count(*) FROM ({query}\n) AS page", *args)  # noqa: S608 - as above
    return Page(rows[:size], at, size, len(rows) > size, count)


async def cursor_page(
    db: Queries,
    query: str,
    *args: Any,
    cursors: Cursors,
    cursor: str | None = None,
    limit: str | int = 10,
    filters: Sequence[str] = (),
) -> CursorPage:
    """One keyset page of a query that gives the columns of the cursors' order.

    ``filters``: what else makes the list, such as its owner; a cursor of other filters is refused.
    Raises ``InvalidPage`` for a limit or cursor that is none of this list's.
    """
    try:
        size = number("limit", [str(limit)], default=10, highest=100)
        after, back = cursors.read(cursor, filters=filters) if cursor is not None else (None, False)
    except BadPage as error:
        raise InvalidPage(str(error)) from None
    way = [column.reversed for column in cursors.order] if back else cursors.order
    found = await db.fetch(*_flat(keyset(query, args, way, after, limit=size + 1)))
    rows, more = list(found[:size]), len(found) > size
    if back:
        rows.reverse()
    if not rows:
        return CursorPage(rows, None, None)
    following = cursors.make(rows[-1], filters=filters) if back or more else None
    before = more if back else after is not None
    preceding = cursors.make(rows[0], back=True, filters=filters) if before else None
    return CursorPage(rows, following, preceding)


def _flat(statement: tuple[str, list[Any]]) -> list[Any]:
    return [statement[0], *statement[1]]
