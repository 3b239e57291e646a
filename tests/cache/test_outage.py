"""The cache on a Redis that hangs, and what purges cost."""

import asyncio
from collections import Counter

import pytest

from ramkit.cache import Cache, CacheMiddleware, CachePurge, PurgeUnconfirmed, RedisStore, Rule
from ramkit.cache.core.entry import encode
from ramkit.cache.core.keys import Target
from ramkit.cache.core.purging import group_name, slot
from ramkit.kernel.context import RequestContext
from tests.cache.test_coherence import reached
from tests.cache.wire import Origin, ask, cacheable, scope_of


@pytest.fixture
async def caches(redis_url, clock):
    """Two processes' caches, on a clock of their own."""
    made = [Cache(redis_url, clock=clock) for _ in range(2)]
    yield made
    for cache in made:
        await cache.aclose()


async def test_copies_in_process_count_only_while_the_log_is_heard(caches, redis_server, clock):
    origin = Origin(cacheable())
    app = CacheMiddleware(origin, cache=caches[0])
    await ask(app, "/a")
    redis_server.pause()
    assert (await ask(app, "/a")).x_cache == "HIT"
    clock.advance(2.1)
    assert (await ask(app, "/a")).x_cache == "BYPASS"
    assert (await ask(app, "/a")).x_cache == "BYPASS"
    redis_server.resume()
    clock.advance(1.1)
    assert (await ask(app, "/a")).x_cache == "HIT"


async def test_a_purge_that_is_not_confirmed_is_queued_and_goes_out(caches, redis_server, clock):
    one, two = caches
    apps = [CacheMiddleware(Origin(cacheable()), cache=cache) for cache in caches]
    for app in apps:
        await ask(app, "/a")
    redis_server.pause()
    context = RequestContext()
    with context.active(), pytest.raises(PurgeUnconfirmed):
        await one.purge("/a")
    assert context.floor.bypass == {"cache"}
    assert (await ask(apps[0], "/a")).x_cache == "BYPASS"  # this process serves nothing while a purge waits
    assert (await ask(apps[1], "/a")).x_cache == "HIT"  # the other cannot know, for two seconds at most
    redis_server.resume()
    clock.advance(1.1)
    await reached(lambda: not one.purges.waiting)
    await two.log.catch_up()
    assert (await ask(apps[1], "/a")).x_cache == "MISS"


async def test_an_unsafe_request_succeeds_while_redis_hangs(caches, redis_server):
    app = CacheMiddleware(Origin(cacheable()), cache=caches[0])
    await ask(app, "/a")
    redis_server.pause()
    answer = await ask(app, "/a", "PUT")
    assert (answer.status, answer.context.floor.bypass) == (200, {"cache"})
    assert (await ask(app, "/a", floor=answer)).x_cache == "BYPASS"


async def test_unconfirmed_purges_are_bounded_and_told(redis_url, redis_server):
    events = []
    cache = Cache(redis_url, observers=[events.append])
    app = CacheMiddleware(Origin(cacheable()), cache=cache)
    await ask(app, "/other")
    redis_server.pause()
    for number in range(1500):
        with pytest.raises(PurgeUnconfirmed):
            await cache.purge(f"/{number}")
    assert 0 < len(cache.purges.waiting) <= 1000
    assert {event.result for event in events if isinstance(event, CachePurge)} == {"unconfirmed"}
    redis_server.resume()
    await reached(lambda: not cache.purges.waiting)
    assert (await ask(app, "/other")).x_cache == "MISS"  # what was folded together purged everything
    await cache.aclose()


async def test_a_cancelled_purge_goes_out_all_the_same(caches, redis_server, clock):
    app = CacheMiddleware(Origin(cacheable()), cache=caches[1])
    await ask(app, "/a")
    await caches[0].start()
    redis_server.pause()
    purge = asyncio.create_task(caches[0].purge("/a"))
    await asyncio.sleep(0)
    purge.cancel()
    with pytest.raises(asyncio.CancelledError):
        await purge
    redis_server.resume()
    clock.advance(1.1)
    await reached(lambda: not caches[0].purges.waiting)
    await caches[1].log.catch_up()
    assert (await ask(app, "/a")).x_cache == "MISS"


async def test_a_floor_ahead_of_the_log_voids_everything(caches):
    apps = [CacheMiddleware(Origin(cacheable()), cache=cache) for cache in caches]
    for app in apps:
        await ask(app, "/a")
    context = RequestContext()
    context.floor.raise_epoch("cache", caches[0].log.incarnation, caches[0].log.epoch + (500 << 22))
    carried = await ask(apps[0], "/b")
    carried.context = context
    assert (await ask(apps[0], "/a", floor=carried)).x_cache == "MISS"
    await caches[1].log.catch_up()
    assert (await ask(apps[1], "/x")).x_cache == "MISS"


async def test_purging_a_million_costs_what_purging_ten_does(redis_url, redis_server):
    """Redis does the same for both: counted by its commands, and by the keys that it still holds."""
    cache = Cache(RedisStore(redis_url, deadline=5.0))
    app = CacheMiddleware(Origin(), cache=cache, rules=[Rule("/*", groups=["few"])])
    for number in range(10):
        await ask(app, f"/{number}")
    entry = await cache.store.get(Target(scope_of("/1"), app.rules).key)
    entry.slots = (slot(group_name("many")),)
    await fill(redis_server, encode(entry))
    await cache.purge_groups("none")  # the first one loads the script
    await cache.log.catch_up()
    costs = {}
    for group in ("few", "many"):
        before = commands(redis_server)
        await cache.purge_groups(group)
        done = commands(redis_server) - before
        costs[group] = {name: count for name, count in done.items() if name not in QUIET}
    assert costs["few"] == costs["many"]
    assert sum(costs["few"].values()) < 12
    assert redis_server.execute("DBSIZE") >= MEMBERS
    assert (await ask(app, "/1")).x_cache == "MISS"
    await cache.aclose()


MEMBERS = 1_000_000
#: what the test itself, the follower's own pace and the connection bring
QUIET = {"info", "xread", "time", "hello", "client|setinfo", "client|setname", "ping"}


async def fill(server, value):
    """Members by the thousand, written by the server itself: while a script runs, nobody else is heard."""
    script = "for i=ARGV[1],ARGV[2] do redis.call('SET', 'rk:c:'..i, ARGV[3]) end"
    for first in range(0, MEMBERS, 10_000):
        await asyncio.to_thread(server.execute, "EVAL", script, 0, first, first + 9_999, value)


def commands(server):
    """How often Redis carried out each command."""
    said = server.execute("INFO", "commandstats")
    return Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in said.items()})


async def test_redis_that_hangs_as_lifetimes_are_told_costs_one_question(caches, redis_server, monkeypatch):
    """Each response has a lifetime of its own, and is served though none can be told."""
    cache, _ = caches
    await cache.start()
    append, questions = cache.log.append, []

    async def hanging(message, **options):
        questions.append("append")
        redis_server.pause()
        return await append(message, **options)

    async def storing(*_):
        questions.append("set")

    monkeypatch.setattr(cache.log, "append", hanging)
    monkeypatch.setattr(cache.store, "set", storing)
    apps = [CacheMiddleware(Origin(cacheable(f"max-age={2**n}")), cache=cache) for n in range(20)]
    answers = await asyncio.gather(*(ask(app, f"/{n}") for n, app in enumerate(apps)))
    redis_server.resume()
    assert [answer.status for answer in answers] == [200] * 20
    assert questions == ["append"] * 20, "whose answers do not come is asked nothing more"
