"""While the store does not answer."""

import asyncio
import json

import pytest

from ramkit.kernel.errors import Unavailable
from ramkit.limits import Limiter, LimitUnavailable, Policy, RateLimitMiddleware, RedisStore
from ramkit.redis import Redis, RedisOutage
from ramkit.testing.clock import ManualClock
from tests.limits.asking import Hello, ask, status_of


class Away:
    """A store that does not answer."""

    async def take(self, charges):
        raise Unavailable("away")

    async def aclose(self):
        pass


@pytest.fixture
def clock():
    return ManualClock()


def limited(*policies, **options):
    return RateLimitMiddleware(Hello(), store=Away(), policies=policies, **options)


async def test_local_limits_are_this_processs_share(clock):
    app = limited(Policy("p", "8/h"), clock=clock, processes=4)
    assert [await status_of(app) for _ in range(4)] == [200, 200, 429, 429]
    answer = await ask(app, "/")
    assert answer["retry-after"] == "1800"  # a quarter of the rate
    clock.advance(1799.9)
    assert await status_of(app) == 429
    clock.advance(0.1)
    assert await status_of(app) == 200


async def test_a_share_admits_one_request_at_least(clock):
    app = limited(Policy("p", "8/h", burst=3, cost=2), clock=clock, processes=4)
    assert [await status_of(app) for _ in range(2)] == [200, 429]
    never = limited(Policy("p", "8/h", burst=3, cost=4), clock=clock, processes=4)
    assert await status_of(never) == 429


async def test_one_process_has_it_all(clock):
    app = limited(Policy("p", "3/h"), clock=clock)
    assert [await status_of(app) for _ in range(4)] == [200, 200, 200, 429]


async def test_open_and_closed(clock):
    events = []
    opened = limited(Policy("p", "1/h", on_failure="open"), observers=[events.append])
    answers = [await ask(opened, "/") for _ in range(3)]
    assert [(answer.status, answer["ratelimit"]) for answer in answers] == [(200, None)] * 3
    closed = limited(Policy("p", "1/h", on_failure="closed"), observers=[events.append])
    answer = await ask(closed, "/")
    assert (answer.status, answer["retry-after"]) == (503, "1")
    assert json.loads(answer.body)["status"] == 503
    assert [event.result for event in events] == ["open"] * 3 + ["closed"]


async def test_each_policy_as_it_says(clock):
    policies = [Policy("o", "1/h", on_failure="open"), Policy("l", "2/h"), Policy("d", "1/h", dry_run=True)]
    app = limited(*policies, clock=clock)
    answers = [await ask(app, "/") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0]["ratelimit"] == '"l";r=1;t=1800'
    closed = limited(*policies, Policy("c", "1/h", on_failure="closed"), clock=clock)
    assert [await status_of(closed) for _ in range(3)] == [503] * 3
    dry = limited(Policy("c", "1/h", on_failure="closed", dry_run=True), clock=clock)
    assert await status_of(dry) == 200


async def test_outside_of_http(clock):
    limiter = Limiter(Away(), clock=clock)
    assert (await limiter.check(Policy("l", "1/h"), "k")).source == "local"
    assert (await limiter.check(Policy("o", "1/h", on_failure="open"), "k")).source == "open"
    with pytest.raises(LimitUnavailable) as caught:
        await limiter.check(Policy("c", "1/h", on_failure="closed"), "k")
    assert caught.value.status_code == 503


async def test_a_redis_that_hangs_costs_one_deadline_a_cooldown(redis_url, redis_server, clock):
    outages = []

    def observe(event):
        if isinstance(event, RedisOutage):
            outages.append(event)

    redis = Redis(redis_url, clock=clock, observers=[observe])
    app = RateLimitMiddleware(
        Hello(), store=RedisStore(redis), policies=[Policy("p", "5/h")], clock=clock, processes=1
    )
    try:
        assert [await status_of(app) for _ in range(6)] == [200] * 5 + [429]
        redis_server.pause()
        first = await asyncio.gather(*(status_of(app) for _ in range(10)))
        assert sorted(first) == [200] * 5 + [429] * 5  # the local limit begins with an unused quota
        assert [await status_of(app) for _ in range(100)] == [429] * 100
        assert len(outages) == 1
        clock.advance(1.1)  # the cool-down is over: one asks again, the others do not wait for it
        assert await status_of(app) == 429
        assert len(outages) == 2
        redis_server.resume()
        clock.advance(1.1)
        answer = await ask(app, "/")
        assert (answer.status, answer["ratelimit"].partition(";t")[0]) == (429, '"p";r=0')
    finally:
        redis_server.resume()
        await redis.aclose()


async def test_a_redis_that_is_full_counts_as_away(redis_url, redis_server):
    redis_server.execute("CONFIG", "SET", "maxmemory", "1")
    store = RedisStore(redis_url, deadline=10)
    app = RateLimitMiddleware(Hello(), store=store, policies=[Policy("p", "1/h")])
    try:
        assert [await status_of(app) for _ in range(2)] == [200, 429]
    finally:
        await store.aclose()


async def test_a_redis_that_comes_and_goes_admits_its_quota_and_the_local_one(redis_url, redis_server, clock):
    """Whatever the number of outages, and whatever was under way when one began."""
    redis = Redis(redis_url, clock=clock)
    app = RateLimitMiddleware(
        Hello(), store=RedisStore(redis), policies=[Policy("p", "40/d")], clock=clock, processes=2
    )
    seen = []
    try:
        for _ in range(3):
            seen += await asyncio.gather(*(status_of(app) for _ in range(15)))
            redis_server.pause()
            seen += await asyncio.gather(*(status_of(app) for _ in range(15)))
            redis_server.resume()
            clock.advance(1.1)
    finally:
        redis_server.resume()
        await redis.aclose()
    assert set(seen) == {200, 429}
    # what was sent before the pause counts in Redis, too: there may be less of it left, never more
    assert 20 <= seen.count(200) <= 40 + 20
