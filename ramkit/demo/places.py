"""What the service asks of Postgres, and the shapes of its answers."""

from typing import Any

from pydantic import BaseModel, Field

from ramkit.db import Database

__all__ = ["PAGE", "City", "CityChange", "Country", "CountryPage", "Places"]

#: Cities on a page.
PAGE = 50

_COUNTRIES = "SELECT * FROM ramkit_demo.countries ORDER BY name"
_COUNTRY = """
SELECT c.*, count(t.*) AS cities, coalesce(sum(t.population), 0)::bigint AS urban_population
FROM ramkit_demo.countries c LEFT JOIN ramkit_demo.cities t ON t.country = c.code
WHERE c.code = $1 GROUP BY c.code"""
_CITIES = """
SELECT * FROM ramkit_demo.cities WHERE $1::text IS NULL OR country = $1
ORDER BY population DESC, id LIMIT $2 OFFSET $3"""
_CITY = "SELECT * FROM ramkit_demo.cities WHERE id = $1"
_CHANGE = "UPDATE ramkit_demo.cities SET population = $2 WHERE id = $1 RETURNING *"
_SEARCH = """
SELECT t.* FROM ramkit_demo.cities t JOIN ramkit_demo.names n ON n.city = t.id
WHERE n.names ILIKE $1 ORDER BY t.population DESC, t.id LIMIT 20"""


class City(BaseModel):
    """A city; ``id`` is GeoNames' own."""

    id: int
    country: str
    name: str
    population: int
    latitude: float
    longitude: float
    timezone: str


class CityChange(BaseModel):
    """What may be changed of a city."""

    population: int = Field(ge=0, le=100_000_000)


class Country(BaseModel):
    """A country by its ISO 3166 code."""

    code: str
    name: str
    continent: str
    capital: str
    population: int
    area_km2: float
    currency: str
    languages: str


class CountryPage(Country):
    """A country with what its cities add up to."""

    cities: int
    urban_population: int
    largest: list[City]


class Places:
    """Queries; reads go to a replica that is at or past the request's floor, writes to the primary."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def countries(self) -> list[dict[str, Any]]:
        """All countries by name."""
        return _dicts(await self._db.fetch(_COUNTRIES))

    async def country(self, code: str) -> dict[str, Any] | None:
        """A country with the sums over its cities and the ten largest of them."""
        row = await self._db.fetchrow(_COUNTRY, code)
        if row is None:
            return None
        return {**row, "largest": (await self.cities(code, 1))[:10]}

    async def cities(self, country: str | None, page: int) -> list[dict[str, Any]]:
        """A page of cities, the largest first."""
        return _dicts(await self._db.fetch(_CITIES, country, PAGE, (page - 1) * PAGE))

    async def city(self, city: int) -> dict[str, Any] | None:
        """One city."""
        row = await self._db.fetchrow(_CITY, city)
        return dict(row) if row is not None else None

    async def change(self, city: int, population: int) -> dict[str, Any] | None:
        """Set a city's population; the city as it is now."""
        async with self._db.write() as connection:
            row = await connection.fetchrow(_CHANGE, city, population)
        return dict(row) if row is not None else None

    async def search(self, text: str) -> list[dict[str, Any]]:
        """The twenty largest cities with that text in one of their names, in any language and script."""
        pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        return _dicts(await self._db.fetch(_SEARCH, pattern))


def _dicts(rows: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]
