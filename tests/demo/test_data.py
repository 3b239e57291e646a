from contextlib import aclosing
from typing import Any

import asyncpg
import pytest

from ramkit.db import Database
from ramkit.demo.data import SCHEMA, world
from ramkit.demo.errors import DemoError
from ramkit.demo.places import PAGE, Places

_HERE = "SELECT count(*) FROM pg_namespace WHERE nspname = $1"


async def fetchval(dsn: str, query: str, *args: Any) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query, *args)
    finally:
        await connection.close()


async def execute(dsn: str, *queries: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for query in queries:
            await connection.execute(query)
    finally:
        await connection.close()


async def test_the_world_is_there_and_gone_afterwards(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as (countries, cities):
        assert countries > 200
        assert cities > 30_000
        async with aclosing(Database(postgres_dsn, min_size=1)) as db:
            places = Places(db)
            assert len(await places.countries()) == countries
            iceland = await places.country("IS")
            assert iceland is not None
            assert iceland["capital"] == "Reykjavik"
            assert iceland["largest"][0]["name"] == "Reykjavík"
            cities_there = await places.cities("IS", 1)
            assert iceland["cities"] == len(cities_there) < PAGE
            assert iceland["urban_population"] == sum(city["population"] for city in cities_there)
            assert await places.country("XX") is None
            assert await places.city(1) is None
            assert await places.change(1, 5) is None
    assert await fetchval(postgres_dsn, _HERE, SCHEMA) == 0


async def test_pages_search_and_changes(postgres_dsn: str) -> None:
    async with world(postgres_dsn), aclosing(Database(postgres_dsn, min_size=1)) as db:
        places = Places(db)
        pages = [*await places.cities("DE", 1), *await places.cities("DE", 2)]
        assert len({city["id"] for city in pages}) == 2 * PAGE
        sizes = [city["population"] for city in pages]
        assert sizes == sorted(sizes, reverse=True)
        assert (await places.search("東京"))[0]["name"] == "Tokyo"
        assert await places.search("100%_sure\\") == []
        berlin = await places.change(2950159, 7)
        assert berlin is not None
        assert berlin == await places.city(2950159)
        assert berlin["population"] == 7


async def test_what_a_killed_demo_left_is_replaced(postgres_dsn: str) -> None:
    mark = "made by ramkit demo, dropped when it ends"
    await execute(postgres_dsn, f"CREATE SCHEMA {SCHEMA}", f"COMMENT ON SCHEMA {SCHEMA} IS '{mark}'")
    async with world(postgres_dsn) as (_, cities):
        assert cities > 0
    assert await fetchval(postgres_dsn, _HERE, SCHEMA) == 0


async def test_a_schema_of_somebody_elses_is_left_alone(postgres_dsn: str) -> None:
    await execute(postgres_dsn, f"CREATE SCHEMA {SCHEMA}")
    with pytest.raises(DemoError, match="did not make"):
        async with world(postgres_dsn):
            pass
    assert await fetchval(postgres_dsn, _HERE, SCHEMA) == 1


async def test_two_demos_do_not_share_a_database(postgres_dsn: str) -> None:
    async with world(postgres_dsn):
        with pytest.raises(DemoError, match="another ramkit demo"):
            async with world(postgres_dsn):
                pass
        assert await fetchval(postgres_dsn, _HERE, SCHEMA) == 1


@pytest.mark.parametrize("dsn", ["postgres://nobody@127.0.0.1:1/none", "nonsense"])
async def test_a_postgres_that_cannot_be_used_is_named_as_such(dsn: str) -> None:
    with pytest.raises(DemoError, match="Postgres cannot be used"):
        async with world(dsn):
            pass
