"""TLS and Sentinel."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis.asyncio as driver
import trustme
from redis.asyncio.sentinel import Sentinel

from ramkit.redis import Redis, RedisUnavailable
from ramkit.testing.servers import RedisServer
from ramkit.testing.servers.processes import free_port, guard, loopback, until
from tests.redis.helpers import Closing, Folded, eventually


@asynccontextmanager
async def behind_tls(url: str, certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """A TLS port before the server, as its own build may have none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    host, port = urlsplit(url).hostname, urlsplit(url).port
    open_writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(host, port)
        open_writers.extend((writer, outer))
        await asyncio.gather(copy(reader, outer), copy(inner, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_writers:
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()
        await server.wait_closed()


async def test_tls(redis_url: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with behind_tls(redis_url, authority.issue_cert("127.0.0.1")) as port:
        redis = Redis(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem", deadline=5.0)
        await redis.execute("SET", "k", "v" * 100_000)
        assert await asyncio.gather(redis.get(b"k"), redis.get(b"n")) == [b"v" * 100_000, None]
        await redis.aclose()
        theirs = driver.Redis(host="127.0.0.1", port=port, ssl=True, ssl_ca_certs=str(tmp_path / "ca.pem"))
        redis = Redis(theirs, deadline=5.0)
        assert await redis.get(b"k") == b"v" * 100_000
        await redis.aclose()
        await theirs.aclose()
        untrusted = Redis(f"rediss://127.0.0.1:{port}/0", deadline=5.0)
        with pytest.raises(RedisUnavailable):
            await untrusted.get(b"k")
        await untrusted.aclose()


class Watched:
    """A primary, its replica, and the Sentinel that watches them."""

    def __init__(self, primary: RedisServer, replica: RedisServer, port: int) -> None:
        self.primary = primary
        self.replica = replica
        self.host = urlsplit(primary.url).hostname or ""
        self.port = port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis+sentinel://{host}:{self.port}/mymaster/0"


@pytest.fixture
def watched() -> "Iterator[Watched]":
    from ramkit.testing.servers.finding import redis_program

    host = loopback()
    folder = guard().folder("sentinel")
    port = free_port(host)
    with (
        RedisServer.launch("--repl-diskless-sync-delay", "0") as primary,
        RedisServer.launch("--replica-priority", "1") as replica,
    ):
        replica.execute("REPLICAOF", host, primary.port)
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind {host}\ndir {folder}\nprotected-mode no\n"
            f"sentinel monitor mymaster {host} {primary.port} 1\n"
            "sentinel down-after-milliseconds mymaster 300\n"
            "sentinel failover-timeout mymaster 2000\n"
        )
        argv = [str(redis_program().path), str(folder / "sentinel.conf"), "--sentinel"]
        process = guard().start(argv, folder)
        asking = RedisServer(f"redis://{host}:{port}" if ":" not in host else f"redis://[{host}]:{port}")

        def ready() -> bool:
            with suppress(Exception):
                return (
                    len(asking.execute("SENTINEL REPLICAS", "mymaster")) == 1
                    and replica.execute("INFO", "replication")["master_link_status"] == "up"
                )
            return False

        try:
            until(ready, process, "the Sentinel", timeout=30.0)
            yield Watched(primary, replica, port)
        finally:
            process.end()


async def test_sentinel_failover(watched: Watched, closing: Closing) -> None:
    from ramkit.redis import Log

    redis = closing(Redis(watched.url, deadline=2.0, cooldown=0.05))
    theirs = Sentinel([(watched.host, watched.port)], decode_responses=True)
    client = theirs.master_for("mymaster")
    other = closing(Redis(client, deadline=2.0, cooldown=0.05))
    for sentinel in theirs.sentinels:  # redis-py 8.0 cannot close them at once
        closing.push_async_callback(sentinel.aclose)
    closing.push_async_callback(client.aclose)
    fold = Folded()
    log = closing(Log(redis, "test", fold))
    await log.append(b"before", replicas=1)
    await redis.execute("SET", "k", "v")
    assert await other.get(b"k") == b"v"
    await eventually(lambda: watched.replica.execute("GET", "k") == b"v")
    watched.primary.stop()

    async def answered() -> None:
        while True:
            try:
                await redis.execute("SET", "k", "new")
                assert await other.get(b"k") == b"new"
            except RedisUnavailable:
                await asyncio.sleep(0.01)
            else:
                return

    async with asyncio.timeout(40):
        await answered()
    assert watched.replica.execute("GET", "k") == b"new"
    incarnation, _ = await log.append(b"after")
    assert fold.messages == [b"before", b"after"]
    assert len(fold.resets) == 1
    assert incarnation == log.incarnation
