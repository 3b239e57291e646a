from ramkit.db.explain import explain


async def test_what_reads_a_large_table_whole_is_told(make, table):
    db = make(table)
    assert await explain(db, "SELECT id FROM notes WHERE text = $1", "x") == []
    (whole,) = await explain(db, "SELECT id FROM notes WHERE text = $1", "x", large=1)
    assert whole == '"public"."notes" (0 MiB) is read from end to end'
    assert await explain(db, "SELECT n.* FROM notes n WHERE false") == [
        "SELECT * gives columns that nobody asked for"
    ]
    assert await explain(db, "SELECT count(*) FROM notes WHERE id = 1", large=10**9) == []
    assert await explain(db, "SELECT id, n.* FROM notes n WHERE false") == [
        "SELECT * gives columns that nobody asked for"
    ]


async def test_a_table_of_any_name_is_told(make, postgres_dsn):
    db = make(postgres_dsn)
    await db.execute("""CREATE TABLE "my ""large"" one" AS SELECT 1 AS a""")
    assert await explain(db, """SELECT a FROM "my ""large"" one" """, large=1) == [
        """"public"."my "large" one" (0 MiB) is read from end to end"""
    ]
