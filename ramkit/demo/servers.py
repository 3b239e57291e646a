"""The demo's Valkey and Postgres: its own, or the user's."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from redis.exceptions import RedisError

from ramkit.demo.databases import Standby
from ramkit.demo.errors import DemoError
from ramkit.demo.outage import Server
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.redis import Redis
from ramkit.redis.urls import source

__all__ = ["Servers", "start_servers"]

#: Seconds that a user's server has to answer.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are. ``valkey``, ``primary``: those that may be stopped, None for a user's.

    The demo's keys begin with ``prefix``.
    """

    redis: str
    postgres: str
    prefix: str
    valkey: Server | None
    primary: Server | None = None
    standbys: tuple[Standby, ...] = ()

    @asynccontextmanager
    async def cleaned(self) -> AsyncGenerator[None, None]:
        """Looks whether a user's Redis answers, and takes the demo's keys out of it afterwards."""
        if self.valkey is not None:
            yield
            return
        try:
            server = Redis(self.redis, deadline=_PATIENCE)
            await server.get(self.prefix.encode())
        except (ConfigurationError, Unavailable, RedisError) as error:
            raise DemoError(f"Redis cannot be used: {error}") from error
        try:
            yield
        finally:
            # What cannot be deleted now expires by itself, but for the log of purges: a few bytes.
            with suppress(Unavailable, RedisError, OSError):
                await _delete(server, self.redis, f"{self.prefix}*")
            await server.aclose()


async def _delete(server: Redis, url: str, pattern: str) -> None:
    cluster = source(url).open().cluster if source(url).clustered else None
    if cluster is not None:
        async with cluster:
            async for key in cluster.scan_iter(match=pattern, count=1000):
                await cluster.unlink(key)
        return
    cursor: bytes | int = 0
    while True:
        cursor, keys = await server.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        if keys:
            await server.execute("UNLINK", *keys)
        if int(cursor) == 0:
            return


def start_servers(stack: ExitStack, redis: str | None, postgres: str | None) -> Servers:
    """Start what the user did not bring; ``stack`` ends it. Raises ``DemoError``."""
    from ramkit.testing.servers import PostgresServer, RedisServer, ServerUnavailable

    prefix, valkey = f"ramkit-demo-{secrets.token_hex(4)}:", None
    primary, standbys = None, list[Standby]()
    try:
        if redis is None:
            valkey = stack.enter_context(RedisServer.launch())
            redis = valkey.url
        if postgres is None:
            primary = stack.enter_context(PostgresServer.launch())
            standbys = [stack.enter_context(primary.replica()) for _ in range(2)]
            postgres = primary.dsn
    except ServerUnavailable as error:
        message = f"{error}. Servers of your own will do: --redis URL, --postgres DSN"
        raise DemoError(message, status=2) from error
    return Servers(redis, postgres, prefix, valkey, primary, tuple(standbys))
