"""What a statement would do to a large table. For development: it asks the planner, and reads nothing."""

import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["explain"]

_STAR = re.compile(r"\bselect\s+(?:distinct\s+)?(?:\w+\.)?\*", re.IGNORECASE)


class _Asked(Protocol):
    async def fetchval(self, query: str, *args: Any) -> Any: ...


async def explain(db: _Asked, query: str, *args: Any, large: int = 8 * 2**20) -> list[str]:
    """What is to be said against a query, a line each: a sequential scan of a table of at least ``large``
    bytes, and ``SELECT *``, which reads and sends columns that nobody asked for."""
    told = ["SELECT * gives columns that nobody asked for"] if _STAR.search(query) else []
    plan: Any = await db.fetchval(f"EXPLAIN (VERBOSE, FORMAT JSON) {query}", *args)
    for node in _nodes(json.loads(plan)[0]["Plan"]):
        if node["Node Type"] == "Seq Scan":
            name = f'"{node["Schema"]}"."{node["Relation Name"]}"'
            size: int = await db.fetchval("SELECT pg_relation_size($1::text::regclass)", name)
            if size >= large:
                told.append(f"{name} ({size // 2**20} MiB) is read from end to end")
    return told


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)
