"""What a statement would do to a large table. For development: it asks the planner, and reads nothing."""

import json
from collections.abc import Iterator
from typing import Any, Protocol

from ramkit.db.core.stars import gives_all_columns

__all__ = ["explain"]

_SIZE = "SELECT pg_relation_size(format('%I.%I', $1::text, $2::text)::regclass)"


class _Asked(Protocol):
    async def fetchval(self, query: str, *args: Any) -> Any: ...


async def explain(db: _Asked, query: str, *args: Any, large: int = 8 * 2**20) -> list[str]:
    """What is to be said against a query, a line each: a sequential scan of a table of at least ``large``
    bytes, and ``SELECT *``, which reads and sends columns that nobody asked for."""
    told = ["SELECT * gives columns that nobody asked for"] if gives_all_columns(query) else []
    plan: Any = await db.fetchval(f"EXPLAIN (VERBOSE, FORMAT JSON) {query}", *args)
    for node in _nodes(json.loads(plan)[0]["Plan"]):
        if node["Node Type"] == "Seq Scan":
            schema, name = node["Schema"], node["Relation Name"]
            size: int = await db.fetchval(_SIZE, schema, name)
            if size >= large:
                told.append(f'"{schema}"."{name}" ({size // 2**20} MiB) is read from end to end')
    return told


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)
