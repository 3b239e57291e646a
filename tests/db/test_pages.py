import itertools
import random

import asyncpg
import pytest

from ramkit.db.core.pages import Column, Cursors
from ramkit.db.pages import InvalidPage, cursor_page, paginate

SECRET = b"s" * 32
WAYS = list(itertools.product([False, True], [False, True, None]))


@pytest.mark.parametrize("seed", range(12))
async def test_walking_forward_and_back_gives_each_row_once(postgres_dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    order = [Column(name, descending=way[0], nulls_first=way[1])
             for name in ("a", "b") for way in [chance.choice(WAYS)]]  # fmt: skip
    order.append(Column("id", descending=chance.random() < 0.5))
    cursors = Cursors(order, secret=SECRET)
    db = await asyncpg.connect(postgres_dsn)
    try:
        await db.execute("CREATE TEMP TABLE t (a int, b numeric, id int PRIMARY KEY)")
        data = [(chance.choice([None, 1, 2]), chance.choice([None, 1, 2]), n) for n in range(40)]
        await db.executemany("INSERT INTO t VALUES ($1, $2, $3)", data)
        by = ", ".join(column.order for column in order)
        wanted = [row["id"] for row in await db.fetch(f"SELECT id FROM t ORDER BY {by}")]
        pages, cursor = [], None
        while True:
            page = await cursor_page(db, "TABLE t", cursors=cursors, cursor=cursor, limit=7)
            pages.append([row["id"] for row in page.rows])
            cursor = page.next
            if cursor is None:
                break
        assert list(itertools.chain(*pages)) == wanted
        back = [pages[-1]]
        while page.previous is not None:
            page = await cursor_page(db, "TABLE t", cursors=cursors, cursor=page.previous, limit=7)
            back.insert(0, [row["id"] for row in page.rows])
        assert list(itertools.chain(*back)) == wanted
    finally:
        await db.close()


async def test_pages_by_number(postgres_dsn: str) -> None:
    db = await asyncpg.connect(postgres_dsn)
    try:
        query = "SELECT n FROM generate_series(1, $1::int) AS n ORDER BY n"
        page = await paginate(db, query, 25, page="3", total=1000)
        assert ([row["n"] for row in page.rows], page.more, page.total) == ([21, 22, 23, 24, 25], False, 25)
        assert (await paginate(db, query, 25, page=10**15, limit=100)).rows == []
        for bad in ("NaN", "0", "-1", "1e3", ""):
            with pytest.raises(InvalidPage):
                await paginate(db, query, 25, page=bad)
    finally:
        await db.close()
