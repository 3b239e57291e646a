"""HTTP through the middleware: validation, HEAD, POST, a request's directives, what URLs have in common."""

import asyncio

import pytest

from ramkit.cache import Cache, CacheMiddleware, MemoryStore, RedisStore, Rule, TieredStore
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.clock import ManualClock
from ramkit.testing.lint import ASGILint
from tests.cache.wire import Origin, ask, cacheable

MODIFIED = "Sat, 05 Nov 1994 08:49:37 GMT"


class Site:
    """An app with a cache in front, its clock, and a switch for each request's answer."""

    def __init__(self, *rules, headers=(), **options):
        self.clock = ManualClock()
        self.origin = Origin(list(headers))
        self.cache = Cache(clock=self.clock)
        middleware = CacheMiddleware(self.origin, cache=self.cache, rules=rules, **options)
        self.app = ASGILint(middleware)

    async def ask(self, path="/a", method="GET", headers=None, **more):
        return await ask(self.app, path, method, headers, **more)

    def asked(self, name):
        """What the app's last request said in that field."""
        return dict(self.origin.scopes[-1]["headers"]).get(name.encode())


# -- validation ------------------------------------------------------------------------------------------


async def test_an_own_etag_does_not_hide_last_modified():
    site = Site(headers=cacheable("max-age=10", ("last-modified", MODIFIED), ("x-a", "1")))
    first = await site.ask()
    site.clock.advance(11)
    site.origin.status, site.origin.headers = 304, cacheable("max-age=10", ("x-b", "2"))
    second = await site.ask()
    assert site.asked("if-modified-since") == MODIFIED.encode()
    assert site.asked("if-none-match") is None
    assert (second.x_cache, second.status, second.body) == ("REVALIDATED", 200, first.body)
    assert (second["x-a"], second["x-b"], second["etag"]) == ("1", "2", first["etag"])
    assert (await site.ask()).x_cache == "HIT"


async def test_a_stale_hit_is_validated_and_the_client_hears_304():
    site = Site(headers=cacheable("max-age=10", ("last-modified", MODIFIED)))
    await site.ask()
    site.clock.advance(11)
    site.origin.status = 304
    assert (await site.ask(headers={"if-modified-since": MODIFIED})).status == 304


async def test_what_is_validated_is_as_old_as_the_304_also_if_it_is_not_stored():
    site = Site(headers=cacheable("max-age=10", ("etag", '"1"')))
    await site.ask()
    site.clock.advance(11)
    site.origin.status, site.origin.headers = (
        304,
        cacheable("max-age=10", ("set-cookie", "a=b"), ("age", "3")),
    )
    answer = await site.ask()
    assert (answer.x_cache, answer["set-cookie"], answer["age"]) == ("REVALIDATED", "a=b", "3")


async def test_a_purge_during_validation_wins():
    site = Site(headers=cacheable("max-age=10", ("etag", '"1"')))
    await site.ask()
    site.clock.advance(11)

    async def purge(scope):
        await site.cache.purge("/a")

    site.origin.status, site.origin.before = 304, purge
    assert (await site.ask()).x_cache == "REVALIDATED"
    site.origin.status, site.origin.before = 200, None
    assert (await site.ask()).x_cache == "MISS"


async def test_an_app_that_reads_its_request_hears_its_end_in_a_second_render_too():
    """It was asked about one ETag and answered 304 about another."""
    ends = []

    async def app(scope, receive, send):
        ends.append(await receive())
        first = len(ends) == 2
        headers = cacheable("max-age=10", ("etag", f'"{len(ends)}"'))
        await send({"type": "http.response.start", "status": 304 if first else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if first else b"%d" % len(ends)})

    clock = ManualClock()
    cached = ASGILint(CacheMiddleware(ASGILint(app), cache=Cache(clock=clock)))
    await ask(cached, "/a")
    clock.advance(11)
    async with asyncio.timeout(5):
        assert (await ask(cached, "/a")).body == b"3"
    assert [end["type"] for end in ends] == ["http.request"] * 3


# -- HEAD ------------------------------------------------------------------------------------------------


async def test_head_brings_news_of_what_is_stored():
    site = Site(headers=cacheable("max-age=10", ("x-a", "1"), ("x-b", "1")))
    first = await site.ask()
    site.clock.advance(11)
    site.origin.headers, site.origin.renders = cacheable("max-age=100", ("x-a", "2")), 0
    head = await site.ask(method="HEAD")
    assert (head.x_cache, head["x-a"]) == ("MISS", "2")
    site.clock.advance(50)
    hit = await site.ask()
    assert (hit.x_cache, hit["x-a"], hit["x-b"], hit.body) == ("HIT", "2", "1", first.body)


@pytest.mark.parametrize("differs", [("etag", '"2"'), ("last-modified", MODIFIED), ("content-length", "9")])
async def test_head_about_something_else_makes_it_stale(differs):
    rule = Rule("*", client_control="follow", ttl=0)
    site = Site(rule, headers=cacheable("max-age=10", ("etag", '"1"')))
    await site.ask()
    site.origin.headers, site.origin.length = cacheable("max-age=100", differs), False
    await site.ask(method="HEAD", headers={"cache-control": "no-cache"})
    site.origin.headers = cacheable("max-age=100")
    assert (await site.ask()).x_cache == "MISS"


@pytest.mark.parametrize("status", [203, 404, 500])
async def test_head_without_success_is_no_news(status):
    site = Site(headers=cacheable("max-age=10, stale-if-error=100"))
    await site.ask()
    site.clock.advance(11)
    site.origin.status, site.origin.headers = status, cacheable("max-age=100")
    await site.ask(method="HEAD")
    site.origin.status = 500
    assert (await site.ask()).x_cache == "STALE"


async def test_a_purge_during_head_wins():
    site = Site(headers=cacheable("max-age=10"))
    await site.ask()
    site.clock.advance(11)

    async def purge(scope):
        await site.cache.purge("/a")

    site.origin.before, site.origin.renders, site.origin.headers = purge, 0, cacheable("max-age=100")
    await site.ask(method="HEAD")
    site.origin.before = None
    assert (await site.ask()).x_cache == "MISS"


async def test_head_for_one_client_is_no_news_for_others():
    site = Site(headers=cacheable("max-age=10, public"))
    await site.ask()
    site.clock.advance(11)
    site.origin.headers, site.origin.renders = cacheable("max-age=100", ("x-who", "ann")), 0
    await site.ask(method="HEAD", headers={"authorization": "ann"})
    assert (await site.ask()).x_cache == "MISS"


# -- POST ------------------------------------------------------------------------------------------------


async def test_post_may_say_what_get_would_give():
    site = Site(headers=cacheable("max-age=60", ("content-location", "/a")))
    await site.ask(method="POST")
    hit = await site.ask()
    assert (hit.x_cache, hit.body, site.origin.renders) == ("HIT", b" #1", 1)
    await site.ask(method="POST")
    assert ((await site.ask()).body, site.origin.renders) == (b" #2", 2)


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [
        ("PUT", 200, cacheable("max-age=60", ("content-location", "/a"))),
        ("POST", 201, cacheable("max-age=60", ("content-location", "/a"))),
        ("POST", 404, cacheable("max-age=60", ("content-location", "/a"))),
        ("POST", 200, cacheable("max-age=60", ("content-location", "/b"))),
        ("POST", 200, cacheable("max-age=60", ("content-location", "http://other.test/a"))),
        ("POST", 200, cacheable("max-age=60")),
        ("POST", 200, cacheable("public", ("content-location", "/a"))),
        ("POST", 200, cacheable("private, max-age=60", ("content-location", "/a"))),
        ("POST", 200, cacheable("max-age=60", ("content-location", "/a"), ("set-cookie", "a=b"))),
    ],
)
async def test_no_other_answer_to_an_unsafe_method_is_stored(method, status, headers):
    site = Site(Rule("*", ttl=60), headers=headers)
    site.origin.status, site.origin.length = status, False
    await site.ask(method=method)
    site.origin.status = 200
    assert (await site.ask()).x_cache == "MISS"


@pytest.mark.parametrize("field", ["x-http-method-override", "x-original-url"])
async def test_a_post_that_may_stand_for_something_else_is_not_stored(field):
    site = Site(headers=cacheable("max-age=60", ("content-location", "/a")))
    await site.ask(method="POST", headers={field: "other"})
    assert (await site.ask()).x_cache == "MISS"


async def test_what_was_purged_while_post_ran_is_not_stored():
    site = Site(headers=cacheable("max-age=60", ("content-location", "/a"), ("cache-groups", '"g"')))

    async def purge(scope):
        if scope["method"] == "POST":
            await site.cache.purge_groups("g")

    site.origin.before = purge
    await site.ask(method="POST")
    assert (await site.ask()).x_cache == "MISS"


async def test_a_purge_beside_the_posts_own_wins(monkeypatch):
    site = Site(headers=cacheable("max-age=60", ("content-location", "/a")))
    own = site.cache.purge_names

    async def purge_names(names):
        await own(["x:/"])
        await own(names)

    monkeypatch.setattr(site.cache, "purge_names", purge_names)
    await site.ask(method="POST")
    assert (await site.ask()).x_cache == "MISS"


async def test_post_larger_than_the_cache_takes_goes_to_its_client():
    site = Site(headers=cacheable("max-age=60", ("content-location", "/a")), max_body=2)
    assert (await site.ask(method="POST")).body == b" #1"
    assert (await site.ask()).x_cache == "MISS"


# -- what a request asks for -----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["no-cache", "max-age=5", "min-fresh=55"])
async def test_nobody_sends_load_past_the_cache_unless_the_rule_lets_them(asked):
    for rules, x_cache in (((), "HIT"), ((Rule("*", client_control="follow"),), "MISS")):
        site = Site(*rules, headers=cacheable("max-age=60"))
        await site.ask()
        site.clock.advance(6)
        assert (await site.ask(headers={"cache-control": asked})).x_cache == x_cache


async def test_no_cache_validates_what_is_there():
    site = Site(Rule("*", client_control="follow"), headers=cacheable("max-age=60", ("etag", '"1"')))
    await site.ask()
    site.origin.status = 304
    assert (await site.ask(headers={"cache-control": "no-cache"})).x_cache == "REVALIDATED"
    assert site.asked("if-none-match") == b'"1"'


async def test_max_stale_takes_what_has_expired():
    site = Site(Rule("*", client_control="follow"), headers=cacheable("max-age=10", ("etag", '"1"')))
    await site.ask()
    site.clock.advance(15)
    assert (await site.ask(headers={"cache-control": "max-stale=4"})).x_cache == "MISS"
    site.clock.advance(15)
    assert (await site.ask(headers={"cache-control": "max-stale=6"})).x_cache == "STALE"


# -- rules -----------------------------------------------------------------------------------------------


async def test_a_cookie_for_everybody_is_replayed():
    site = Site(Rule("*", set_cookie="everybody"), headers=cacheable("max-age=60", ("set-cookie", "a=b")))
    await site.ask()
    assert [(hit := await site.ask()).x_cache, hit["set-cookie"]] == ["HIT", "a=b"]


async def test_fields_of_no_cache_are_not_used_again():
    said = cacheable('max-age=60, no-cache="set-cookie"', ("set-cookie", "a=b"), ("x-b", "2"))
    site = Site(headers=said)
    miss, hit = await site.ask(), await site.ask()
    assert (miss["set-cookie"], hit.x_cache, hit["set-cookie"], hit["x-b"]) == ("a=b", "HIT", None, "2")


async def test_errors_are_kept_for_a_while_by_rule():
    site = Site(Rule("*", negative_ttl=5))
    site.origin.status = 404
    await site.ask()
    assert [(hit := await site.ask()).x_cache, hit.status] == ["HIT", 404]
    site.clock.advance(5)
    assert (await site.ask()).x_cache == "MISS"


@pytest.mark.parametrize(
    "mistake",
    [
        {"heuristic": 1.5},
        {"heuristic": -1},
        {"negative_ttl": -1},
        {"set_cookie": "ignore"},
        {"client_control": "yes"},
        {"accept_language": ""},
    ],
)
def test_mistakes_in_a_rule(mistake):
    with pytest.raises(ConfigurationError, match=next(iter(mistake))):
        Rule("*", **mistake)


# -- languages -------------------------------------------------------------------------------------------

GERMAN = cacheable("max-age=60", ("vary", "accept-language"), ("content-language", "de"))


@pytest.mark.parametrize(
    ("accepted", "x_cache"),
    [("fr;q=0.5, de;q=1.0", "HIT"), ("de", "HIT"), ("de, en", "HIT"), ("en", "MISS"), ("fr, de", "MISS")],
)
async def test_a_language_is_found_by_what_is_liked_best(accepted, x_cache):
    site = Site(Rule("*", accept_language="negotiate"), headers=GERMAN)
    await site.ask(headers={"accept-language": "en, de"})
    assert (await site.ask(headers={"accept-language": accepted})).x_cache == x_cache


async def test_other_fields_of_vary_count_beside_the_language():
    headers = cacheable("max-age=60", ("vary", "accept-language, x-a"), ("content-language", "de"))
    site = Site(Rule("*", accept_language="negotiate"), headers=headers)
    await site.ask(headers={"accept-language": "en, de", "x-a": "1"})
    assert (await site.ask(headers={"accept-language": "de", "x-a": "2"})).x_cache == "MISS"
    assert (await site.ask(headers={"accept-language": "de;q=0.4", "x-a": "1"})).x_cache == "HIT"


async def test_a_purge_reaches_what_is_found_by_language():
    site = Site(Rule("*", accept_language="negotiate"), headers=GERMAN)
    await site.ask(headers={"accept-language": "en, de"})
    await site.cache.purge("/a")
    assert (await site.ask(headers={"accept-language": "de"})).x_cache == "MISS"


async def test_languages_are_not_guessed_by_default():
    site = Site(headers=GERMAN)
    await site.ask(headers={"accept-language": "en, de"})
    assert (await site.ask(headers={"accept-language": "EN,de;q=1"})).x_cache == "HIT"
    for other in ("de, en", "de"):
        assert (await site.ask(headers={"accept-language": other})).x_cache == "MISS"


# -- No-Vary-Search --------------------------------------------------------------------------------------


def searching(spoken, *more):
    return cacheable("max-age=60", ("no-vary-search", spoken), *more)


async def test_queries_that_are_told_to_be_the_same_are():
    site = Site(headers=searching('params=("utm"), key-order'))
    await site.ask("/a?x=1&y=2&utm=ann")
    for path, x_cache in (
        ("/a?y=2&x=1&utm=bob", "HIT"),
        ("/a?x=1&y=2", "HIT"),
        ("/a?x=1&y=3", "MISS"),
        ("/b?x=1&y=2", "MISS"),
    ):
        assert (await site.ask(path)).x_cache == x_cache
    assert (await site.ask("/a?y=2&x=1", host="other.test")).x_cache == "MISS"


async def test_queries_are_compared_up_to_a_length():
    site = Site(headers=searching('params=("utm")'))
    for length, x_cache in ((4000, "HIT"), (4097, "MISS")):
        await site.ask(f"/a?x={'1' * (length - 8)}&utm=1")
        assert (await site.ask(f"/a?x={'1' * (length - 8)}&utm=2")).x_cache == x_cache


async def test_no_vary_search_and_vary_count_both():
    site = Site(headers=searching("params", ("vary", "x-a")))
    await site.ask("/a?1", headers={"x-a": "1"})
    assert (await site.ask("/a?2", headers={"x-a": "1"})).x_cache == "HIT"
    assert (await site.ask("/a?2", headers={"x-a": "2"})).x_cache == "MISS"


@pytest.mark.parametrize("url", ["http://h.test/a?x=1&utm=2", "http://h.test/a?x=1&utm=1", "/a"])
async def test_a_purge_of_either_url_counts(url):
    site = Site(headers=searching('params=("utm")'))
    await site.ask("/a?x=1&utm=1")
    await site.cache.purge(url)
    assert (await site.ask("/a?x=1&utm=2")).x_cache == "MISS"


async def test_who_asks_counts_under_another_query_too():
    site = Site(headers=searching("params"))
    await site.ask("/a?1")
    assert (await site.ask("/a?2", headers={"authorization": "ann"})).x_cache == "MISS"
    site = Site(Rule("*", ttl=60), headers=[(b"no-vary-search", b"params")])
    await site.ask("/a?1")
    assert (await site.ask("/a?2", headers={"cookie": "a=b"})).x_cache == "MISS"


# -- two processes over one Redis ------------------------------------------------------------------------


@pytest.fixture
async def pair(redis_url):
    """Two caches as in two processes, an app before each, and what they have in common."""
    stores = [TieredStore(RedisStore(redis_url, deadline=10), local=MemoryStore()) for _ in range(2)]
    caches = [Cache(store) for store in stores]
    for cache in caches:
        await cache.settle(None)
    origin, rule = Origin(), Rule("*", ttl=0, accept_language="negotiate")
    yield origin, [CacheMiddleware(origin, cache=cache, rules=[rule]) for cache in caches]
    for cache in caches:
        await cache.aclose()


@pytest.mark.parametrize(
    ("headers", "first", "then"),
    [
        (searching("params"), ("/a?1", "GET", {}), ("/a?2", "GET", {})),
        (GERMAN, ("/a", "GET", {"accept-language": "en, de"}), ("/a", "GET", {"accept-language": "de"})),
        (cacheable("max-age=60", ("content-location", "/a")), ("/a", "POST", {}), ("/a", "GET", {})),
    ],
    ids=["search", "language", "post"],
)
async def test_one_process_finds_what_another_left(pair, headers, first, then):
    origin, (one, other) = pair
    origin.headers = headers
    await ask(one, *first)
    assert (await ask(other, *then)).x_cache == "HIT"
    await one.cache.purge("/a")
    await other.cache.log.catch_up()
    assert (await ask(other, *then)).x_cache == "MISS"
