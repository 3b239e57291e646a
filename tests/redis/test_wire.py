import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ramkit.redis import Redis, RedisOutage, RedisUnavailable
from tests.redis.helpers import Closing, eventually

Answer = Callable[[int, asyncio.StreamWriter], None]


@asynccontextmanager
async def scripted(answer: Answer) -> AsyncIterator[str]:
    """A server that says OK while a client logs in, then hands each command to ``answer`` with its number."""
    commands = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal commands
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                if words[0] in (b"MGET", b"PING"):
                    commands += 1
                    answer(commands, writer)
                else:
                    writer.write(b"+OK\r\n")
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()


async def test_replies_come_in_pieces_of_any_size(closing: Closing) -> None:
    def answer(number: int, writer: asyncio.StreamWriter) -> None:
        async def trickle() -> None:
            for byte in b"*1\r\n$5\r\nhello\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0)

        tasks.add(asyncio.ensure_future(trickle()))

    tasks: set[asyncio.Future[None]] = set()
    async with scripted(answer) as url:
        redis = closing(Redis(url, deadline=5.0))
        assert await redis.get(b"k") == b"hello"
        await redis.aclose()


async def test_bytes_that_are_no_reply_cost_the_connection_and_not_the_read(closing: Closing) -> None:
    def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!garbage\r\n" if number == 1 else b"*1\r\n$1\r\nv\r\n")

    async with scripted(answer) as url:
        redis = closing(Redis(url, deadline=5.0))
        assert await redis.get(b"k") == b"v"
        await redis.aclose()


async def test_a_reply_that_nobody_asked_for_is_no_other_caller_s(closing: Closing) -> None:
    loop = asyncio.get_running_loop()
    said: list[str] = []
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))

    def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.write(b"*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n")
        else:
            writer.write(b"*1\r\n$1\r\nc\r\n")

    async with scripted(answer) as url:
        redis = closing(Redis(url, deadline=5.0))
        assert await redis.get(b"1") == b"a"
        assert await redis.get(b"2") == b"c"
        assert len(said) == 1
        await redis.aclose()


@pytest.mark.parametrize("which", [0, 1])
async def test_no_call_waits_for_a_new_connection_while_another_is_idle(closing: Closing, which: int) -> None:
    logins: list[asyncio.StreamWriter] = []
    silent = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        logins.append(writer)
        mute = silent
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            if not mute:
                writer.write(b"*1\r\n$1\r\nv\r\n" if words[0] == b"MGET" else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with asyncio.timeout(10):
        redis = closing(Redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", deadline=5.0))
        while len(logins) < 2:  # more than one connection takes at once
            await asyncio.gather(*(redis.execute("ECHO", b"x" * 600_000) for _ in range(8)))
        silent = True
        logins[which].close()
        await logins[which].wait_closed()
        assert [await redis.get(b"k") for _ in range(5)] == [b"v"] * 5
        await redis.aclose()
    server.close()


async def test_a_reply_that_is_there_before_its_command_answers_none(
    closing: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramkit.redis.endpoint.LANES", 1)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    asked, go = asyncio.Event(), asyncio.Event()

    def answer(number: int, writer: asyncio.StreamWriter) -> None:
        async def twice() -> None:
            asked.set()
            await go.wait()
            writer.write(b"*1\r\n$1\r\na\r\n*1\r\n$4\r\nevil\r\n")

        if number == 1:
            tasks.add(asyncio.ensure_future(twice()))
        else:
            writer.write(b"*1\r\n$1\r\n%d\r\n" % number)

    tasks: set[asyncio.Future[None]] = set()
    async with scripted(answer) as url:
        redis = closing(Redis(url, deadline=5.0))
        first = redis.get(b"1")
        await asked.wait()
        second = redis.get(b"2")  # waits for the only connection
        go.set()
        assert [await first, await second, await redis.get(b"3")] == [b"a", b"2", b"3"]
        await redis.aclose()


async def test_what_is_no_read_is_not_repeated_when_its_connection_breaks(closing: Closing) -> None:
    numbers: list[int] = []

    def answer(number: int, writer: asyncio.StreamWriter) -> None:
        numbers.append(number)
        writer.close()

    async with scripted(answer) as url:
        redis = closing(Redis(url, deadline=5.0))
        with pytest.raises(RedisUnavailable, match="closed"):
            await redis.execute("PING")
        assert numbers == [1]
        await redis.aclose()


async def test_a_redis_that_takes_one_connection_only_is_not_away(closing: Closing) -> None:
    connections = 0
    writers: list[asyncio.StreamWriter] = []
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writers.append(writer)
        if connections > 1:
            writer.write(b"-ERR max number of clients reached\r\n")
            writer.close()
            return
        while data := await reader.read(65536):
            if b"MGET" in data:
                asked.set()
                await refused.wait()
                writer.write(b"*1\r\n$1\r\nv\r\n" * data.count(b"MGET"))
            else:
                writer.write(b"+OK\r\n" * data.count(b"*"))

    refused, events = asyncio.Event(), list[object]()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    redis = closing(Redis(url, deadline=5.0, observers=[events.append]))
    first = redis.get(b"k")
    await asked.wait()
    second = redis.get(b"k")  # the first connection is busy: another one is tried
    await eventually(lambda: connections == 3)  # twice
    refused.set()
    assert await asyncio.gather(first, second) == [b"v", b"v"]
    assert await redis.get(b"k") == b"v"
    assert not [event for event in events if isinstance(event, RedisOutage)]
    await redis.aclose()
    server.close()
    for writer in writers:
        writer.close()


async def test_a_loop_that_ends_closes_what_was_not_closed(redis_url: str) -> None:
    async def main() -> bytes | None:
        redis = Redis(redis_url, deadline=5.0)
        await redis.execute("SET", "k", "v")
        return await redis.get(b"k")

    # a connection left open is a ResourceWarning, which fails the test
    assert await asyncio.to_thread(asyncio.run, main()) == b"v"


async def test_a_task_that_somebody_cancels_costs_its_own_calls_and_no_deadline(
    redis_url: str, closing: Closing
) -> None:
    async def cancel() -> None:
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("ramkit.redis ")]
        assert tasks
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    events = list[object]()
    redis = closing(Redis(redis_url, deadline=30.0, observers=[events.append]))
    await redis.execute("SET", "k", "v")
    await cancel()  # at rest
    async with asyncio.timeout(10):
        assert await redis.get(b"k") == b"v"
        under_way = asyncio.ensure_future(_outcome(redis.execute("BLPOP", "nothing", 20)))
        await asyncio.sleep(0.05)
        await cancel()  # while a command is under way
        assert isinstance(await under_way, RedisUnavailable)
        assert await redis.get(b"k") == b"v"
        await redis.aclose()
        connecting = asyncio.ensure_future(_outcome(redis.get(b"k")))
        await asyncio.sleep(0)
        await cancel()  # while it connects
        assert isinstance(await connecting, RedisUnavailable)
        assert await redis.get(b"k") == b"v"
    assert not [event for event in events if isinstance(event, RedisOutage)]


async def _outcome(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except RedisUnavailable as error:
        return error
