"""PostgreSQL: pools, replicas, and nobody reads older than they wrote.

    db = Database("postgresql://app@primary/shop", replicas=["postgresql://app@replica/shop"])

    async def rename(city: int, name: str) -> None:
        async with db.write() as connection:
            await connection.execute("UPDATE city SET name = $2 WHERE id = $1", city, name)

    async def city(number: int):
        return await db.fetchrow("SELECT id, name FROM city WHERE id = $1", number)

See docs/db.md.
"""

from ramkit.db.core.keyset import Column
from ramkit.db.core.pages import Cursors
from ramkit.db.database import Database, Position
from ramkit.db.errors import DatabaseUnavailable, DeadlineExceeded, PoolTimeout, ReadOnly
from ramkit.db.events import Failover, PoolWait, ReplicaLag, ServerEjected, SlowQuery
from ramkit.db.middleware import ConsistencyMiddleware
from ramkit.db.pages import CursorPage, InvalidPage, Page, PageRequest, cursor_page, paginate
from ramkit.db.policy import DatabasePolicy, Server
from ramkit.db.rows import RowMisfit, as_dicts, as_structs

__all__ = [
    "Column",
    "ConsistencyMiddleware",
    "CursorPage",
    "Cursors",
    "Database",
    "DatabasePolicy",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "Failover",
    "InvalidPage",
    "Page",
    "PageRequest",
    "PoolTimeout",
    "PoolWait",
    "Position",
    "ReadOnly",
    "ReplicaLag",
    "RowMisfit",
    "Server",
    "ServerEjected",
    "SlowQuery",
    "as_dicts",
    "as_structs",
    "cursor_page",
    "paginate",
]
