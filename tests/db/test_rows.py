import asyncpg
import msgspec
import pytest

from ramkit.db.rows import RowMisfit, as_dicts, as_structs


class User(msgspec.Struct):
    id: int
    name: str


async def test_rows(postgres_dsn: str) -> None:
    db = await asyncpg.connect(postgres_dsn)
    try:
        rows = await db.fetch("SELECT 1 AS id, 'a' AS name, now() AS made")
        bad = await db.fetch("SELECT 1 AS id, NULL AS name")
    finally:
        await db.close()
    assert as_structs(rows, User) == [User(1, "a")]
    assert as_dicts(rows, ["name", "id"]) == [{"name": "a", "id": 1}]
    with pytest.raises(RowMisfit, match="name"):
        as_structs(bad, User)
    with pytest.raises(RowMisfit, match="nope"):
        as_dicts(rows, ["nope"])
