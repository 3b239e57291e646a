"""Four processes with clocks minutes apart, two thousand requests at once: what GCRA allows, exactly."""

import asyncio

import pytest

from ramkit.limits import MemoryStore, Policy, RateLimitMiddleware
from ramkit.limits.keys import by_client, store_key
from ramkit.testing.clock import ManualClock
from tests.limits.asking import Hello, scope_of, status_of
from tests.limits.exact import processes

SHIFTS = (0, 180, -420, 3600)
COUNT = 500
KEY = "rk:" + store_key("shared", by_client(scope_of("/"))).decode()


@pytest.fixture(params=["one server", "cluster"])
def shared(request):
    """The URL, and the server that has the key."""
    if request.param == "one server":
        return request.getfixturevalue("redis_url"), request.getfixturevalue("redis_server")
    cluster = request.getfixturevalue("redis_cluster")
    return cluster.url, cluster.node_of(KEY.encode())


def now(server):
    seconds, micros = server.execute("TIME")
    return int(seconds) * 1_000_000 + int(micros)


async def test_a_quota_is_used_up_to_the_last(shared):
    """At one an hour nothing is earned meanwhile: the quota, and not one more or less."""
    url, server = shared
    seen = await processes(url, SHIFTS, COUNT, "1/h", 700)
    assert seen == {200: 700, 429: 1300}
    left = int(server.execute("GET", KEY)) - now(server)
    assert 699 * 3_600_000_000 < left <= 700 * 3_600_000_000


async def test_what_is_earned_meanwhile_is_admitted_too(shared):
    """The TAT says by how much the key was charged since its first request, and Redis' time how much can
    have been earned until the last."""
    url, server = shared
    interval, burst = 10_000, 300
    before = now(server)
    seen = await processes(url, SHIFTS, COUNT, "100/s", burst)
    after = now(server)
    assert sum(seen.values()) == 2000
    assert set(seen) <= {200, 429}
    earned = (after - before) // interval
    assert burst <= seen[200] <= burst + earned
    tat = server.execute("GET", KEY)
    if tat is not None:
        # never idle in between, as it was asked far more than it earned: each admitted request moved it once
        first = int(tat) - seen[200] * interval
        assert before <= first <= after


async def test_in_memory():
    clock = ManualClock()
    policy = Policy("shared", "100/s", burst=700)
    app = RateLimitMiddleware(Hello(), store=MemoryStore(clock=clock), policies=[policy])
    statuses = await asyncio.gather(*(status_of(app) for _ in range(2000)))
    assert (statuses.count(200), statuses.count(429)) == (700, 1300)
    clock.advance(1.234)
    statuses = await asyncio.gather(*(status_of(app) for _ in range(2000)))
    assert (statuses.count(200), statuses.count(429)) == (123, 1877)
