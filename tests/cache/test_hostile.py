"""What a hostile reading found: each was a leak, a stampede or a hang."""

import asyncio
import tracemalloc

import pytest

from ramkit.cache import Cache, CacheMiddleware, PurgeUnconfirmed, Rule
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.headers import find
from tests.cache.test_middleware import cached, settled
from tests.cache.test_ranges import BODY, ETAG, Film
from tests.cache.wire import Origin, ask, cacheable, scope_of


class Session(dict):
    """As Starlette's: it says itself whether it was accessed by way of the request."""

    accessed = False


@pytest.mark.parametrize("session", [Session(user="ada"), {"user": "ada"}])
async def test_a_session_read_straight_from_the_scope(session):
    async def read(scope):
        scope["session"] = session
        scope["session"].get("user")

    app = cached(Origin(cacheable(), before=read))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]


class Unfinished:
    @property
    def is_authenticated(self):
        raise NotImplementedError


@pytest.mark.parametrize("user", [{"id": 1}, Unfinished(), "ada"])
async def test_users_of_any_kind_behind_a_copy_of_the_scope(user):
    origin = Origin(cacheable())

    async def copying(scope, receive, send):
        await origin(dict(scope), receive, send)

    app = cached(copying)
    assert [(await ask(app, "/a", user=user)).x_cache for _ in range(2)] == ["MISS", "MISS"]


async def test_a_path_that_was_rewritten_outside():
    app = cached(Origin(cacheable()))
    assert await answered(app, scope_of("/a") | {"path": "/tenant-1/a"}) == "MISS"
    assert await answered(app, scope_of("/a") | {"path": "/tenant-2/a"}) == "MISS"
    await ask(app, "/b")
    assert (await ask(app, "/b", root_path="/evil")).x_cache == "MISS"


async def test_a_body_that_no_header_announces():
    async def app(scope, receive, send):
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        await send({"type": "http.response.body", "body": body})

    async def evil():
        return {"type": "http.request", "body": b"EVIL", "more_body": False}

    async def nobody(message):
        pass

    middleware = cached(app)
    await middleware(scope_of("/a"), evil, nobody)
    answer = await ask(middleware, "/a")
    assert (answer.x_cache, answer.body) == ("MISS", b"")


@pytest.mark.parametrize("name", ["x-api-key", "proxy-authorization", "x-auth-token"])
async def test_other_credentials_under_a_rule(name):
    app = cached(Origin(), Rule("/open", identity="ignore"), Rule("/*"))
    for _ in range(2):
        assert (await ask(app, "/a", headers={name: "secret"})).x_cache == "MISS"
    await ask(app, "/open", headers={name: "secret"})
    assert (await ask(app, "/open", headers={name: "other"})).x_cache == "HIT"


async def test_a_get_that_stands_for_something_else():
    app = cached(Origin(cacheable()))
    assert (await ask(app, "/a", headers={"x-http-method-override": "DELETE"})).x_cache == "BYPASS"


async def together(app, count=12, headers=None):
    """That many requests at once: how many of them were in the app before any ended, and its renders."""
    gate, inside, most = asyncio.Event(), 0, 0

    async def wait(scope):
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await gate.wait()
        inside -= 1

    app.app.before = wait
    requests = [asyncio.create_task(ask(app, "/a", headers=headers)) for _ in range(count)]
    await turns()
    first = most
    gate.set()
    await asyncio.gather(*requests, return_exceptions=True)
    return first, app.app.renders


async def turns(number=40):
    for _ in range(number):
        await asyncio.sleep(0)


async def test_followers_of_an_app_that_raises_go_at_once():
    origin = Origin(cacheable())
    app = cached(origin)
    gate, inside, most = asyncio.Event(), 0, 0

    async def wait(scope):
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await gate.wait()
        await asyncio.sleep(0)
        inside -= 1
        raise RuntimeError

    origin.before = wait
    requests = [asyncio.create_task(ask(app, "/a")) for _ in range(8)]
    await turns()
    gate.set()
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(result) for result in results} == {RuntimeError}
    assert most == 7


async def test_what_is_only_good_for_validation_is_not_waited_for():
    app = cached(Origin(cacheable("no-cache", ("etag", '"1"'))))
    assert (await together(app))[0] == 1
    assert (await together(app))[0] == 12


async def test_what_is_too_large_for_the_store_is_not_waited_for():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        await send({"type": "http.response.body", "body": b"x" * 20_000})

    middleware = CacheMiddleware(app, cache=Cache(max_bytes=100_000))
    await ask(middleware, "/a")
    assert list(middleware.unshared.values())


@pytest.mark.parametrize(
    "headers", [{"cache-control": "no-store"}, {"authorization": "Bearer x"}, {"cookie": "a=b"}]
)
async def test_one_clients_request_does_not_end_the_waiting_of_others(headers):
    app = cached(Origin(), Rule("/*"))
    await ask(app, "/a", headers=headers)
    assert await together(app) == (1, 2)


async def test_cookies_do_not_keep_explicit_responses_from_being_shared():
    app = cached(Origin(cacheable("public, max-age=60")))
    assert await together(app, headers={"cookie": "_ga=1"}) == (1, 1)


async def test_a_leader_whose_client_leaves_hands_over():
    leaving = asyncio.Event()
    origin = Origin(cacheable())

    async def app(scope, receive, send):
        origin.renders += 1
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if origin.renders == 1:
            await leaving.wait()
            return
        await send({"type": "http.response.body", "body": b"whole"})

    middleware = cached(app)
    requests = [asyncio.create_task(ask(middleware, "/a")) for _ in range(8)]
    await turns()
    leaving.set()
    await asyncio.gather(*requests)
    assert origin.renders == 2


async def test_a_purge_while_it_renders_costs_one_more_render():
    origin = Origin(cacheable())
    app = cached(origin)
    gate = asyncio.Event()

    async def wait(scope):
        if origin.renders == 1:
            await gate.wait()

    origin.before = wait
    requests = [asyncio.create_task(ask(app, "/a")) for _ in range(12)]
    await turns()
    await app.cache.purge("/a")
    gate.set()
    await asyncio.gather(*requests)
    assert origin.renders == 2


class SlowStore:
    """Hands on to a memory store, one turn of the loop later: where Redis would be waited for."""

    def __init__(self, store):
        self.store = store
        self.steps = 0

    def __getattr__(self, name):
        return getattr(self.store, name)

    def peek(self, key):
        return None

    async def get(self, key):
        await asyncio.sleep(0)
        return await self.store.get(key)

    async def set(self, key, entry, ttl):
        await asyncio.sleep(0)
        return await self.store.set(key, entry, ttl)


@pytest.mark.parametrize(
    "control", ["max-age=60", "no-cache", "max-age=1, stale-while-revalidate=60", "private"]
)
async def test_cancelled_at_any_step_nothing_stays(control, clock):
    from ramkit.cache import MemoryStore

    for step in range(30):
        store = SlowStore(MemoryStore(clock=clock))
        app = CacheMiddleware(Origin(cacheable(control, ("etag", '"1"'))), cache=Cache(store, clock=clock))
        await ask(app, "/a")
        clock.advance(2)
        request = asyncio.create_task(ask(app, "/a"))
        await turns(step)
        request.cancel()
        await asyncio.wait([request])
        await app.cache.aclose()
        await settled(app)
        assert not app.cache.flights._flying
        assert (await ask(app, "/a")).status == 200


async def test_a_cache_within_itself_does_not_wait_for_itself():
    origin = Origin(cacheable())
    cache = Cache()
    app = CacheMiddleware(CacheMiddleware(origin, cache=cache), cache=cache)
    answers = [await asyncio.wait_for(ask(app, "/a"), 5) for _ in range(2)]
    assert [(answer.all("x-cache"), answer.body) for answer in answers] == [
        (["MISS"], b" #1"),
        (["HIT"], b" #1"),
    ]


async def test_a_response_without_vary_leaves_the_variants_be():
    async def choose(scope):
        asked = dict(scope["headers"])
        origin.headers = cacheable("max-age=60", *([("vary", "x-a")] if b"x-a" in asked else []))

    origin = Origin(before=choose)
    app = cached(origin)
    await ask(app, "/a", headers={"x-a": "1"})
    await ask(app, "/a")
    for headers, body in (({"x-a": "1"}, b" #1"), ({}, b" #2")):
        answer = await ask(app, "/a", headers=headers)
        assert (answer.x_cache, answer.body) == ("HIT", body)


async def test_urls_are_purged_by_the_query_that_their_rule_reads():
    app = cached(Origin(), Rule("/*", query_ignore=["utm_*"], query_sort=True))
    await ask(app, "/p?b=1&a=2&utm_a=3")
    await app.cache.purge("http://h.test/p?utm_b=9&a=2&b=1")
    assert (await ask(app, "/p?a=2&b=1")).x_cache == "MISS"


async def test_a_304_to_another_validator_is_asked_again():
    calls = []

    async def app(scope, receive, send):
        asked = dict(scope["headers"]).get(b"if-none-match")
        calls.append(asked)
        headers = cacheable("max-age=10", ("etag", '"2"' if len(calls) > 1 else '"1"'))
        await send({"type": "http.response.start", "status": 304 if asked else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if asked else b"body %d" % len(calls)})

    from ramkit.testing.clock import ManualClock

    clock = ManualClock()
    middleware = cached(app, clock=clock)
    await ask(middleware, "/a")
    clock.advance(11)
    answer = await ask(middleware, "/a")
    assert (answer.status, answer.body, answer["etag"]) == (200, b"body 3", '"2"')
    assert calls == [None, b'"1"', None]


@pytest.mark.parametrize("pair", [(b"x-a", b"1\r\nset-cookie: a=b"), (b"bad name", b"1")])
async def test_headers_that_a_server_refuses_are_not_kept(pair):
    app = cached(Origin([*cacheable(), pair]))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]


async def test_without_a_host_what_is_written_is_purged():
    app = cached(Origin(cacheable()))
    bare = {"headers": []}
    await ask(app, "/a", server=("10.0.0.1", 80))
    for method in ("GET", "PUT", "GET"):
        scope = scope_of("/b", method) | bare
        answer = await answered(app, scope)
    assert answer == "MISS"


async def answered(app, scope):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return dict(sent[0]["headers"]).get(b"x-cache", b"").decode()


async def test_many_small_chunks_are_not_kept_and_leave_the_loop_to_others():
    others = 0

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        for _ in range(20_000):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})

    async def count():
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    middleware = cached(app, max_body=30_000)
    assert len((await ask(middleware, "/a")).body) == 20_000
    counting.cancel()
    assert others > 1000
    assert (await ask(middleware, "/a")).x_cache == "MISS"


async def test_long_paths_count_and_are_not_remembered():
    app = CacheMiddleware(Origin(cacheable()), cache=Cache(max_bytes=2**20))
    for number in range(50):
        await ask(app, f"/{number}" + "x" * 60_000)
    assert not app._targets
    assert len(app.cache.store) < 10


async def test_purges_that_wait_go_out_when_the_cache_is_closed(redis_url, redis_server):
    one, two = Cache(redis_url), Cache(redis_url)
    app = CacheMiddleware(Origin(cacheable()), cache=two)
    await ask(app, "/a")
    await one.start()
    redis_server.pause()
    with pytest.raises(PurgeUnconfirmed):
        await one.purge("/a")
    redis_server.resume()
    async with asyncio.timeout(30):
        while one.purges.waiting:
            await one.aclose()
    await two.log.catch_up()
    assert (await ask(app, "/a")).x_cache == "MISS"
    await two.aclose()


async def test_full_memory_stops_no_purge(redis_url, redis_server):
    one, two = Cache(redis_url), Cache(redis_url)
    app = CacheMiddleware(Origin(cacheable()), cache=two)
    await ask(app, "/a")
    await one.start()
    redis_server.execute("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
    await one.purge("/a")
    await two.log.catch_up()
    assert (await ask(app, "/a")).x_cache == "MISS"
    await one.aclose()
    await two.aclose()


async def test_a_floor_ahead_voids_everything_once(redis_url):
    cache = Cache(redis_url)
    app = CacheMiddleware(Origin(cacheable()), cache=cache)
    first = await ask(app, "/a")
    ahead = cache.log.epoch + (60_000 << 22)
    results = []
    for _ in range(5):
        first.context = RequestContext()
        first.context.floor.raise_epoch("cache", cache.log.incarnation, ahead)
        results.append((await ask(app, "/a", floor=first)).x_cache)
    assert results == ["MISS", "HIT", "HIT", "HIT", "HIT"]
    await cache.aclose()


async def test_a_render_that_fails_late_puts_nothing_old_back(clock):
    origin = Origin(cacheable("max-age=10, stale-if-error=100"))
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(20)
    gate = asyncio.Event()

    async def fail(scope):
        if origin.renders == 2:
            await gate.wait()
            raise RuntimeError

    origin.before = fail
    slow = asyncio.create_task(ask(app, "/a"))
    await turns()
    await ask(app, "/a", headers={"authorization": "x", "cache-control": "x"})
    origin.headers = cacheable("public, max-age=10, stale-if-error=100")
    await ask(app, "/a", headers={"authorization": "x"})
    gate.set()
    await slow
    assert (await ask(app, "/a")).body == b" #4"


async def test_a_store_that_is_away_is_a_bypass_or_a_miss():
    class Away(SlowStore):
        async def get(self, key):
            raise Unavailable("away")

        async def set(self, key, entry, ttl):
            raise Unavailable("away")

    from ramkit.cache import MemoryStore

    app = CacheMiddleware(Origin(cacheable()), cache=Cache(Away(MemoryStore())))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]


async def test_a_head_does_not_undo_a_soft_purge():
    app = cached(Origin(cacheable("max-age=60, must-revalidate")))
    await ask(app, "/a")
    await app.cache.purge("/a", soft=True)
    await ask(app, "/a", "HEAD")  # its length is the same
    assert (await ask(app, "/a")).body == b" #3"


def most_held(before: int) -> int:
    return tracemalloc.get_traced_memory()[1] - before


async def test_a_part_that_says_that_it_is_larger_than_what_is_kept():
    film = Film()

    async def app(scope, receive, send):
        if find(scope["headers"], b"if-range") is None:
            await film(scope, receive, send)
            return
        about = (b"content-range", b"bytes 5-999999999/1000000000"), (b"etag", ETAG.encode())
        await send({"type": "http.response.start", "status": 206, "headers": [*cacheable(), *about]})
        for _ in range(100):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})

    middleware = cached(app, max_body=1000)
    await ask(middleware, "/a", headers={"range": "bytes=0-4"})
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert (await ask(middleware, "/a")).body == BODY
        assert most_held(before) < 5_000_000
    finally:
        tracemalloc.stop()


async def test_long_fields_that_a_response_varies_by_are_not_remembered():
    origin = Origin(cacheable("max-age=60", ("vary", "accept-encoding, accept-language")))
    app = cached(origin, Rule("/*", accept_language="negotiate"))
    await ask(app, "/a")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            value = f"x{number}" + "y" * 60_000
            await ask(app, "/a", headers={"accept-encoding": value, "accept-language": value})
            origin.scopes.clear()
        assert most_held(before) < 5_000_000
    finally:
        tracemalloc.stop()
