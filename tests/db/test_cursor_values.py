"""Each type of PostgreSQL in a cursor: it comes back exactly, or is refused by its column's name."""

import asyncpg
import pytest

from ramkit.db import Column, Cursors, cursor_page

SECRET = b"s" * 32

CARRIED = {
    "boolean": ["true", "false"],
    "int2": ["-32768", "0", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["0", "4294967295"],
    "numeric": ["'NaN'", "'Infinity'", "'-Infinity'", "1.50", "1.50000000000000000001", "'1e500'", "0", "-3"],
    "float4": ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "0.1", "1e-45", "3.4028235e38"],
    "float8": ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "0.1", "5e-324", "1.7976931348623157e308"],
    "money": ["'-92233720368547758.08'", "'1.5'"],
    "text": ["''", "'a'", "'A'", "'ä'", "'\u0001\u007f\\'", "'\U0010ffff'", "'\u00fc '", "repeat('x', 1000)"],
    "varchar(9)": ["''", "'a'"],
    "char(9)": ["''", "'a'", "'a\u00a0'"],
    '"char"': ["''", "'a'"],
    "name": ["'a'", "'b'"],
    "bytea": ["''", r"'\x00'", r"'\xff00'", r"'\xff'"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "date": ["'0001-01-02'", "'2024-02-29'", "'9999-12-30'"],
    "time": ["'00:00'", "'23:59:59.999999'"],
    "timestamp": ["'0001-01-01 00:00:00.000001'", "'2024-02-29'", "'9999-12-31 23:59:59.999998'"],
    "timestamptz": ["'0001-01-02'", "'2024-10-27 01:30Z'", "'2024-10-27 00:30Z'", "'9999-12-30'"],
    "mood": ["'sad'", "'ok'", "'happy'"],
    "few": ["1", "2"],
    "jsonb": ["'null'", "'1'", "'[1]'", """'{"a": "ü"}'"""],
    "macaddr": ["'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"],
    "tsvector": ["'a b'", "''"],
    "pg_lsn": ["'0/0'", "'FFFFFFFF/FFFFFFFF'"],
    "xid8": ["'0'", "'18446744073709551615'"],
}  # fmt: skip

REFUSED = {
    "timetz": (["'12:00+01'", "'12:00+05:30:15'"], TypeError, "v, a time with time zone"),
    "interval": (["'1 year'", "'365 days'", "'1 second'"], TypeError, "v, an interval"),
    "inet": (["'10.0.0.1'", "'10.0.0.0/8'", "'::1'"], TypeError, "v, a IPv"),
    "cidr": (["'10.0.0.0/8'"], TypeError, "v, a IPv4Network"),
    "bit(3)": (["'101'"], TypeError, "v, a BitString"),
    "int4[]": (["'{}'", "'{1,NULL}'"], TypeError, "v, a list"),
    "int4range": (["'[1,3)'"], TypeError, "v, a Range"),
    "pair": (["(1, 2)"], TypeError, "v, a Record"),
    "tid": (["'(0,1)'"], TypeError, "v, a tuple"),
    "date": (
        ["'infinity'", "'-infinity'", "'9999-12-31'", "'0001-01-01'"],
        ValueError,
        "v: .* from infinity",
    ),
    "timestamp": (["'infinity'", "'-infinity'", "'0001-01-01'"], ValueError, "v: .* from infinity"),
    "timestamptz": (
        ["'infinity'", "'-infinity'", "'9999-12-31 23:59:59.999999Z'", "'0001-01-01Z'"],
        ValueError,
        "v: .* from infinity",
    ),
}


@pytest.fixture
async def db(postgres_dsn):
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')")
    await connection.execute("CREATE TYPE pair AS (a int, b int)")
    await connection.execute("CREATE DOMAIN few AS int4 CHECK (VALUE < 9)")
    await connection.execute("SET TIME ZONE 'Europe/Berlin'")
    yield connection
    await connection.close()


async def three_of_each(db, type_, values):
    """A table in which each value, and null, is found three times."""
    await db.execute(f"CREATE TEMP TABLE t (v {type_}, id int GENERATED ALWAYS AS IDENTITY)")
    for value in [*values, "NULL"]:
        await db.execute(f"INSERT INTO t (v) SELECT ({value})::{type_} FROM generate_series(1, 3)")


async def walked(db, order):
    """The ids, a row a page, forward and back."""
    cursors = Cursors([Column("v", descending=order == "DESC"), Column("id")], secret=SECRET)
    there, back, cursor = [], [], None
    while there == [] or cursor is not None:
        page = await cursor_page(db, "SELECT v, id FROM t", cursors=cursors, cursor=cursor, limit=1)
        there += [row["id"] for row in page.rows]
        cursor = page.next
    while page.previous is not None:
        page = await cursor_page(db, "SELECT v, id FROM t", cursors=cursors, cursor=page.previous, limit=1)
        back += [row["id"] for row in page.rows]
    return there, back


async def test_what_is_carried_leads_from_each_row_to_the_next(db):
    for type_, values in CARRIED.items():
        await three_of_each(db, type_, values)
        for order in ("ASC", "DESC"):
            wanted = [row["id"] for row in await db.fetch(f"SELECT id FROM t ORDER BY v {order}, id")]
            assert len(wanted) == 3 * (len(values) + 1)
            there, back = await walked(db, order)
            assert (type_, order, there) == (type_, order, wanted)
            assert (type_, order, back) == (type_, order, wanted[-2::-1])
        await db.execute("DROP TABLE t")


async def test_what_would_come_back_as_another_is_refused(db):
    cursors = Cursors([Column("v"), Column("id")], secret=SECRET)
    for type_, (values, error, message) in REFUSED.items():
        for value in values:
            row = await db.fetchrow(f"SELECT ({value})::{type_} AS v, 1 AS id")
            with pytest.raises(error, match=f"a cursor cannot carry {message}"):
                cursors.make(row)
