import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as driver

from ramkit.kernel.errors import ConfigurationError
from ramkit.redis import Redis, RedisUnavailable, Script
from ramkit.testing.servers import RedisServer
from tests.redis.helpers import Closing, eventually


async def test_bytes_also_from_a_client_that_decodes(redis_url: str, closing: Closing) -> None:
    theirs = closing(driver.Redis.from_url(redis_url, decode_responses=True, protocol=3))
    redis = closing(Redis(theirs, deadline=5.0))
    await redis.execute("SET", "k", b"\xff\x00")
    await redis.execute("HSET", "h", "a", "1")
    assert await redis.get(b"k") == b"\xff\x00"
    assert await redis.execute("HGETALL", "h") == [b"a", b"1"]


async def test_their_client_is_not_closed(redis_url: str, closing: Closing) -> None:
    theirs = closing(driver.Redis.from_url(redis_url, db=0))
    await theirs.set("k", "v")
    redis = Redis(theirs, deadline=5.0)
    assert await redis.get(b"k") == b"v"
    connection = await theirs.connection_pool.get_connection()
    await redis.aclose()
    assert connection.is_connected
    await theirs.connection_pool.release(connection)
    assert await theirs.get("k") == b"v"


async def test_their_database_and_password_are_used(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis_server.execute("ACL", "SETUSER", "someone", "on", ">word", "~*", "+@all")
    try:
        theirs = closing(driver.Redis.from_url(redis_url[:-1] + "3", username="someone", password="word"))
        redis = closing(Redis(theirs, deadline=5.0))
        assert await redis.execute("ACL", "WHOAMI") == b"someone"
        await redis.execute("SET", "only-there", "v")
        assert redis_server.execute("EXISTS", "only-there") == 0
        assert await theirs.get("only-there") == b"v"
        host = redis_url.removeprefix("redis://").removesuffix("/0")
        wrong = closing(Redis(f"redis://someone:wrong@{host}/0"))
        with pytest.raises(RedisUnavailable, match="invalid username-password"):
            await wrong.get(b"k")
    finally:
        redis_server.execute("ACL", "DELUSER", "someone")


async def test_unix_socket(closing: Closing) -> None:
    with RedisServer.launch("--unixsocket", "s.sock") as server:
        folder = Path(server.execute("CONFIG GET", "dir")["dir"])
        redis = closing(Redis(f"unix://{folder}/s.sock?db=0", deadline=5.0))
        await redis.execute("SET", "k", "v")
        assert await redis.get(b"k") == b"v"
        await redis.aclose()


async def test_closed_and_used_again(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    for _ in range(2):
        await redis.start()
        await redis.execute("SET", "k", "v")
        assert await asyncio.gather(*(redis.get(b"k") for _ in range(9))) == [b"v"] * 9
        assert redis_server.connections()
        await redis.aclose()
        await redis.aclose()
        await eventually(lambda: not redis_server.connections())
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_calls_under_way_when_it_closes(redis_url: str, redis_server: RedisServer) -> None:
    redis = Redis(redis_url, deadline=60.0)
    await redis.get(b"k")
    redis_server.pause()
    call = redis.execute("INCR", "n")
    await asyncio.sleep(0)
    await redis.aclose()
    with pytest.raises(RedisUnavailable, match="closed"):
        await call
    redis_server.resume()


def test_another_loop_restarts_it(redis_url: str) -> None:
    redis = Redis(redis_url, deadline=5.0)

    async def once() -> bytes | None:
        await redis.execute("SET", "k", "v")
        return await redis.get(b"k")

    for _ in range(2):
        # asyncio.run cancels what is left, and lanes close their connections when they are cancelled
        assert asyncio.run(once()) == b"v"


async def test_cancelled_callers_harm_nobody(redis_url: str, closing: Closing) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    for number in range(50):
        await redis.execute("SET", f"k{number}", number)

    async def read(number: int) -> bytes | None:
        return await redis.get(b"k%d" % number)

    for wait in range(6):
        tasks = [asyncio.create_task(read(number)) for number in range(50)]
        await turns(wait)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[1::2] == [b"%d" % number for number in range(1, 50, 2)]
        assert await read(7) == b"7"


async def test_killed_connections_cost_readers_nothing(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    await redis.execute("SET", "k", "v")
    for _ in range(10):
        redis_server.execute("CLIENT", "KILL", "TYPE", "normal")
        assert await asyncio.gather(*(redis.get(b"k") for _ in range(9))) == [b"v"] * 9
        redis_server.execute("CLIENT", "KILL", "TYPE", "normal")
        await turns(3)  # the loop hears of it; a write is not repeated, but was not begun either
        assert await redis.execute("INCR", "n") > 0
    assert redis.available


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_reads_are_repeated_on_a_fresh_connection(closing: Closing) -> None:
    """A server that drops the first connection that asks it something, and answers the next."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.read(65536):
            if b"MGET" in line or b"INCR" in line:
                asked.append(line)
                if len(asked) == 1:
                    break
                writer.write(b"*1\r\n$1\r\nv\r\n")
            else:
                writer.write(b"+OK\r\n" * line.count(b"SETINFO"))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    redis = Redis(f"redis://127.0.0.1:{port}", deadline=10.0)
    read, write = redis.get(b"k"), redis.execute("INCR", "n")
    outcomes = await asyncio.gather(read, write, return_exceptions=True)
    assert outcomes[0] == b"v"
    assert isinstance(outcomes[1], RedisUnavailable)
    assert [b"INCR" in line for line in asked] == [True, False]
    assert redis.available
    await redis.aclose()
    server.close()
    await server.wait_closed()


async def test_wrong_arguments(redis_url: str, closing: Closing) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    with pytest.raises(TypeError):
        redis.execute()
    with pytest.raises(TypeError):
        redis.execute("SET", "k", None)
    with pytest.raises(TypeError):
        redis.run(Script("v", "return {}", vector=True), [b"a", b"b"])
    for options in ({"deadline": 0}, {"cooldown": -1}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            Redis(redis_url, **options)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "memory://",
        "redis://localhost/db",
        "redis://localhost:port",
        "redis://localhost?db=x",
        "redis://localhost?no_such_option=1",
        "unix://",
        "unix+cluster:///x",
        "redis+cluster://",
        "redis+cluster://h:1,",
        "redis+cluster://h/3",
        "redis+cluster://h?no_such_option=1",
        "redis+sentinel://h:26379",
        "redis+sentinel://h:26379/name/x",
        "redis+sentinel://h:26379/name?no_such_option=1",
        "rediss://localhost?ssl_cert_reqs=perhaps",
        None,
        5,
        object(),
    ],
)
def test_wrong_urls_name_the_argument(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="^url: ") as caught:
        Redis(url)
    assert caught.value.argument == "url"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://user:secret@host:7000/2", "host:7000"),
        ("redis://[::1]/2", "::1:6379"),
        ("rediss://host?ssl_cert_reqs=none", "host:6379"),
        ("unix:///run/redis.sock?db=2", "/run/redis.sock"),
        ("redis+cluster://user:secret@a:7000,b", "a:7000,b:6379"),
        ("rediss+cluster://a:7000", "a:7000"),
        ("redis+sentinel://:secret@a,[::1]:7000/mymaster/0?sentinel_password=x", "mymaster"),
        ("rediss+sentinel://a/mymaster", "mymaster"),
    ],
)
def test_urls_and_no_secrets_in_names(url: str, name: str) -> None:
    assert repr(Redis(url)) == f"<ramkit.redis.Redis {name}>"


async def test_nothing_listens(closing: Closing) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        for url in (f"redis+cluster://127.0.0.1:{port}", f"redis+sentinel://127.0.0.1:{port}/m"):
            redis = closing(Redis(url, deadline=60.0))
            async with asyncio.timeout(20):
                with pytest.raises(RedisUnavailable):
                    await redis.get(b"k")
            assert not redis.available


async def test_clients_are_told_nothing_of_the_server(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis = closing(Redis(redis_url))
    redis_server.stop()
    with pytest.raises(RedisUnavailable, match=str(redis_server.port)) as caught:
        await redis.get(b"k")
    assert caught.value.status_code == 503
    assert caught.value.headers == {"retry-after": "1"}
    assert str(redis_server.port) not in caught.value.detail
    redis_server.start()


async def test_replies_never_reach_another_caller(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    """Callers that are cancelled at any moment, and connections that are killed at any moment."""
    redis = closing(Redis(redis_url, deadline=10.0))
    echo = Script("echo", "return {KEYS[1]}", vector=True)
    dice = random.Random(7)
    for number in range(100):
        await redis.execute("SET", f"k{number}", number)
    right: list[int] = []

    async def ask(number: int) -> None:
        kind = dice.randrange(3)
        if kind == 0:
            assert await redis.get(b"k%d" % number) == b"%d" % number
        elif kind == 1:
            assert await redis.execute("ECHO", number) == b"%d" % number
        else:
            assert await redis.run(Script("id", "return KEYS[1]"), [b"%d" % number]) == b"%d" % number
        right.append(number)

    for round_ in range(60):
        tasks = [asyncio.create_task(ask(dice.randrange(100))) for _ in range(60)]
        await turns(dice.randrange(8))
        for task in dice.sample(tasks, 20):
            task.cancel()
        if round_ % 5 == 0:
            redis_server.execute("CLIENT", "KILL", "TYPE", "normal")
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError | RedisUnavailable), outcome
    assert len(right) > 1000
    assert await redis.run(echo, [b"k"]) == b"k"


@pytest.mark.parametrize("command", [("SUBSCRIBE", "a", "b"), (b"multi",), ("client", "reply", "off")])
async def test_commands_about_the_connection_are_refused(
    redis_url: str, closing: Closing, command: Any
) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    with pytest.raises(ValueError, match="shared"):
        await redis.execute(*command)
    assert await redis.execute("ECHO", "mine") == b"mine"


async def test_calls_of_several_keys_go_as_one(redis_url: str, closing: Closing) -> None:
    source = """
        local replies, at = {}, 0
        for call, count in ipairs(ARGV) do
          replies[call] = table.concat(KEYS, '', at + 1, at + count)
          at = at + count
        end
        return replies
    """
    joined = Script("joined", source, vector=True, several=True)
    redis = closing(Redis(redis_url, deadline=5.0))
    calls = [[b"a"], [b"b", b"c"], [b"d"], [b"e", b"f", b"g"]]
    assert await asyncio.gather(*(redis.run(joined, keys, [len(keys)]) for keys in calls)) == [
        b"".join(keys) for keys in calls
    ]
    with pytest.raises(TypeError):
        redis.run(joined, [])
