"""Nobody reads older than they wrote: two processes, a primary, a replica whose replay is paused."""

import asyncio
import json
import os
import sys

import pytest

from ramkit.testing.servers import PostgresServer
from ramkit.testing.servers.postgres import fetch

ROUNDS = 2000 if os.environ.get("RAMKIT_SOAK") else 300


class Process:
    """Another process with the app of ``rounds``."""

    def __init__(self, arguments):
        self._arguments = arguments

    async def __aenter__(self):
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.db.rounds", json.dumps(self._arguments),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert await self._process.stdout.readline() == b"ready\n"
        return self

    async def __aexit__(self, *_):
        self._process.stdin.close()
        await self._process.wait()

    async def ask(self, method, path="/", query="", floor=""):
        self._process.stdin.write(json.dumps([method, path, query, floor]).encode() + b"\n")
        status, body, floor, x_cache = json.loads(await self._process.stdout.readline())
        assert status == 200
        return body, floor, x_cache


@pytest.fixture
def arguments(postgres_dsn, postgres_replica, redis_url):
    fetch(postgres_dsn, "CREATE TABLE notes (id int PRIMARY KEY, text text NOT NULL)")
    fetch(postgres_dsn, "INSERT INTO notes VALUES (1, 'none')")
    postgres_replica.caught_up()
    return [postgres_dsn, postgres_replica.dsn, redis_url, {}]


@pytest.mark.parametrize("commit", ["on", "off"])
async def test_while_the_replica_replays_nothing(arguments, postgres_replica, commit):
    """Breaks when a write's position is not what a replica must have replayed: by synchronous_commit=off, for
    one, pg_current_wal_lsn() lacks the write. What is written is not what is read, so no purge helps."""
    arguments[3] = {"synchronous_commit": commit}
    postgres_replica.pause()
    stale = unfloored = 0
    async with Process(arguments) as one, Process(arguments) as other:
        for number in range(ROUNDS):
            _, floor, _ = await one.ask("PUT", "/other", str(number))
            assert floor
            body, _, _ = await other.ask("GET", floor=floor)
            stale += body != str(number)
            if number % 10 == 0:
                body, _, _ = await other.ask("GET")
                unfloored += body != str(number)
        postgres_replica.resume()
    assert stale == 0
    assert unfloored == len(range(0, ROUNDS, 10)), "without the floor all of them are old: the test can fail"


async def test_with_a_synchronous_replica(redis_url):
    """A commit is in its replica's log, and not yet visible there."""
    with PostgresServer.launch() as primary, primary.replica() as replica:
        primary.execute("CREATE TABLE notes (id int PRIMARY KEY, text text NOT NULL)")
        primary.execute("INSERT INTO notes VALUES (1, 'none')")
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        replica.caught_up()
        replica.pause()
        arguments = [primary.dsn, replica.dsn, redis_url, {}]
        stale = unfloored = 0
        async with Process(arguments) as one, Process(arguments) as other:
            for number in range(ROUNDS):
                _, floor, _ = await one.ask("PUT", "/other", str(number))
                stale += (await other.ask("GET", floor=floor))[0] != str(number)
                unfloored += (await other.ask("GET"))[0] != str(number)
    assert (stale, unfloored) == (0, ROUNDS)


async def test_while_the_replica_replays_as_fast_as_it_can(arguments):
    stale = 0
    async with Process(arguments) as one, Process(arguments) as other:
        for number in range(ROUNDS):
            _, floor, _ = await one.ask("PUT", "/other", str(number))
            body, _, _ = await other.ask("GET", floor=floor)
            stale += body != str(number)
    assert stale == 0


async def test_what_a_write_purged_is_read_anew_by_everybody(arguments, postgres_replica):
    """The purge takes the write's position along, and a render after it is not read from who lacks that."""
    postgres_replica.pause()
    async with Process(arguments) as one, Process(arguments) as other:
        for number in range(ROUNDS // 10):
            await other.ask("GET", "/cached")
            await one.ask("PUT", "/cached", str(number))
            async with asyncio.timeout(10):  # once the other process has read the log
                while (await other.ask("GET", "/cached"))[0] != str(number):
                    await asyncio.sleep(0.001)
            assert await other.ask("GET", "/cached") == (str(number), "", "HIT")
        postgres_replica.resume()


async def test_through_the_cache(arguments, postgres_replica):
    """The writes purge another URL: what shows them is cached, and stays so for those who wrote nothing."""
    postgres_replica.pause()
    stale, hits, asked = 0, 0, 0
    async with Process(arguments) as one, Process(arguments) as other:
        await other.ask("GET", "/cached")
        for number in range(ROUNDS):
            _, floor, _ = await one.ask("PUT", "/other", str(number))
            body, _, x_cache = await other.ask("GET", "/cached")
            asked, hits = asked + 1, hits + (x_cache == "HIT")
            body, _, _ = await other.ask("GET", "/cached", floor=floor)
            stale += body != str(number)
            body, _, _ = await one.ask("GET", "/cached", floor=floor)
            stale += body != str(number)
        postgres_replica.resume()
    assert stale == 0
    assert hits == asked
