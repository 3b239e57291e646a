"""From a URL, or from a client that the user has, to what connections are made of."""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from redis.asyncio import Redis as Client
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from ramkit.kernel.errors import ConfigurationError
from ramkit.redis.driver import Connect, connector

__all__ = ["Source", "source"]

_ARGUMENT = "url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is open on one loop: a server's connections, or a cluster's topology."""

    connect: Connect | None = None
    cluster: Any = None  #: a RedisCluster; else what has to stay alive meanwhile
    closers: tuple[Callable[[], Awaitable[None]], ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where Redis is: ``name`` for messages, without credentials; ``open`` on the running loop."""

    name: str
    clustered: bool
    open: Callable[[], Opened]


def source(url: Any) -> Source:
    """Raises ConfigurationError for ``url`` when it is none of the forms that docs/redis.md lists."""
    if isinstance(url, str):
        return _of_url(url)
    cluster: Any = url
    if isinstance(url, RedisCluster):
        return Source(name="the user's cluster", clustered=True, open=lambda: Opened(cluster=cluster))
    if isinstance(url, Client):
        pool: Any = url.connection_pool
        settings = pool.connection_kwargs
        connect = connector(pool.connection_class, settings)
        name = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
        # the connections of a Sentinel's client find the primary through the pool: keep it alive
        return Source(name=str(name), clustered=False, open=lambda: Opened(connect=connect, cluster=pool))
    wanted = "a URL, redis.asyncio.Redis or redis.asyncio.RedisCluster"
    raise ConfigurationError(_ARGUMENT, f"{wanted}, not {type(url).__name__}")


def _of_url(url: str) -> Source:
    try:
        parts, hosts = _split(url)
        scheme, _, kind = parts.scheme.partition("+")
        if scheme not in ("redis", "rediss", "unix") or kind not in ("", "cluster", "sentinel"):
            raise ValueError(f"no such scheme: {parts.scheme or '(none)'}")
        if kind and scheme == "unix":
            raise ValueError("a cluster or Sentinel has no unix socket")
        if kind == "cluster":
            return _cluster(parts, scheme, hosts)
        if kind == "sentinel":
            return _sentinel(parts, scheme, hosts)
        return _server(url, parts)
    except (ValueError, TypeError, RedisError, RedisClusterException, OSError) as error:
        raise ConfigurationError(_ARGUMENT, str(error)) from None


def _server(url: str, parts: SplitResult) -> Source:
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("a unix URL needs a path")
    path = parts.path.strip("/")
    if parts.scheme != "unix" and path and not path.isdigit():
        raise ValueError(f"the database is a number, not {path!r}")
    pools: Any = ConnectionPool
    pool = pools.from_url(url)
    connect = connector(pool.connection_class, pool.connection_kwargs)
    connect()  # so that a wrong option is found now
    name = parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
    return Source(name=name, clustered=False, open=lambda: Opened(connect=connect))


def _split(url: str) -> tuple[SplitResult, list[str]]:
    """The URL with the first of its hosts, and all of them: urlsplit takes no list with IPv6 in it."""
    scheme, _, rest = url.partition("://")
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, listed = netloc.rpartition("@")
    hosts = listed.split(",")
    return urlsplit(f"{scheme}://{user}{at}{hosts[0]}{rest[len(netloc) :]}"), hosts


def _addresses(hosts: Iterable[str], port: int) -> list[tuple[str, int]]:
    addresses: list[tuple[str, int]] = []
    for one in hosts:
        at = urlsplit(f"//{one}")
        if not at.hostname:
            raise ValueError("a host is missing")
        addresses.append((unquote(at.hostname), at.port or port))
    return addresses


def _options(parts: SplitResult, scheme: str, host: tuple[str, int]) -> dict[str, Any]:
    """Credentials and query options as redis-py reads them from a URL of one server."""
    user, at, _ = parts.netloc.rpartition("@")
    where = f"[{host[0]}]:{host[1]}" if ":" in host[0] else f"{host[0]}:{host[1]}"
    single: Any = parse_url(urlunsplit((scheme, f"{user}{at}{where}", "", parts.query, "")))
    options = dict(single)
    for key in ("host", "port", "connection_class"):
        options.pop(key, None)
    if scheme == "rediss":
        options["ssl"] = True
    return options


def _cluster(parts: SplitResult, scheme: str, listed: Iterable[str]) -> Source:
    if parts.path.strip("/") not in ("", "0"):
        raise ValueError("a cluster has database 0 only")
    hosts = _addresses(listed, 6379)
    options = _options(parts, scheme, hosts[0])
    options.pop("db", None)

    def open_() -> Opened:
        nodes = [ClusterNode(host, port) for host, port in hosts]
        cluster: Any = RedisCluster(startup_nodes=nodes, **options)

        async def close() -> None:
            await cluster.nodes_manager.aclose()
            await cluster.nodes_manager.aclose("startup_nodes")

        return Opened(cluster=cluster, closers=(close,))

    open_()  # it connects later: this finds wrong options
    return Source(name=",".join(f"{host}:{port}" for host, port in hosts), clustered=True, open=open_)


def _sentinel(parts: SplitResult, scheme: str, listed: Iterable[str]) -> Source:
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("a Sentinel URL names its primary: redis+sentinel://host:26379/mymaster/0")
    if db and not db.isdigit():
        raise ValueError(f"the database is a number, not {db!r}")
    hosts = _addresses(listed, 26379)
    options = _options(parts, scheme, hosts[0])
    credentials = [key for key in ("username", "password") if f"sentinel_{key}" in options]
    asking = {key: options.pop(f"sentinel_{key}") for key in credentials}
    timeout = options.get("socket_connect_timeout", 1.0)
    asking |= {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    if scheme == "rediss":
        asking |= {key: value for key, value in options.items() if key.startswith("ssl")}
    options["db"] = int(db or options.get("db", 0))

    def open_() -> Opened:
        sentinels: Any = Sentinel
        sentinel = sentinels(hosts, sentinel_kwargs=asking, **options)
        pool = sentinel.master_for(service).connection_pool
        connect = connector(pool.connection_class, pool.connection_kwargs)
        connect()
        # redis-py 8.0 cannot close a Sentinel as a whole
        return Opened(
            connect=connect, cluster=pool, closers=tuple(each.aclose for each in sentinel.sentinels)
        )

    open_()
    return Source(name=service, clustered=False, open=open_)
