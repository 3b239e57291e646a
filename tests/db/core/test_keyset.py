"""The SQL of a keyset page, and what an index does for it. Which rows it gives: test_pages.py."""

import json

import asyncpg
import pytest

from ramkit.db.core.keyset import Column, keyset
from ramkit.testing.servers.postgres import fetch


def test_names_are_quoted_and_values_are_arguments() -> None:
    text, args = keyset("SELECT 1 -- x", ["a"], [Column('x" y')], ["'; DROP"], limit=3)
    assert args == ["a", "'; DROP", 3]
    assert '("x"" y") > ($2)' in text
    assert text.endswith('ORDER BY "x"" y" ASC NULLS LAST LIMIT $3')


INDEXES = """
CREATE TABLE many AS SELECT n AS id, n % 1000 AS a, n % 7 AS b FROM generate_series(1, 100000) AS n;
CREATE INDEX ascending ON many (a, b, id);
CREATE INDEX mixed ON many (a, b DESC, id);
ANALYZE many;
"""
HALFWAY = {"a": 500, "b": 3, "id": 50500}


@pytest.fixture(scope="module")
def many(postgres_server):
    with postgres_server.database("template1") as dsn:
        for statement in INDEXES.strip().split("\n"):
            fetch(dsn, statement)
        yield dsn


def nodes(plan):
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


async def scanned(dsn, order):
    """The conditions that an index was searched by for a page halfway, and the rows that were looked at."""
    text, given = keyset("TABLE many", [], order, [HALFWAY[column.name] for column in order], limit=11)
    connection = await asyncpg.connect(dsn)
    try:
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *given)
    finally:
        await connection.close()
    scans = [each for each in nodes(json.loads(plan)[0]["Plan"]) if "Relation Name" in each]
    rows = sum(each["Actual Rows"] + each.get("Rows Removed by Filter", 0) for each in scans)
    return [each.get("Index Cond", each["Node Type"]) for each in scans], rows


A, B, ID = (Column(name, nullable=False) for name in ("a", "b", "id"))
UP = "(ROW(a, b, id) > ROW(500, 3, 50500))"


@pytest.mark.parametrize(
    ("order", "conditions"),
    [
        ([A, B, ID], [UP, "(a IS NULL)", "((a = 500) AND (b IS NULL))"]),
        ([A.reversed, B.reversed, ID.reversed], [UP.replace(">", "<")]),
        # the same with the nullable ones, where nulls are behind already
        ([Column("a").reversed, Column("b").reversed, ID.reversed], [UP.replace(">", "<")]),
        ([A, B.reversed, ID], ["(a >= 500)", "(a IS NULL)"]),
    ],
)
async def test_an_index_leads_straight_to_the_page(many, order, conditions):
    found, rows = await scanned(many, order)
    assert found == conditions
    assert rows <= 2 * 100  # those with the same a, at most


async def test_where_nulls_come_last_the_index_is_read_from_its_beginning(many):
    found, rows = await scanned(many, [Column("a"), Column("b"), Column("id")])
    assert len(found) == 1
    assert rows > 50_000
