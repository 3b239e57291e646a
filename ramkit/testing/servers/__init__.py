"""Redis, PostgreSQL, pgbouncer and nginx for tests and demos, without installing anything.

Each kind has a ``launch()`` that gives a context manager; nothing of it, neither process nor file, stays
behind, however the program ends. pytest is not needed here: its fixtures are in ``ramkit.testing.plugin``.

    with PostgresServer.launch() as server:
        print(server.dsn)

What cannot be had raises ``ServerUnavailable``, which says what was looked for.
"""

from ramkit.testing.servers.finding import ServerUnavailable
from ramkit.testing.servers.nginx import NginxServer
from ramkit.testing.servers.pgbouncer import PgBouncer
from ramkit.testing.servers.postgres import PostgresReplica, PostgresServer
from ramkit.testing.servers.redis import RedisCluster, RedisServer

__all__ = [
    "NginxServer",
    "PgBouncer",
    "PostgresReplica",
    "PostgresServer",
    "RedisCluster",
    "RedisServer",
    "ServerUnavailable",
]
