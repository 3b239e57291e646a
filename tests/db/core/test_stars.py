import asyncpg
import pytest

from ramkit.db.core.stars import gives_all_columns

STARS = [
    "SELECT * FROM t",
    "select\n*\nfrom t",
    "SELECT*FROM t",
    "SELECT t.* FROM t",
    "SELECT a, t.* FROM t",
    "SELECT t.*, a FROM t",
    "SELECT a,* FROM t",
    'SELECT "T x".* FROM t AS "T x"',
    "SELECT DISTINCT * FROM t",
    "SELECT DISTINCT ON (a) * FROM t",
    "SELECT ALL * FROM t",
    "SELECT * FROM t;",
    "SELECT * /* all /* of */ them */ FROM t",
    "SELECT * -- all of them\nFROM t",
    "/* ' */ SELECT * FROM t",
    "SELECT 2 * 3, * FROM t",
    "SELECT count(*) OVER (), * FROM t",
    "SELECT $$it's$$, 'x''y', E'\\'', t.* FROM t",
    "SELECT a FROM t UNION ALL SELECT * FROM (SELECT 1) AS x",
    "(SELECT * FROM t) UNION ALL (SELECT a, b FROM t)",
    "(SELECT a, b FROM t) UNION ALL (SELECT * FROM t)",
    "((SELECT * FROM t))",
    "WITH x AS (SELECT a FROM t) SELECT * FROM x",
    "SELECT * FROM (SELECT a FROM t) AS x",
    "INSERT INTO t SELECT * FROM t",
    "UPDATE t SET a = a * 2 RETURNING *",
    "DELETE FROM t RETURNING a, t.*",
    "SELECT * INTO TEMP u FROM t",
    "SELECT *",
]
NONE = [
    "SELECT a FROM t",
    "SELECT count(*) FROM t",
    "SELECT COUNT ( * ) FILTER (WHERE a > 1) FROM t",
    "SELECT 2 * 3",
    "SELECT a * b, (a) * (b), a*$1, a * -1 FROM t",
    "SELECT '*', 'SELECT * FROM t', ', *' FROM t",
    "SELECT 'it''s, * ' FROM t",
    "SELECT E'\\', *' FROM t",
    "SELECT $$ , * $$, $q$ $$ * $$, * from $q$ FROM t",
    "SELECT a -- , *\nFROM t",
    "SELECT a /* , * /* */ , * */ FROM t",
    'SELECT a AS "*" FROM t',
    'SELECT a AS ", * from ""t" FROM t',
    "SELECT a FROM t WHERE EXISTS (SELECT * FROM t)",
    "SELECT x.a FROM (SELECT * FROM t) AS x",
    "WITH x AS (SELECT * FROM t) SELECT a FROM x",
    "SELECT a FROM t WHERE t.* IS NOT NULL",
    "SELECT a FROM t WHERE a IN (SELECT b * 2 FROM t)",
    "SELECT selected FROM (SELECT a AS selected FROM t) AS x",
]


@pytest.mark.parametrize("statement", STARS)
def test_a_star_for_columns_is_found(statement):
    assert gives_all_columns(statement)


@pytest.mark.parametrize("statement", NONE)
def test_what_only_looks_like_one_is_not(statement):
    assert not gives_all_columns(statement)


async def test_the_statements_of_these_tests_are_ones(postgres_dsn):
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute("CREATE TABLE t (a int, b int)")
        for statement in [*STARS[:-1], *NONE]:
            assert await connection.prepare(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("statement", ["", ")", "(((", "'", "/* *", "SELECT * FROM t )", '"'])
def test_what_is_no_statement_is_no_trouble(statement):
    assert gives_all_columns(statement) == statement.startswith("SELECT")
