"""The seam to redis-py: what of it is used, and how connections of our own are made from its settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from ramkit.redis.batching import script_command
from ramkit.redis.errors import RedisRefused
from ramkit.redis.script import Script

__all__ = [
    "FAILURES",
    "AskError",
    "BusyLoadingError",
    "Connect",
    "Connection",
    "MovedError",
    "NoScriptError",
    "ReadOnlyError",
    "ResponseError",
    "TryAgainError",
    "call",
    "connector",
    "drop",
    "opened",
    "wrapped",
]

#: what a broken or refused connection raises
FAILURES: tuple[type[Exception], ...] = (RedisError, RedisClusterException, OSError, TimeoutError)


class Connection(Protocol):
    """One of redis-py's asyncio connections."""

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool = False) -> None: ...  # noqa: FBT001, FBT002 - redis-py's signature

    async def can_read(self) -> bool: ...

    async def send_packed_command(self, command: Iterable[bytes], check_health: bool = True) -> None: ...  # noqa: FBT001, FBT002 - redis-py's signature

    async def read_response(self, disable_decoding: bool = False) -> Any: ...  # noqa: FBT001, FBT002 - redis-py's signature


Connect = Callable[[], Connection]

#: Deadlines, retries and health are ours; RESP2 replies have one shape; maintenance notices move
#: connections of the pool that they came from.
_OURS: dict[str, Any] = {
    "decode_responses": False,
    "health_check_interval": 0,
    "protocol": 2,
    "retry": None,
    "retry_on_error": [],
    "retry_on_timeout": False,
    "socket_timeout": None,
}
_DROPPED = (
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler",
    "orig_host_address",
    "orig_socket_timeout",
    "orig_socket_connect_timeout",
    "response_callbacks",
)


def connector(connection_class: Callable[..., Any], settings: Mapping[str, Any], **changed: Any) -> Connect:
    """Makes connections with these settings (address, credentials, TLS, db, master discovery)."""
    kwargs = {key: value for key, value in settings.items() if key not in _DROPPED} | changed

    def connect() -> Connection:
        connection: Connection = connection_class(**(kwargs | _OURS | {"retry_on_error": []}))
        return connection

    return connect


async def opened(connect: Connect) -> Connection:
    """A connection, connected. Raises what is in ``FAILURES``."""
    connection = connect()
    try:
        await connection.connect()
    except BaseException:
        await drop(connection)
        raise
    return connection


async def drop(connection: Connection | None) -> None:
    """Close without waiting for the server; never raises."""
    if connection is not None:
        try:
            await connection.disconnect(nowait=True)
        except FAILURES:
            return


async def call(connection: Connection, script: Script, keys: Sequence[bytes], args: Sequence[Any]) -> Any:
    """Run a script on a connection of the caller's own."""
    await connection.send_packed_command([script_command(script, keys, args)], check_health=False)
    try:
        return await connection.read_response(disable_decoding=True)
    except NoScriptError:
        whole = script_command(script, keys, args, whole=True)
        await connection.send_packed_command([whole], check_health=False)
        return await connection.read_response(disable_decoding=True)


def wrapped(error: Exception) -> Exception:
    """The seam at which redis-py's error replies become ours."""
    if not isinstance(error, ResponseError):
        return error
    refused = RedisRefused(str(error))
    refused.__cause__ = error
    return refused
