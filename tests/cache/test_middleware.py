"""CacheMiddleware over the memory store: what is kept, for whom, and what is said about it."""

import asyncio

import pytest

from ramkit.cache import Cache, CacheLookup, CacheMiddleware, Rule
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.clock import ManualClock
from tests.cache.wire import Origin, ask, cacheable


def cached(origin, *rules, clock=None, **options):
    return CacheMiddleware(origin, cache=Cache(clock=clock or ManualClock()), rules=rules, **options)


async def test_second_request_is_a_hit():
    origin = Origin(cacheable("max-age=60", ("x-a", "1"), ("x-a", "2")))
    app = cached(origin)
    first, second = await ask(app, "/a"), await ask(app, "/a")
    assert (first.x_cache, second.x_cache, origin.renders) == ("MISS", "HIT", 1)
    assert second.body == first.body
    assert second.all("x-a") == ["1", "2"]
    assert first["cache-status"] == "ramkit; fwd=uri-miss; stored"
    assert second["cache-status"] == "ramkit; hit; ttl=60"
    assert second["age"] == "0"
    assert (await ask(app, "/a", "HEAD")).body == b""


async def test_age_grows_and_the_entry_expires():
    clock = ManualClock()
    origin = Origin(cacheable("max-age=60", ("age", "10")))
    app = cached(origin, clock=clock)
    assert (await ask(app, "/a"))["age"] == "10"
    clock.advance(30)
    hit = await ask(app, "/a")
    assert (hit["age"], hit["cache-status"]) == ("40", "ramkit; hit; ttl=20")
    clock.step(-3600)  # the wall clock goes back: nothing lives longer
    clock.advance(20)
    assert (await ask(app, "/a")).x_cache == "MISS"


async def test_nothing_said_nothing_kept():
    origin = Origin()
    app = cached(origin)
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]
    app = cached(origin, default_ttl=5)
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "HIT"]


async def test_rule_gives_a_ttl_and_browsers_revalidate():
    clock = ManualClock()
    origin = Origin()
    app = cached(origin, Rule("/cities/*", ttl=300), clock=clock)
    miss, hit = await ask(app, "/cities/1"), await ask(app, "/cities/1")
    assert miss["cache-control"] == hit["cache-control"] == "no-cache"
    assert miss["etag"] == hit["etag"] is not None
    assert (await ask(app, "/other")).x_cache == "MISS"
    clock.advance(299)
    assert (await ask(app, "/cities/1")).x_cache == "HIT"
    clock.advance(1)
    assert (await ask(app, "/cities/1")).x_cache == "MISS"


async def test_browser_ttl_counts_from_now():
    clock = ManualClock()
    app = cached(Origin(), Rule("/*", ttl=300, browser_ttl=10), clock=clock)
    assert (await ask(app, "/"))["cache-control"] == "max-age=10"
    clock.advance(100)
    hit = await ask(app, "/")
    assert (hit["age"], hit["cache-control"]) == ("100", "max-age=110")


@pytest.mark.parametrize(
    "headers",
    [
        cacheable("no-store"),
        cacheable("private, max-age=60"),
        cacheable('private="x", max-age=60'),
        cacheable("max-age=60", ("set-cookie", "a=b")),
        cacheable("max-age=60", ("vary", "*")),
        cacheable("max-age=60", ("vary", "accept, *")),
        cacheable("max-age=60", ("content-type", "text/event-stream; charset=utf-8")),
        cacheable("max-age=60", ("content-range", "bytes 0-1/2")),
        cacheable("max-age=0"),
        cacheable("max-age=60", ("age", "60")),
        cacheable("max-age=x"),
        [(b"expires", b"0")],
        [(b"pragma", b"no-cache")],
        cacheable("max-age=60", ("cache-groups", "not a list(")),
        cacheable("max-age=60, x=" + "y" * 3000),
    ],
)
async def test_never_stored(headers):
    origin = Origin(headers)
    app = cached(origin, Rule("/*", ttl=60))
    for _ in range(2):
        assert (await ask(app, "/a")).x_cache == "MISS"


@pytest.mark.parametrize("status", [206, 304, 401, 429, 500, 503])
async def test_statuses_never_stored(status):
    app = cached(Origin(cacheable("max-age=60"), status=status))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]


async def test_a_rule_is_for_success_and_404_keeps_its_status():
    app = cached(Origin(status=404), Rule("/*"))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]
    app = cached(Origin(cacheable(), status=404))
    answers = [await ask(app, "/a") for _ in range(2)]
    assert [(answer.x_cache, answer.status) for answer in answers] == [("MISS", 404), ("HIT", 404)]


@pytest.mark.parametrize(
    ("control", "shared"), [("max-age=9", False), ("public, max-age=9", True), ("s-maxage=9", True)]
)
async def test_authorization(control, shared):
    origin = Origin(cacheable(control))
    app = cached(origin, Rule("/*"))
    secret = {"authorization": "Bearer a"}
    await ask(app, "/a", headers=secret)
    assert (await ask(app, "/a")).x_cache == ("HIT" if shared else "MISS")
    assert (await ask(app, "/a", headers={"authorization": "Bearer b"})).x_cache == (
        "HIT" if shared else "MISS"
    )


async def test_cookies_under_a_rule():
    origin = Origin()
    app = cached(origin, Rule("/shared", cookies="ignore"), Rule("/*"))
    mine = {"cookie": "id=1"}
    await ask(app, "/a", headers=mine)
    assert (await ask(app, "/a")).x_cache == "MISS"
    assert (await ask(app, "/a")).x_cache == "HIT"
    assert (await ask(app, "/a", headers=mine)).x_cache == "MISS"
    await ask(app, "/shared", headers=mine)
    assert (await ask(app, "/shared", headers={"cookie": "id=2"})).x_cache == "HIT"


@pytest.mark.parametrize("name", ["user", "auth", "session"])
async def test_a_response_for_which_a_principal_was_read_is_private(name):
    async def read(scope):
        scope[name] = object()
        scope.get(name)

    app = cached(Origin(before=read), Rule("/open", identity="ignore"), Rule("/*"))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]
    assert [(await ask(app, "/open")).x_cache for _ in range(2)] == ["MISS", "HIT"]


async def test_private_when_a_room_says_so_in_the_context():
    async def mark(scope):
        RequestContext.of(scope).personal = True

    app = cached(Origin(before=mark), Rule("/*"))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]


async def test_starlette_session_counts_only_when_the_app_touches_it():
    pytest.importorskip("itsdangerous")
    from starlette.applications import Starlette
    from starlette.middleware.sessions import SessionMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def personal(request):
        return PlainTextResponse(str(request.session.get("id")))

    inner = Starlette(routes=[Route("/me", personal), Route("/all", lambda request: PlainTextResponse("x"))])
    app = cached(SessionMiddleware(inner, secret_key="secret"), Rule("/*"))
    assert [(await ask(app, "/all")).x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert [(await ask(app, "/me")).x_cache for _ in range(2)] == ["MISS", "MISS"]


async def test_vary_keeps_several_variants():
    origin = Origin(cacheable("max-age=60", ("vary", "Accept-Language, X-B")))
    app = cached(origin)
    de, fr = {"accept-language": "de"}, {"accept-language": "fr"}
    bodies = [(await ask(app, "/a", headers=headers)).body for headers in (de, fr, {})]
    assert len(set(bodies)) == 3
    for headers, body in zip((de, fr, {}), bodies, strict=True):
        again = await ask(app, "/a", headers=headers)
        assert (again.x_cache, again.body) == ("HIT", body)
    two_lines = [("accept-language", "de"), ("accept-language", "en")]
    await ask(app, "/a", headers=two_lines)
    assert (await ask(app, "/a", headers={"accept-language": "de,en"})).x_cache == "HIT"


async def test_vary_that_changes_with_the_response():
    async def choose(scope):
        names = b"accept" if dict(scope["headers"]).get(b"x-kind") == b"1" else b"accept-language"
        origin.headers = cacheable("max-age=60", ("vary", names.decode()))

    origin = Origin(before=choose)
    app = cached(origin)
    one, two = {"x-kind": "1", "accept": "a"}, {"x-kind": "2", "accept": "b", "accept-language": "de"}
    await ask(app, "/a", headers=one)
    await ask(app, "/a", headers=two)
    assert (await ask(app, "/a", headers=one)).x_cache == "HIT"
    assert (await ask(app, "/a", headers=two)).x_cache == "HIT"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("/a/b", "/a:b"),
        ("/a%2Fb", "/a/b"),
        ("/a?b=1", "/a?b=2"),
        ("/a?b", "/a"),
        ("/a?x=1&y=2", "/a?y=2&x=1"),
        ("/a", "/a/"),
    ],
)
async def test_keys_do_not_collide(one, two):
    app = cached(Origin(cacheable()))
    await ask(app, one)
    assert (await ask(app, two)).x_cache == "MISS"


async def test_host_and_scheme_are_in_the_key():
    app = cached(Origin(cacheable()))
    await ask(app, "/a")
    assert (await ask(app, "/a", host="other.test")).x_cache == "MISS"
    assert (await ask(app, "/a", scheme="https")).x_cache == "MISS"
    assert (await ask(app, "/a", host="H.test:80")).x_cache == "HIT"


async def test_query_rules():
    rules = (
        Rule("/sorted", query_sort=True),
        Rule("/some", query_select=["page"]),
        Rule("/most", query_ignore=["utm_*", "fbclid"]),
    )
    app = cached(Origin(), *rules)
    pairs = [
        ("/sorted?b=1&a=2", "/sorted?a=2&b=1"),
        ("/some?page=1&x=2", "/some?page=1"),
        ("/most?utm_a=1&b=2&fbclid=", "/most?b=2"),
    ]
    for one, two in pairs:
        await ask(app, one)
        assert (await ask(app, two)).x_cache == "HIT", one
    assert (await ask(app, "/some?page=2")).x_cache == "MISS"
    assert (await ask(app, "/sorted?a=1&a=2")).x_cache == "MISS"
    assert (await ask(app, "/sorted?a=2&a=1")).x_cache == "MISS"


async def test_two_hosts_and_get_with_a_body_never_reach_the_store():
    origin = Origin(cacheable())
    app = cached(origin)
    assert (await ask(app, "/a", headers=[("host", "evil.test")])).x_cache == "BYPASS"
    assert (await ask(app, "/a", headers={"content-length": "5"})).x_cache == "BYPASS"
    assert (await ask(app, "/a")).x_cache == "MISS"


async def test_request_directives():
    origin = Origin(cacheable())
    app = cached(origin)
    assert (await ask(app, "/a", headers={"cache-control": "only-if-cached"})).status == 504
    await ask(app, "/a", headers={"cache-control": "no-store"})
    assert (await ask(app, "/a")).x_cache == "MISS"
    # nobody sends requests past the cache by asking for it
    assert (
        await ask(app, "/a", headers={"cache-control": "no-cache, max-age=0", "pragma": "no-cache"})
    ).x_cache == "HIT"


async def test_conditional_requests_on_hits_and_misses():
    origin = Origin(
        cacheable("max-age=60", ("etag", '"v1"'), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"))
    )
    app = cached(origin)
    miss = await ask(app, "/a", headers={"if-none-match": '"v1"'})
    assert (miss.status, miss.body, miss.x_cache) == (304, b"", "MISS")
    assert all(name != b"if-none-match" for name, _ in origin.scopes[0]["headers"])
    hit = await ask(app, "/a", headers={"if-none-match": 'W/"x", W/"v1"'})
    assert (hit.status, hit["etag"], hit["content-length"]) == (304, '"v1"', None)
    assert (await ask(app, "/a", headers={"if-none-match": '"v2"'})).status == 200
    assert (
        await ask(app, "/a", headers={"if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT"})
    ).status == 304
    assert (await ask(app, "/a", headers={"if-match": '"v2"'})).status == 412
    assert (
        await ask(app, "/a", headers={"if-unmodified-since": "Sun, 06 Nov 1994 08:49:36 GMT"})
    ).status == 412
    assert origin.renders == 1


async def test_etag_is_made_from_content_and_is_the_same_everywhere():
    one, two = cached(Origin(cacheable())), cached(Origin(cacheable()))
    first, second = await ask(one, "/a"), await ask(two, "/a")
    assert first["etag"] == second["etag"]
    assert (await ask(one, "/a", headers={"if-none-match": first["etag"]})).status == 304


async def test_streams_are_passed_on_while_they_are_stored():
    order = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        for number in range(3):
            order.append(number)
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    async def note(message):
        order.append(message.get("body"))

    middleware = cached(app)
    from tests.cache.wire import scope_of

    await middleware(scope_of("/a"), None, note)
    assert order == [0, None, b"0", 1, b"1", 2, b"2", None]
    hit = await ask(middleware, "/a")
    assert (hit.x_cache, hit.body, hit["content-length"]) == ("HIT", b"012", "3")


async def test_large_responses_are_passed_on_and_not_kept():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        for _ in range(10):
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
        await send({"type": "http.response.body"})

    middleware = cached(app, max_body=500)
    for _ in range(2):
        answer = await ask(middleware, "/a")
        assert (answer.x_cache, len(answer.body)) == ("MISS", 1000)


@pytest.mark.parametrize("claimed", [b"5", b"500"])
async def test_a_body_of_another_length_than_claimed_is_not_kept(claimed):
    async def app(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*cacheable(), (b"content-length", claimed)],
            }
        )
        await send({"type": "http.response.body", "body": b"0123456789"})

    middleware = cached(app)
    for _ in range(2):
        answer = await ask(middleware, "/a")
        assert (answer.x_cache, answer.body) == ("MISS", b"0123456789")


async def test_an_app_that_ends_early_or_raises_leaves_nothing():
    async def ends(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async def raises(scope, receive, send):
        await ends(scope, receive, send)
        raise RuntimeError("half-way")

    app = cached(ends)
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]
    app = cached(raises)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="half-way"):
            await ask(app, "/a")
    assert not app.cache.flights._flying


async def test_unsafe_methods_invalidate():
    origin = Origin(cacheable())
    app = cached(origin)
    for path in ("/a", "/a?q=1", "/b", "/c", "/d"):
        await ask(app, path)
    origin.headers = [(b"location", b"/b?x"), (b"content-location", b"http://h.test/c"), (b"x", b"y")]
    assert (await ask(app, "/a", "PUT")).status == 200
    origin.headers = cacheable()
    assert [(await ask(app, path)).x_cache for path in ("/a", "/a?q=1", "/b", "/c", "/d")] == ["MISS"] * 4 + [
        "HIT"
    ]


async def test_unsafe_methods_that_fail_or_point_elsewhere_invalidate_nothing():
    origin = Origin(cacheable())
    app = cached(origin)
    await ask(app, "/a")
    await ask(app, "/b", host="other.test")
    origin.status = 400
    await ask(app, "/a", "POST")
    origin.status, origin.headers = 200, [(b"location", b"http://other.test/b")]
    await ask(app, "/x", "POST")
    assert (await ask(app, "/a")).x_cache == (await ask(app, "/b", host="other.test")).x_cache == "HIT"


async def test_groups_by_rule_and_by_header():
    origin = Origin(cacheable("max-age=60", ("cache-groups", '"red", "blue"')))
    app = cached(origin, Rule("/ruled", groups=["green"]))
    cache = app.cache
    for group, path in (("red", "/a"), ("blue", "/a"), ("green", "/ruled")):
        await ask(app, path)
        await ask(app, "/ruled2")
        await cache.purge_groups("none")
        assert (await ask(app, path)).x_cache == "HIT"
        await cache.purge_groups("none", group)
        assert (await ask(app, path)).x_cache == "MISS"
    origin.headers = [(b"cache-group-invalidation", b'"red"')]
    await ask(app, "/elsewhere", "DELETE")
    origin.headers = cacheable()
    assert (await ask(app, "/a")).x_cache == "MISS"


@pytest.mark.parametrize(
    ("purge", "gone"),
    [
        (lambda cache: cache.purge("/posts/1"), {"/posts/1", "/posts/1?q=2"}),
        (lambda cache: cache.purge("http://h.test/posts/1?q=2", "/other"), {"/posts/1?q=2", "/other"}),
        (lambda cache: cache.purge("https://h.test/posts/1"), set()),
        (lambda cache: cache.purge_prefix("/posts"), {"/posts", "/posts/1", "/posts/1?q=2"}),
        (
            lambda cache: cache.purge_prefix("/"),
            {"/posts", "/posts/1", "/posts/1?q=2", "/postscript", "/other"},
        ),
        (
            lambda cache: cache.purge_matching("/posts*"),
            {"/posts", "/posts/1", "/posts/1?q=2", "/postscript"},
        ),
        (lambda cache: cache.purge_matching("*/?"), {"/posts/1", "/posts/1?q=2"}),
    ],
)
async def test_purging(purge, gone):
    paths = ["/posts", "/posts/1", "/posts/1?q=2", "/postscript", "/other"]
    app = cached(Origin(cacheable()))
    for path in paths:
        await ask(app, path)
    await purge(app.cache)
    assert {path for path in paths if (await ask(app, path)).x_cache == "MISS"} == gone


@pytest.mark.parametrize("url", ["posts", "ftp://h/x", "//h/x", "/a?b", ""])
async def test_purge_says_what_is_wrong(url):
    with pytest.raises(ValueError, match="url"):
        await Cache().purge(url)


async def test_soft_purge_serves_stale_once_while_it_refreshes():
    origin = Origin(cacheable("max-age=60"))
    app = cached(origin)
    await ask(app, "/a")
    await app.cache.purge_groups("none", soft=True)
    assert (await ask(app, "/a")).x_cache == "HIT"
    await app.cache.purge("/a", soft=True)
    stale = await ask(app, "/a")
    assert (stale.x_cache, stale.body) == ("STALE", b" #1")
    await settled(app)
    fresh = await ask(app, "/a")
    assert (fresh.x_cache, fresh.body, origin.renders) == ("HIT", b" #2", 2)


async def test_soft_purge_is_hard_for_whoever_carries_its_floor():
    origin = Origin(cacheable())

    async def purge(scope):
        if scope["method"] == "POST":
            await app.cache.purge("/a", soft=True)

    origin.before = purge
    app = cached(origin)
    await ask(app, "/a")
    writer = await ask(app, "/w", "POST")
    assert (await ask(app, "/a", floor=writer)).x_cache == "MISS"


async def settled(app):
    """Returns when what runs in the background has ended."""
    while pending := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
        await asyncio.wait(pending, timeout=5)


async def test_stale_while_revalidate():
    clock = ManualClock()
    origin = Origin(cacheable("max-age=10, stale-while-revalidate=20"))
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(15)
    assert [(await ask(app, "/a")).x_cache for _ in range(3)] == ["STALE"] * 3
    await settled(app)
    assert ((await ask(app, "/a")).x_cache, origin.renders) == ("HIT", 2)
    clock.advance(31)
    assert (await ask(app, "/a")).x_cache == "MISS"


async def test_must_revalidate_is_never_served_stale():
    clock = ManualClock()
    origin = Origin(cacheable("max-age=10, must-revalidate, stale-while-revalidate=20, stale-if-error=20"))
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(11)
    origin.status = 503
    answer = await ask(app, "/a")
    assert (answer.x_cache, answer.status) == ("MISS", 503)


@pytest.mark.parametrize("failure", [500, 503, RuntimeError])
async def test_stale_if_error(failure):
    async def fail(scope):
        if failing and failure is RuntimeError:
            raise RuntimeError

    failing = False
    clock = ManualClock()
    origin = Origin(cacheable("max-age=10, stale-if-error=100"), before=fail)
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(20)
    failing = True
    if failure is not RuntimeError:
        origin.status = failure
    stale = await ask(app, "/a")
    assert (stale.x_cache, stale.status, stale.body) == ("STALE", 200, b" #1")
    await app.cache.purge("/a")
    if failure is RuntimeError:
        with pytest.raises(RuntimeError):
            await ask(app, "/a")
    else:
        assert (await ask(app, "/a")).status == failure


async def test_validation_with_the_apps_own_etag():
    clock = ManualClock()
    seen = []

    async def app(scope, receive, send):
        asked = dict(scope["headers"]).get(b"if-none-match")
        seen.append(asked)
        same = asked == b'"v1"'
        headers = cacheable("max-age=10", ("etag", '"v1"'), ("x-number", str(len(seen))))
        await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if same else b"body"})

    middleware = cached(app, clock=clock)
    await ask(middleware, "/a")
    clock.advance(11)
    again = await ask(middleware, "/a")
    assert (again.status, again.x_cache, again.body, again["x-number"]) == (200, "REVALIDATED", b"body", "2")
    hit = await ask(middleware, "/a")
    assert (hit.x_cache, hit["age"], seen) == ("HIT", "0", [None, b'"v1"'])


async def test_no_cache_is_kept_for_validation_only():
    calls = []

    async def app(scope, receive, send):
        calls.append(dict(scope["headers"]).get(b"if-none-match"))
        status = 304 if calls[-1] else 200
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": cacheable("no-cache", ("etag", '"1"')),
            }
        )
        await send({"type": "http.response.body", "body": b"" if calls[-1] else b"body"})

    middleware = cached(app)
    answers = [await ask(middleware, "/a") for _ in range(3)]
    assert [answer.x_cache for answer in answers] == ["MISS", "REVALIDATED", "REVALIDATED"]
    assert {answer.body for answer in answers} == {b"body"}
    assert calls == [None, b'"1"', b'"1"']


async def test_a_purge_during_the_render_discards_it():
    started, go = asyncio.Event(), asyncio.Event()

    async def wait(scope):
        started.set()
        await go.wait()

    app = cached(Origin(cacheable(), before=wait))
    first = asyncio.create_task(ask(app, "/a"))
    await started.wait()
    await app.cache.purge("/a")
    go.set()
    assert (await first).x_cache == "MISS"
    assert (await ask(app, "/a")).x_cache == "MISS"
    assert (await ask(app, "/a")).x_cache == "HIT"


async def test_64_misses_render_once():
    gate = asyncio.Event()

    async def wait(scope):
        await gate.wait()

    origin = Origin(cacheable(), before=wait)
    app = cached(origin)
    requests = [asyncio.create_task(ask(app, "/a")) for _ in range(64)]
    for _ in range(20):
        await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*requests)
    assert origin.renders == 1
    assert {answer.body for answer in answers} == {b" #1"}
    assert sorted(answer.x_cache for answer in answers) == ["HIT"] * 63 + ["MISS"]


async def test_followers_of_what_cannot_be_stored_go_at_once_and_nobody_waits_next_time():
    gate, inside, most = asyncio.Event(), 0, 0

    async def wait(scope):
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await gate.wait()
        inside -= 1

    origin = Origin(cacheable("private"), before=wait)
    app = cached(origin)

    async def together():
        nonlocal most
        most = 0
        gate.clear()
        requests = [asyncio.create_task(ask(app, "/a")) for _ in range(8)]
        for _ in range(20):
            await asyncio.sleep(0)
        waiting = most
        gate.set()
        bodies = {answer.body for answer in await asyncio.gather(*requests)}
        assert len(bodies) == 8
        return waiting

    assert await together() == 1
    assert await together() == 8


async def test_a_cancelled_leader_hands_over():
    gates = [asyncio.Event(), asyncio.Event()]

    async def wait(scope):
        await gates[origin.renders - 1].wait()

    origin = Origin(cacheable(), before=wait)
    app = cached(origin)
    leader = asyncio.create_task(ask(app, "/a"))
    while not origin.renders:
        await asyncio.sleep(0)
    followers = [asyncio.create_task(ask(app, "/a")) for _ in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    leader.cancel()
    gates[1].set()
    answers = await asyncio.gather(*followers)
    assert origin.renders == 2
    assert {answer.body for answer in answers} == {b" #2"}


async def test_followers_do_not_wait_for_the_leaders_slow_client():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": cacheable()})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})

    from tests.cache.wire import scope_of

    stuck = asyncio.Event()

    async def slow(message):
        await stuck.wait()

    middleware = cached(app)
    leader = asyncio.create_task(middleware(scope_of("/a"), None, slow))
    await asyncio.sleep(0)
    follower = await asyncio.wait_for(ask(middleware, "/a"), 5)
    assert (follower.x_cache, follower.body, leader.done()) == ("HIT", b"xxx", False)
    stuck.set()
    await leader


async def test_values_are_refreshed_ahead_of_their_expiry():
    clock = ManualClock()

    async def slow(scope):
        clock.advance(2)

    origin = Origin(cacheable("max-age=100"), before=slow)
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    entry = app.cache.store.peek(app._target(origin.scopes[0], b"h.test").key)
    await ask(app, "/a")
    assert entry.stored < entry.refresh_at < entry.fresh_until
    clock.advance((entry.refresh_at + entry.fresh_until) / 2 - clock.time())
    assert (await ask(app, "/a")).x_cache == "HIT"
    await settled(app)
    assert origin.renders == 2


async def test_purges_from_handlers_raise_the_floor():
    origin = Origin(cacheable())

    async def purge(scope):
        if scope["method"] == "PUT":
            await app.cache.purge_groups("x")

    origin.before = purge
    app = cached(origin)
    answer = await ask(app, "/a", "PUT")
    assert answer.context.floor.epochs["cache"][1] == app.cache.log.epoch > 0


async def test_other_scopes_pass_and_observers_hear():
    seen, events = [], []

    async def app(scope, receive, send):
        seen.append(scope["type"])
        if scope["type"] == "http":
            await Origin(cacheable())(scope, receive, send)

    middleware = CacheMiddleware(app, cache=Cache(observers=[events.append]))
    await middleware({"type": "websocket"}, None, None)
    await middleware({"type": "strange"}, None, None)
    await ask(middleware, "/a")
    await ask(middleware, "/a")
    assert seen == ["websocket", "strange", "http"]
    assert [event.result for event in events if isinstance(event, CacheLookup)] == ["miss", "hit"]


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Rule("cities"), "path"),
        (lambda: Rule("/", ttl=-1), "ttl"),
        (lambda: Rule("/", ttl=float("nan")), "ttl"),
        (lambda: Rule("/", groups="cities"), "groups"),
        (lambda: Rule("/", cookies="shared"), "cookies"),
        (lambda: Rule("/", query_select=["a"], query_ignore=["b"]), "query_ignore"),
        (lambda: Cache("http://x"), "store"),
        (lambda: Cache(3), "store"),
        (lambda: Cache(name="a b"), "name"),
        (lambda: CacheMiddleware(None, cache="memory://"), "cache"),
        (lambda: CacheMiddleware(None, cache=Cache(), rules=["/x"]), "rules"),
        (lambda: CacheMiddleware(None, cache=Cache(), default_ttl=True), "default_ttl"),
        (lambda: CacheMiddleware(None, cache=Cache(), max_body=0), "max_body"),
        (lambda: Cache().memoize(ttl=0), "ttl"),
    ],
)
def test_mistakes_are_named(make, argument):
    with pytest.raises(ConfigurationError, match=f"^{argument}:"):
        make()
