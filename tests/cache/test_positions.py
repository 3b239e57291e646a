"""The floor's positions through the cache: what a render read, and what its client must not be shown."""

import asyncio

import pytest

from ramkit.cache import Cache, CacheMiddleware, MemoryStore, Rule
from ramkit.cache.core.entry import Entry, decode, encode, lowest
from ramkit.cache.errors import PurgeUnconfirmed
from ramkit.kernel.context import RequestContext, Transaction
from ramkit.kernel.errors import Unavailable
from tests.cache.wire import ask, cacheable


class Replica:
    """An app whose database is at ``lsn``; one that is told what it must not miss waits for it."""

    def __init__(self, lsn, *headers):
        self.lsn, self.headers, self.renders, self.wanted, self.waits = lsn, list(headers), 0, [], True

    async def __call__(self, scope, receive, send):
        context = RequestContext.current()
        self.renders += 1
        self.wanted.append(context.wanted("main"))
        at = max(self.lsn, context.wanted("main")) if self.waits else self.lsn
        context.read_at("main", at)
        body = b"at %d" % at
        headers = [*self.headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def floored(app, **positions):
    """The request of a client with that floor."""

    async def wrapped(scope, receive, send):
        for name, lsn in positions.items():
            RequestContext.of(scope).floor.raise_position(name, lsn)
        await app(scope, receive, send)

    return wrapped


async def test_below_a_clients_floor_nothing_is_served_to_it_and_it_is_refreshed_for_all(cache):
    origin = Replica(5, *cacheable())
    app = CacheMiddleware(origin, cache=cache)
    assert (await ask(app, "/a")).body == b"at 5"
    assert (await ask(app, "/a")).x_cache == "HIT"
    assert (await ask(floored(app, main=5), "/a")).x_cache == "HIT", "at the floor"
    assert (await ask(floored(app, other=9), "/a")).x_cache == "HIT", "of another database"
    writer = await ask(floored(app, main=9), "/a")
    assert (writer.x_cache, writer.body) == ("MISS", b"at 9")
    stranger = await ask(app, "/a")
    assert (stranger.x_cache, stranger.body) == ("HIT", b"at 9")
    assert origin.renders == 2


async def test_strangers_are_served_while_the_writer_renders(cache):
    origin = Replica(5, *cacheable())
    app = CacheMiddleware(origin, cache=cache)
    await ask(app, "/a")
    origin.waits = False  # a replica that never gets there, and no primary
    for _ in range(3):
        assert (await ask(floored(app, main=9), "/a")).x_cache == "MISS"
        assert (await ask(app, "/a")).x_cache == "HIT"


async def test_not_even_on_an_error_is_something_below_the_floor_served(cache, clock):
    origin = Replica(5, *cacheable("max-age=1, stale-if-error=600"))
    app = CacheMiddleware(origin, cache=cache)
    await ask(app, "/a")
    clock.advance(2)

    async def failing(scope, receive, send):
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body"})

    app.app = failing
    assert (await ask(app, "/a")).x_cache == "STALE"
    assert (await ask(floored(app, main=9), "/a")).status == 503


async def test_a_response_that_read_no_database_is_judged_by_epochs_alone(cache):
    async def plain(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        await send({"type": "http.response.body", "body": b"x"})

    app = CacheMiddleware(plain, cache=cache)
    await ask(app, "/a")
    assert (await ask(floored(app, main=9), "/a")).x_cache == "HIT"


async def test_a_render_after_a_purge_reads_nothing_older(cache):
    origin = Replica(5, *cacheable())
    app = CacheMiddleware(origin, cache=cache, rules=[Rule("/a", groups=["g"])])
    await ask(app, "/a")
    writer = RequestContext()
    writer.floor.raise_position("main", 9)
    with writer.active():
        await cache.purge_groups("g")
    answer = await ask(app, "/a")
    assert (answer.x_cache, answer.body) == ("MISS", b"at 9")
    assert origin.wanted == [-1, 9]
    assert answer.context.floor.positions == {}, "its client has written nothing"
    assert (await ask(app, "/a")).x_cache == "HIT"


@pytest.mark.parametrize("purge", ["group", "prefix", "path", "pattern"])
async def test_what_is_read_below_a_purge_is_not_stored(cache, purge):
    """A group that only the response names is not known before it is rendered."""
    origin = Replica(5, *cacheable("max-age=60", ("cache-groups", '"g"')))
    origin.waits = False
    app = CacheMiddleware(origin, cache=cache)
    writer = RequestContext()
    writer.floor.raise_position("main", 9)
    with writer.active():
        await {
            "group": lambda: cache.purge_groups("g"),
            "prefix": lambda: cache.purge_prefix("/"),
            "path": lambda: cache.purge("/a"),
            "pattern": lambda: cache.purge_matching("/*"),
        }[purge]()
    for _ in range(2):
        assert (await ask(app, "/a")).x_cache == "MISS"
    origin.lsn = 9
    assert (await ask(app, "/a")).x_cache == "MISS"
    assert (await ask(app, "/a")).x_cache == "HIT"


async def test_purges_wait_for_the_commit(cache):
    origin = Replica(5, *cacheable())
    app = CacheMiddleware(origin, cache=cache)
    await ask(app, "/a")
    context, transaction = RequestContext(), Transaction()
    with context.active():
        with transaction.active():
            await cache.purge("/a")
            await cache.purge_matching("/b*")
            with pytest.raises(ValueError, match="patterns"):
                await cache.purge_matching("/" + "x" * 1000)
        assert (await ask(app, "/a")).x_cache == "HIT", "nobody sees it before"
        context.floor.raise_position("main", 9)
        await transaction.committed()
    assert cache.table.written([0], "/b1") == {"main": 9}
    assert context.floor.epochs["cache"][1] == cache.log.epoch
    answer = await ask(app, "/a")
    assert (answer.x_cache, answer.body) == ("MISS", b"at 9")


async def test_purges_vanish_with_a_rollback(cache):
    app = CacheMiddleware(Replica(5, *cacheable()), cache=cache)
    await ask(app, "/a")
    with RequestContext().active(), Transaction().active():
        await cache.purge("/a")
    assert (await ask(app, "/a")).x_cache == "HIT"


async def test_a_purge_that_is_not_confirmed_is_told_by_the_commit(clock):
    cache = Cache(MemoryStore(clock=clock))

    async def away(message, *, replicas=0):
        raise Unavailable("away")

    cache.log.append = away
    context, transaction = RequestContext(), Transaction()
    with context.active(), transaction.active():
        await cache.purge("/a")
        with pytest.raises(PurgeUnconfirmed):
            await transaction.committed()
    assert context.floor.bypass == {"cache"}


async def test_memoized_values_have_positions_too(cache):
    calls, lsn = [], 5

    @cache.memoize(ttl=60, groups=["g"])
    async def total(name: str) -> int:
        context = RequestContext.current()
        at = max(lsn, context.wanted("main"))
        calls.append(at)
        context.read_at("main", at)
        return at

    assert [await total("a"), await total("a")] == [5, 5]
    reader = RequestContext()
    with reader.active():
        assert await total("a") == 5
    assert reader.positions == {"main": 5}, "what is made of it is no newer"
    writer = RequestContext()
    writer.floor.raise_position("main", 7)
    with writer.active():
        assert await total("a") == 7
    assert await total("a") == 7
    writer.floor.raise_position("main", 9)
    with writer.active():
        await cache.purge_groups("g")
    assert [await total("a"), await total("a")] == [9, 9]
    assert calls == [5, 7, 9]


async def test_followers_of_one_render_judge_it_with_their_own_floor(cache):
    origin, begun, go = Replica(5, *cacheable()), asyncio.Event(), asyncio.Event()
    origin.waits = False

    async def slow(scope, receive, send):
        begun.set()
        if not go.is_set():
            await go.wait()
        else:
            origin.waits = True
        await origin(scope, receive, send)

    app = CacheMiddleware(slow, cache=cache)
    leader = asyncio.create_task(ask(app, "/a"))
    await begun.wait()
    followers = [asyncio.create_task(ask(floored(app, main=9) if n % 2 else app, "/a")) for n in range(4)]
    for _ in range(20):
        await asyncio.sleep(0)
    go.set()
    assert (await leader).body == b"at 5"
    bodies = [(await each).body for each in followers]
    assert bodies[1] == bodies[3] == b"at 9"
    assert set(bodies[::2]) <= {b"at 5", b"at 9"}


async def test_what_a_transaction_sees_is_not_memoized(cache):
    value = "committed"

    @cache.memoize(ttl=60, groups=["g"])
    async def read() -> str:
        return value

    with RequestContext().active(), Transaction().active():
        value = "uncommitted"
        assert await read() == "uncommitted"
        await cache.purge_groups("g")
    value = "committed"  # rolled back, and the purge with it
    assert await read() == "committed"


async def test_a_validation_is_no_look_into_another_database(clock):
    cache = Cache(clock=clock)
    databases = iter(["one", "two"])

    async def app(scope, receive, send):
        RequestContext.current().read_at(next(databases), 10)
        status = 304 if any(name == b"if-none-match" for name, _ in scope["headers"]) else 200
        headers = [(b"etag", b'"a"'), (b"cache-control", b"max-age=10")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if status == 304 else b"x"})

    app = CacheMiddleware(app, cache=cache)
    await ask(app, "/a")
    clock.advance(11)
    assert (await ask(app, "/a")).x_cache == "REVALIDATED"
    databases = iter(["one"])
    assert (await ask(floored(app, two=10, one=10), "/a")).x_cache == "HIT"
    assert (await ask(floored(app, one=11), "/a")).x_cache == "MISS"


async def test_a_hit_of_a_cache_within_a_cache_is_no_newer_than_it_was(clock):
    inner, outer = Cache(name="inner", clock=clock), Cache(name="outer", clock=clock)
    origin = Replica(5, *cacheable())
    within = CacheMiddleware(origin, cache=inner)
    app = CacheMiddleware(within, cache=outer)
    await ask(within, "/a")
    await ask(app, "/a")
    assert (await ask(app, "/a")).x_cache == "HIT"
    assert (await ask(floored(app, main=9), "/a")).body == b"at 9"


async def test_a_crowd_whose_group_nobody_knew_does_not_queue(cache):
    """Each render finds out that it was read too early: none waits for another to find out the same."""
    writer = RequestContext()
    writer.floor.raise_position("main", 9)
    with writer.active():
        await cache.purge_groups("g")
    origin, at_once, most = Replica(5, *cacheable("max-age=60", ("cache-groups", '"g"'))), 0, 0
    origin.waits = False

    async def slow(scope, receive, send):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        for _ in range(10):
            await asyncio.sleep(0)
        await origin(scope, receive, send)
        at_once -= 1

    app = CacheMiddleware(slow, cache=cache)
    await asyncio.gather(*(ask(app, "/a") for _ in range(20)))
    assert most > 10
    assert (await ask(app, "/a")).x_cache == "MISS"


def test_an_entry_keeps_its_positions() -> None:
    entry = Entry(1, 2, (3,), "/a", 0, 1, 2, 3, positions={"main": 5, "other": 7})
    for each in (entry, decode(encode(entry))):
        assert each.positions == {"main": 5, "other": 7}
        assert each.misses({"main": 6})
        assert not each.misses({"main": 5, "third": 9})
    entry.positions = None
    assert decode(encode(entry)).positions is None
    assert not entry.misses({"main": 6})
    assert lowest({"a": 1, "b": 5}, {"b": 3}) == {"a": 1, "b": 3}
    assert lowest(None, {"b": 3}) == {"b": 3}
    assert lowest(None, None) is None
