"""Pages of a query, by number or by keyset, from anything with ``fetch`` and ``fetchval``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException

from ramkit.db.core.keyset import keyset
from ramkit.db.core.links import links
from ramkit.db.core.pages import BadPage, Cursors, number
from ramkit.kernel.asgi import Scope
from ramkit.kernel.errors import RamkitError

__all__ = ["CursorPage", "InvalidPage", "Page", "PageRequest", "Queries", "cursor_page", "paginate"]

#: What a parameter may be: all that were sent of it, one, or none.
Given = Sequence[str] | str | int | None


class Queries(Protocol):
    """What runs a statement: a ``Database`` or an asyncpg connection."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...


class InvalidPage(RamkitError, HTTPException):
    """The client asked for what is no page: 400."""

    def __init__(self, detail: str) -> None:
        HTTPException.__init__(self, 400, detail)


class PageRequest(NamedTuple):
    """What a request says of pages: all values of each parameter, and its whole query."""

    page: Sequence[str]
    limit: Sequence[str]
    cursor: Sequence[str]
    query: bytes

    @classmethod
    def of(cls, scope: Scope) -> "PageRequest":
        """Read from an ASGI scope."""
        query: bytes = scope.get("query_string", b"")
        given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        page, limit, cursor = (
            [value for name, value in given if name == wanted] for wanted in ("page", "limit", "cursor")
        )
        return cls(page, limit, cursor, query)


@dataclass(frozen=True, slots=True)
class Page:
    """``more``: whether there is a next one. ``total``: of all pages, if it was asked for and is not beyond
    its bound."""

    rows: Sequence[Any]
    page: int
    limit: int
    more: bool
    total: int | None

    def link(self, query: bytes = b"") -> str:
        """The value of the response's Link (RFC 8288): first, prev, next and, where it is known, last.

        ``query``: the request's, whose other parameters are kept. References are relative: they need no Host.
        """
        at = {"first": 1}
        if self.page > 1:
            at["prev"] = self.page - 1
        if self.more:
            at["next"] = self.page + 1
        if self.total is not None:
            at["last"] = max(1, -(-self.total // self.limit))
        return links(query, {relation: {"page": str(page)} for relation, page in at.items()})


@dataclass(frozen=True, slots=True)
class CursorPage:
    """``next`` and ``previous``: the cursors of the pages beside this one, where there may be one."""

    rows: Sequence[Any]
    next: str | None
    previous: str | None

    def link(self, query: bytes = b"") -> str:
        """The value of the response's Link: first, prev and next; see ``Page.link``."""
        at: dict[str, dict[str, str]] = {"first": {}}
        if self.previous is not None:
            at["prev"] = {"cursor": self.previous}
        if self.next is not None:
            at["next"] = {"cursor": self.next}
        return links(query, at)


async def paginate(
    db: Queries,
    query: str,
    *args: Any,
    page: Given = None,
    limit: Given = None,
    total: int = 0,
    clamp: bool = False,
) -> Page:
    """One page of a query, which should be ordered.

    ``page``: 1-based, 1 by default; ``limit``: 10 by default, at most 100; both as they were sent. What is
    none (NaN, negative, huge, twice) raises ``InvalidPage``, or with ``clamp`` is brought to a bound.
    ``total``: count rows up to so many; beyond, it is not known.
    """
    try:
        at = number("page", _values(page), default=1, highest=10**15, clamp=clamp)
        size = number("limit", _values(limit), default=10, highest=100, clamp=clamp)
    except BadPage as error:
        raise InvalidPage(str(error)) from None
    n = len(args)
    text = f"SELECT * FROM ({query}\n) AS page LIMIT ${n + 1} OFFSET ${n + 2}"  # noqa: S608 - the app's own query; values are arguments
    rows = await db.fetch(text, *args, size + 1, (at - 1) * size)
    count = None
    if total:
        bounded = f"SELECT count(*) FROM (SELECT 1 FROM ({query}\n) AS page LIMIT ${n + 1}) AS rows"  # noqa: S608 - as above
        counted = await db.fetchval(bounded, *args, total + 1)
        count = counted if counted <= total else None
    return Page(rows[:size], at, size, len(rows) > size, count)


async def cursor_page(
    db: Queries,
    query: str,
    *args: Any,
    cursors: Cursors,
    cursor: Given = None,
    limit: Given = None,
    filters: Sequence[str] = (),
    clamp: bool = False,
) -> CursorPage:
    """One keyset page of a query that gives the columns of the cursors' order.

    ``filters``: what else makes the list, such as its owner; a cursor of other filters is refused.
    Raises ``InvalidPage`` for a limit or cursor that is none of this list's.
    """
    try:
        size = number("limit", _values(limit), default=10, highest=100, clamp=clamp)
        after, back = _read(cursors, _values(cursor), filters)
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


def _values(given: Given) -> Sequence[str]:
    if given is None:
        return ()
    return given if not isinstance(given, (str, int)) else [str(given)]


def _read(cursors: Cursors, given: Sequence[str], filters: Sequence[str]) -> tuple[Any, bool]:
    if len(given) > 1:
        raise BadPage("cursor is given once")
    return cursors.read(given[0], filters=filters) if given else (None, False)


def _flat(statement: tuple[str, list[Any]]) -> list[Any]:
    return [statement[0], *statement[1]]
