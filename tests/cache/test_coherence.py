"""Two processes, thousands of interleaved reads and purges, and everything that can happen to Redis."""

import asyncio

import pytest

from tests.cache.coherence import Clients, processes

STALE = ("stale for the writer", "stale though read", "stale past the bound", "errors")


async def check_coherent(redis_server, folder, *, reads, floors=True, writes=0.2, trouble=None):
    """Clients at work until so many reads are done, and the trouble is over."""
    async with processes(redis_server.url, folder) as (truth, sockets):
        clients = Clients(truth, sockets, floors=floors, writes=writes)

        async def end():
            if trouble is not None:
                await trouble(clients)
            enough = clients.seen["reads"] + reads
            await reached(lambda: clients.seen["reads"] >= enough)
            clients.stopped = True

        await asyncio.gather(clients.run(12), end())
    print(dict(clients.seen), dict(clients.outages))
    wrong = STALE if floors else STALE[1:]
    assert {name: clients.seen[name] for name in wrong} == dict.fromkeys(wrong, 0)
    return clients.seen, clients.outages


async def reached(condition):
    """Waits for what clients and servers of their own pace bring about."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def server(redis_url, redis_server):
    return redis_server


async def test_nobody_reads_older_than_they_wrote(server, tmp_path):
    seen, _ = await check_coherent(server, tmp_path, reads=5000)
    assert seen["HIT"] > 1000


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_nobody_does_for_long(server, tmp_path):
    """As above, for minutes, with a Redis that hangs, forgets and drops its connections all the while."""
    commands = [("CLIENT", "KILL", "TYPE", "normal"), ("FLUSHALL",), ("DEL", "rk:{log}:cache"), None]

    async def trouble(clients):
        for round_ in range(200):
            enough = clients.seen["reads"] + 500
            await reached(lambda enough=enough: clients.seen["reads"] >= enough)
            command = commands[round_ % len(commands)]
            if command is not None:
                await asyncio.to_thread(server.execute, *command)
                continue
            server.pause()
            enough = clients.seen["reads"] + 200
            await reached(lambda enough=enough: clients.seen["reads"] >= enough)
            server.resume()

    await check_coherent(server, tmp_path, reads=1000, trouble=trouble)


async def test_without_the_floor_some_do(server, tmp_path):
    """The same clients, with the floor left behind: so the test above can fail."""

    async def stale(clients):
        await reached(lambda: clients.seen["stale for the writer"])

    await check_coherent(server, tmp_path, reads=0, floors=False, writes=0.5, trouble=stale)


@pytest.mark.parametrize(
    "command",
    [("CLIENT", "KILL", "TYPE", "normal"), ("FLUSHALL",), ("DEL", "rk:{log}:cache")],
    ids=["connections cut", "everything lost", "log lost"],
)
async def test_coherent_through(server, tmp_path, command):
    async def trouble(clients):
        for _ in range(10):
            enough = clients.seen["reads"] + 200
            await reached(lambda enough=enough: clients.seen["reads"] >= enough)
            await asyncio.to_thread(server.execute, *command)

    await check_coherent(server, tmp_path, reads=500, trouble=trouble)


async def test_a_hanging_redis_costs_a_deadline_a_cooldown_and_nothing_stale(server, tmp_path):
    async def trouble(clients):
        await reached(lambda: clients.seen["reads"] > 500)
        before, bypassed = sum(clients.outages.values()), clients.seen["BYPASS"]
        server.pause()
        # Copies in process are served for two seconds at most; then the app answers everything.
        await reached(lambda: clients.seen["unconfirmed"] > 50 and clients.seen["BYPASS"] > bypassed + 500)
        clients.seen["outages"] = sum(clients.outages.values()) - before
        clients.seen["paused"] = clients.seen["reads"]
        server.resume()
        hits = clients.seen["HIT"]
        await reached(lambda: clients.seen["HIT"] > hits + 200)

    seen, _ = await check_coherent(server, tmp_path, reads=500, trouble=trouble)
    # A request that found the deadline waited for it; all others of that cool-down did not wait.
    assert 1 <= seen["outages"] <= 20
    assert seen["reads"] > 100 * seen["outages"]
