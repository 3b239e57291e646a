"""When floors end: once neither a replica nor a cache can show anything older."""

import pytest

from ramkit.cache import Cache
from ramkit.cache.core.entry import Entry
from ramkit.db import Database
from ramkit.db.backends.asyncpg import AsyncpgSession
from ramkit.db.middleware import ConsistencyMiddleware
from ramkit.kernel.context import RequestContext
from ramkit.testing.client import drive, http_scope
from tests.db.conftest import eventually
from tests.db.test_consistency import SECRET, Browser, Store, app, browser, store

__all__ = ["app", "browser", "store"]


def told(sent):
    """The cookies that a response sets or deletes."""
    return [value for name, value in sent[0]["headers"] if name == b"set-cookie"]


async def test_a_floor_ends_when_every_replica_has_passed_it(app, browser, store):
    await browser.ask(b"7")
    store.replayed = {6: 50}
    assert told(await browser.ask()) == []
    assert app.floors[-1] == {"main": 7}, "one lags"
    store.replayed = {7: 0}
    (gone,) = told(await browser.ask())
    assert gone.endswith(b"=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax")
    assert browser.jar == {}
    assert app.floors[-1] == {}


async def test_one_that_every_replica_has_passed_already_is_not_told(app, browser, store):
    await browser.ask(b"7")
    store.replayed = {9: 0}
    sent = await browser.ask(b"9")
    assert (len(told(sent)), browser.jar) == (1, {}), "and what came is deleted"
    sent = await Browser(browser.app, "http").ask(b"9")
    assert [name for name, _ in sent[0]["headers"]] == [b"x-app"]


@pytest.mark.parametrize(
    ("age", "replayed", "passed", "over"),
    [
        (1000, 9, 0, False),  # what a replica said just before may be stored, and lives from then on
        (1000, 9, 300, False),
        (1000, 9, 301, True),
        (1000, 6, 1000, False),  # one lags
        (300, 9, 10**6, False),  # a primary without replicas is past it from the beginning
        (301, 9, 10**6, True),
    ],
)
async def test_a_floor_outlives_what_was_cached_before_it(app, clock, age, replayed, passed, over):
    store, cache = Store(), Store("cache")
    cache.longest = 300
    browser = Browser(ConsistencyMiddleware(app, db=store, cache=cache, secret=SECRET, clock=clock))
    await browser.ask(b"7")
    clock.advance(age)
    store.replayed = {replayed: passed}
    assert len(told(await browser.ask())) == over
    assert app.floors[-1] == ({} if over else {"main": 7})
    assert len(browser.jar) == (not over)


async def test_a_purges_floor_ends_with_what_was_cached(clock):
    seen = []

    async def app(scope, receive, send):
        floor = RequestContext.of(scope).floor
        seen.append((dict(floor.epochs), set(floor.bypass)))
        if scope["query_string"]:
            floor.raise_epoch("cache", 5, 17)
        if scope["query_string"] == b"unconfirmed":
            floor.go_past("cache")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    cache = Store("cache")
    cache.longest = 60
    wrapped = ConsistencyMiddleware(app, cache=cache, secret=SECRET, clock=clock, lifetime=1000)
    for query, over in ((b"purged", True), (b"unconfirmed", False)):
        browser = Browser(wrapped)
        await browser.ask(query)
        clock.advance(60)
        assert told(await browser.ask()) == []
        clock.advance(1)
        assert len(told(await browser.ask())) == over
        assert seen[-1] == (({}, set()) if over else ({"cache": (5, 17)}, {"cache"}))


async def test_what_is_over_is_not_merged_into_what_is_not(app, browser, store, clock):
    sent = [await browser.ask(query, keep=False) for query in (b"7", b"9")]
    for each in sent:
        browser.take(each)
    store.replayed = {7: 0}
    assert len(told(await browser.ask())) == 1
    assert len(browser.jar) == 1
    await browser.ask()
    assert app.floors[-2:] == [{"main": 9}] * 2


async def test_a_floor_of_a_database_that_is_not_known_here_is_left_alone(app, clock):
    browser = Browser(ConsistencyMiddleware(app, db=Store(), secret=SECRET, clock=clock))
    await browser.ask(b"7")
    browser.app = ConsistencyMiddleware(app, db=Store("other"), secret=SECRET, clock=clock)
    assert told(await browser.ask()) == []


async def test_a_cache_knows_for_how_long_any_process_stored_anything(redis_url, clock):
    caches = [Cache(redis_url, clock=clock) for _ in range(2)]
    for each in caches:
        assert not each.outlived(10**9), "it has heard of nothing yet"
        await each.start()
        await each.log.catch_up()
        assert each.outlived(61)
        assert not each.outlived(60), "something may be on its way"
    now = caches[0].log.now()
    for lifetime, longest in ((50, 64), (20, 64), (65, 128)):
        entry = Entry(*place(caches[0]), (1,), "/", now, now + 10, now + lifetime, now + 5)
        assert await caches[0].keep(b"key", entry)
        for each in caches:
            await each.log.catch_up()
            assert each.outlived(longest + 61)
            assert not each.outlived(longest + 59)
    for each in caches:
        await each.aclose()


def place(cache):
    return cache.log.incarnation, cache.log.epoch


async def test_it_says_so_a_few_times_only(clock):
    cache = Cache(clock=clock)
    now = cache.log.now()
    for lifetime in range(1, 3600):
        await cache.keep(b"key", Entry(*place(cache), (1,), "/", now, now + lifetime, 0, 0))
    assert cache.log.epoch <= 13
    for endless in (1e300, float("inf"), 2**31):
        await cache.keep(b"key", Entry(*place(cache), (1,), "/", now, now + endless, 0, 0))
    assert cache.log.epoch <= 14
    await cache.aclose()


async def test_with_servers(make, pair, postgres_replica, monkeypatch):
    """A replica that stands still keeps the floor, one that has passed it does not. Nobody is asked."""
    primary, replica = pair
    db: Database = make(primary, [replica])
    await db.start()

    async def app(scope, receive, send):
        if scope["method"] == "PUT":
            await db.execute("UPDATE notes SET text = 'new' WHERE id = 1")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    browser = Browser(ConsistencyMiddleware(app, db=db, secret=SECRET))
    postgres_replica.pause()
    await browser.ask(method="PUT")
    assert len(browser.jar) == 1
    asked = []
    for name in ("position", "mark", "status"):
        monkeypatch.setattr(AsyncpgSession, name, counted(getattr(AsyncpgSession, name), asked))
    monitors = {node.monitor._session for node in db._current()._nodes.values()}
    for _ in range(20):
        await browser.ask()
    assert len(browser.jar) == 1
    assert set(asked) <= monitors, "only monitors ask, each time they would anyway"
    postgres_replica.resume()
    postgres_replica.caught_up()
    await eventually(lambda: ended(browser))
    assert set(asked) <= monitors


def counted(method, asked):
    async def call(session):
        asked.append(session)
        return await method(session)

    return call


async def ended(browser):
    await browser.ask()
    return not browser.jar


async def test_a_database_without_replicas_tells_no_floor(make, table):
    db: Database = make(table)
    assert db.passed(1) is None, "it has looked at nobody yet"
    await db.start()

    async def app(scope, receive, send):
        await db.execute("UPDATE notes SET text = 'new' WHERE id = 1")
        assert RequestContext.current().floor.positions
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    sent = await drive(ConsistencyMiddleware(app, db=db, secret=SECRET), http_scope("PUT"))
    assert sent[0]["headers"] == []
