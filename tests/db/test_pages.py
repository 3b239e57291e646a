"""Pages of a real table."""

import itertools

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ramkit.db.core.keyset import Column
from ramkit.db.core.pages import Cursors
from ramkit.db.pages import InvalidPage, cursor_page, paginate
from tests.conftest import SOAK

SECRET = b"s" * 32


@pytest.fixture
async def db(postgres_dsn):
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


names = st.permutations(["a", "b", "c"]).flatmap(lambda names: st.integers(0, 3).map(lambda n: names[:n]))
ways = st.builds(
    dict, descending=st.booleans(), nulls_first=st.none() | st.booleans(), nullable=st.booleans()
)
orders = st.builds(
    lambda names, ways, last: [
        *(Column(name, **way) for name, way in zip(names, ways, strict=False)),
        Column("id", descending=last),
    ],
    names,
    st.lists(ways, min_size=3, max_size=3),
    st.booleans(),
)
few = st.none() | st.integers(0, 2)
rows = st.tuples(few, few, few)
#: between two pages: rows that come, and which of those that were there at first go
changes = st.tuples(st.lists(rows, max_size=3), st.sets(st.integers(0, 29), max_size=3))


class Table:
    """What is in it now. An id is never used again, so that a row is the same one as long as it is there."""

    def __init__(self, db):
        self.db, self.ids = db, itertools.count()

    async def add(self, rows):
        self.added = [(next(self.ids), *row) for row in rows]
        await self.db.executemany("INSERT INTO t VALUES ($1, $2, $3, $4)", self.added)

    async def ordered(self, order):
        by = ", ".join(column.order for column in order)
        return [row["id"] for row in await self.db.fetch(f"SELECT id FROM t ORDER BY {by}")]


async def walk(table, order, limit, changes, *, back):
    """The ids that were seen, as pages, from one end to the other; one change after each page."""
    cursors = Cursors(order, secret=SECRET)
    pages, cursor, changes = [], None, iter(changes)
    if back:  # from the last row, without it
        (last,) = await table.db.fetch("SELECT * FROM t WHERE id = $1", (await table.ordered(order))[-1])
        cursor = cursors.make(last, back=True)
    while len(pages) < 100:  # there are never so many rows
        page = await cursor_page(table.db, "TABLE t", cursors=cursors, cursor=cursor, limit=limit)
        pages.append([row["id"] for row in page.rows])
        cursor = page.previous if back else page.next
        if cursor is None:
            return [each for page in (reversed(pages) if back else pages) for each in page]
        come, go = next(changes, ((), ()))
        await table.add(come)
        await table.db.execute("DELETE FROM t WHERE id = ANY($1::int[])", list(go))
    pytest.fail("the pages do not end")


@settings(
    max_examples=1000 if SOAK else 60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    order=orders,
    data=st.lists(rows, min_size=1, max_size=30),
    limit=st.integers(1, 7),
    changes=st.lists(changes, max_size=8),
    back=st.booleans(),
)
async def test_what_was_there_all_along_is_seen_once_and_in_order(db, order, data, limit, changes, back):
    await db.execute("CREATE TEMP TABLE IF NOT EXISTS t (id int PRIMARY KEY, a int, b numeric, c text)")
    await db.execute("TRUNCATE t")
    table = Table(db)
    await table.add([(a, b, None if c is None else str(c)) for a, b, c in data])
    start = await table.ordered(order)
    changes = [([(a, b, None if c is None else str(c)) for a, b, c in come], go) for come, go in changes]
    seen = await walk(table, order, limit, changes, back=back)
    assert len(seen) == len(set(seen))
    left = set(await table.ordered(order))
    throughout = [each for each in (start[:-1] if back else start) if each in left]
    assert [each for each in seen if each in throughout] == throughout
    if not changes:
        assert seen == throughout


async def test_pages_by_number(db):
    query = "SELECT n FROM generate_series(1, $1::int) AS n ORDER BY n"
    page = await paginate(db, query, 25, page="3", total=1000)
    assert ([row["n"] for row in page.rows], page.more, page.total) == ([21, 22, 23, 24, 25], False, 25)
    assert (await paginate(db, query, 25, page=10**15, limit=100)).rows == []
    for bad in ("NaN", "0", "-1", "1e3", ""):
        with pytest.raises(InvalidPage):
            await paginate(db, query, 25, page=bad)
