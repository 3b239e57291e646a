"""Attacks by what is in the key and what is not: poisoning by fields, hosts, paths and queries.

Kettle, "Practical Web Cache Poisoning" (2018) and "Web Cache Entanglement" (2020); Doyhenard, "Gotta cache
'em all" (2024). Each test says what would break it.
"""

import pytest

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.cache.lookup import SPECIFICATIONS
from tests.cache.test_hostile import answered
from tests.cache.test_middleware import cached
from tests.cache.wire import Origin, ask, cacheable, scope_of

EVIL = "evil.test"


class Echo:
    """Reflects what it was asked with; ``fields``: request fields that it reads."""

    def __init__(self, headers=(), fields=()):
        self.headers, self.fields = list(headers), fields
        self.renders = 0

    async def __call__(self, scope, receive, send):
        self.renders += 1
        asked = dict(scope["headers"])
        seen = [scope["method"].encode(), scope.get("raw_path") or b"", scope["query_string"]]
        body = b"|".join(seen + [asked.get(name.encode(), b"") for name in self.fields])
        headers = [*self.headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def served_after(app, path, headers, clean="/a"):
    """What an innocent request gets after an attacker's."""
    await ask(app, path, headers=headers)
    return await ask(app, clean)


# -- unkeyed fields (Kettle 2018) --------------------------------------------------------------------------

REFLECTED = ["x-forwarded-host", "x-forwarded-scheme", "x-forwarded-proto", "x-host", "forwarded"]


@pytest.mark.parametrize("name", REFLECTED)
async def test_a_reflected_field_that_vary_names_is_in_the_key(name):
    """Breaks when Vary is not read, or is read for some fields only."""
    app = cached(Echo(cacheable("max-age=60", ("vary", name)), [name]))
    answer = await served_after(app, "/a", {name: EVIL})
    assert EVIL.encode() not in answer.body
    assert (await ask(app, "/a")).x_cache == "HIT"


@pytest.mark.parametrize("name", REFLECTED)
async def test_nothing_reflected_is_kept_where_nobody_asked_for_it(name):
    """Breaks when responses that say nothing are stored without a rule."""
    app = cached(Echo(fields=[name]), Rule("/static/*", ttl=60))
    assert (await served_after(app, "/a", {name: EVIL})).x_cache == "MISS"


@pytest.mark.parametrize(
    "name",
    ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-http-method", "x-method-override"],
)
@pytest.mark.parametrize("rules", [(), (Rule("/*", ttl=60, identity="ignore", cookies="ignore"),)])
async def test_a_request_that_stands_for_another_is_no_part_of_the_cache(name, rules):
    """Breaks when such a field neither bypasses the cache nor counts: / is then what the field named."""
    origin = Echo(cacheable() if not rules else (), [name])
    app = cached(origin, *rules)
    evil = await ask(app, "/a", headers={name: "/admin"})
    innocent = await ask(app, "/a")
    assert (evil.x_cache, innocent.x_cache) == ("BYPASS", "MISS")
    assert b"admin" not in innocent.body
    again = await ask(app, "/a", headers={name: "/admin"})  # nor is it answered with what was stored
    assert (again.x_cache, origin.renders) == ("BYPASS", 3)


# -- Host (Kettle 2020) ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["H.Test", "h.test:80", "H.TEST:80"])
async def test_one_host_has_one_key(host):
    """Breaks when case or the default port make another key, so that purges miss it."""
    app = cached(Origin(cacheable()))
    await ask(app, "/a", host=host)
    assert (await ask(app, "/a")).x_cache == "HIT"
    await app.cache.purge("http://h.test/a")
    assert (await ask(app, "/a", host=host)).x_cache == "MISS"


@pytest.mark.parametrize(
    "host",
    ["h.test.", "h.test:81", "h.test:080", "h.test:443", "h.test:", "h.test:80:80", "x@h.test", "h.test/",
     "h.test\\x", "h.test x", " h.test", "xn--h-test", ""],
)  # fmt: skip
async def test_what_is_not_the_host_is_another_one(host):
    """Breaks when a host is normalised by more than its case and the scheme's own port: what the app reflects
    of it would be everybody's (Kettle's unkeyed port)."""
    app = cached(Echo(cacheable(), ["host"]))
    await ask(app, "/a", host=host)
    answer = await ask(app, "/a")
    assert (answer.x_cache, answer.body) == ("MISS", b"GET|/a||h.test")


async def test_two_hosts_go_past_the_cache_both_ways():
    """Breaks when the first or the last of two counts."""
    app = cached(Echo(cacheable(), ["host"]))
    for hosts in (("h.test", EVIL), (EVIL, "h.test"), ("h.test", "h.test")):
        answer = await ask(app, "/a", host=hosts[0], headers=[("host", hosts[1])])
        assert answer.x_cache == "BYPASS"
    assert (await ask(app, "/a")).x_cache == "MISS"


# -- paths (Kettle 2020; Doyhenard 2024) -------------------------------------------------------------------

PATHS = [
    "/a/b", "/a%2Fb", "/a%2fb", "/a//b", "//a/b", "/a/b/", "/a/./b", "/a/x/../b", "/a/x/%2e%2e/b",
    "/a/x/..%2Fb", "/a/%2E/b", "/a\\b", "/a%5Cb", "/a;p/b", "/a/b;p", "/a/b%3Bp", "/a/b%00", "/a/b%00.css",
    "/a/b%0A", "/a/b%20", "/a/b+", "/A/b", "/a/B", "/a/%62", "/a/b%3Fx=1", "/a/b?x=1", "/a/b%23x", "/a/b%",
    "/a/b%25", "/a/b%2525", "/caf%C3%A9", "/cafe%CC%81", "/caf%E9", "/CAF%C3%89", "/%ff", "/%fe",
    "/a/b%E2%80%8B",
]  # fmt: skip


@pytest.mark.parametrize("rules", [(), (Rule("/*", ttl=60, query_sort=True),)])
async def test_no_two_spellings_share_a_key(rules):
    """Breaks when any spelling is decoded, folded or resolved on its way into the key."""
    app = cached(Echo(cacheable()), *rules)
    for path in PATHS:
        raw, _, query = path.partition("?")
        answer = await ask(app, path)
        assert answer.body == f"GET|{raw}|{query}".encode()
        assert answer.x_cache == "MISS", path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("/a", "b=1", ""), ("/a?b=1", "", "")),
        (("/a", "", "/root"), ("/root/a", "", "")),
        (("/ab", "c", ""), ("/a", "bc", "")),
        (("/a\0b", "c", ""), ("/a", "b\0c", "")),
        (("/a|b", "c", ""), ("/a", "b|c", "")),
        (("/5:/a", "", ""), ("/a", "", "")),
        (("/a", "c", "/r\0b"), ("/a", "b\0c", "/r")),
        (("/a", "c", "/rb"), ("/a", "bc", "/r")),
    ],
)
async def test_no_separator_makes_one_key_of_two(one, other):
    """Breaks when parts of the key are joined by a character that may stand in them."""
    app = cached(Origin(cacheable()))
    for path, query, root in (one, other):
        scope = {"path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": root}
        assert await answered(app, scope_of("/") | scope) == "MISS"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x-a": "1", "x-b": "2"}, {"x-a": "1x-b2"}),
        ({"x-a": "1\r\nx-b: 2"}, {"x-a": "1", "x-b": "2"}),
        ({"x-a": "-"}, {}),
        ({"x-a": ""}, {}),
        ({"x-a": "+"}, {"x-a": ""}),
        ({"x-a": "1,2"}, {"x-a": "12"}),
        ({"x-a": "5:x-b"}, {"x-b": "5:x-a"}),
        ({"x-a": "1"}, {"x-b": "1"}),
    ],
)
async def test_no_value_of_a_varied_field_makes_one_variant_of_two(one, other):
    """Breaks when the secondary key joins names and values without their lengths."""
    app = cached(Echo(cacheable("max-age=60", ("vary", "x-a, x-b")), ["x-a", "x-b"]))
    assert [(await ask(app, "/a", headers=each)).x_cache for each in (one, other)] == ["MISS", "MISS"]


# -- queries (Kettle 2020) ---------------------------------------------------------------------------------

IGNORE, SELECT = Rule("/*", query_ignore=["utm_*"]), Rule("/*", query_select=["id"])
SORT = Rule("/*", query_sort=True)


@pytest.mark.parametrize(
    ("rule", "evil", "innocent"),
    [
        (IGNORE, "id=1&utm_a=x;id=2", "id=1"),
        (IGNORE, "id=1&utm_a;id=2", "id=1"),
        (SELECT, "id=1&x=1;id=2", "id=1"),
        (IGNORE, "id=1&utm_a=x&id=2", "id=1"),
        (SELECT, "id=1&id=2", "id=1"),
        (SELECT, "id=2&id=1", "id=1&id=2"),
        (SORT, "id=2&id=1", "id=1&id=2"),
        (SORT, "%69d=2&id=1", "id=1&id=2"),
        (SELECT, "%69d=2", ""),
        (IGNORE, "xutm_a=1", ""),
        (IGNORE, "=utm_a", ""),
        (IGNORE, "UTM_a=1", ""),
        (IGNORE, "utm%00_a=1", ""),
        (IGNORE, "?utm_a=1", ""),
        (SELECT, "id=1%26id=2", "id=1"),
    ],
)
async def test_parameter_cloaking(rule, evil, innocent):
    """Breaks when what an app may read as a parameter that counts is hidden in one that does not, or when the
    order of the same parameter is lost."""
    app = cached(Echo(), rule)
    assert (await ask(app, f"/a?{evil}")).x_cache == "MISS"
    answer = await ask(app, f"/a?{innocent}")
    assert (answer.x_cache, answer.body) == ("MISS", f"GET|/a|{innocent}".encode())


@pytest.mark.parametrize(
    ("rule", "one", "other"),
    [
        (IGNORE, "id=1&utm_a=2", "id=1"),
        (IGNORE, "id=1&%75tm_a=2", "id=1"),
        (SELECT, "id=1&x=2", "id=1"),
        (SORT, "b=1&a=2", "a=2&b=1"),
    ],
)
async def test_what_does_not_count_makes_no_new_key(rule, one, other):
    """Breaks when encoded names escape the rule: one render for each attacker's spelling."""
    app = cached(Echo(), rule)
    await ask(app, f"/a?{one}")
    assert (await ask(app, f"/a?{other}")).x_cache == "HIT"


async def test_an_unkeyed_query_is_by_rule_only():
    """Breaks when utm_* or anything else is dropped from the key by default."""
    app = cached(Echo(cacheable()))
    await ask(app, "/a?utm_content=<script>")
    assert b"script" not in (await ask(app, "/a")).body


@pytest.mark.parametrize("one", ["file=%ff", "file=%fe%00", "file=%C3", "file=%EF%BF%BD"])
async def test_no_vary_search_does_not_make_one_of_bytes_that_are_no_text(one):
    """Breaks when undecodable bytes are replaced before they are compared."""
    app = cached(Echo(cacheable("max-age=60", ("no-vary-search", 'params=("x")'))))
    await ask(app, "/a?file=%fe")
    assert (await ask(app, f"/a?{one}")).x_cache == "MISS"
    assert (await ask(app, "/a?file=%fe&x=1")).x_cache == "HIT"


@pytest.mark.parametrize("headers", [{"content-length": "5"}, {"transfer-encoding": "chunked"},
                                     {"content-length": "0, 5"}, {"content-length": "+0"}])  # fmt: skip
async def test_fat_get(headers):
    """Breaks when a body that the key does not hold makes a stored response."""
    app = cached(Echo(cacheable()))
    assert (await ask(app, "/a", headers=headers)).x_cache == "BYPASS"
    assert (await ask(app, "/a")).x_cache == "MISS"


# -- floods ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vary", "no-vary-search"])
async def test_floods_of_specifications_stay_bounded(name):
    """Breaks when what a URL's responses vary by has no bound: each request looks through it."""
    origin = Echo()
    cache = Cache(max_bytes=100_000)
    app = CacheMiddleware(origin, cache=cache)
    target = app._target(scope_of("/a?n=0"), b"h.test")
    for count in range(200):
        value = f"x-{count}" if name == "vary" else f'params=("p{count}")'
        origin.headers = cacheable("max-age=60", (name, value))
        await ask(app, "/a?n=0" if name == "vary" else f"/a?n={count}", headers={f"x-{count}": "1"})
    known = await cache.find(target.key if name == "vary" else target.searches, None)
    assert known is not None
    assert len(known.headers) == SPECIFICATIONS


async def test_a_flood_of_variants_stays_within_the_bytes():
    """Breaks when variants escape the store's bound."""
    cache = Cache(max_bytes=100_000)
    app = CacheMiddleware(Echo(cacheable("max-age=60", ("vary", "x-a"))), cache=cache)
    for count in range(1000):
        await ask(app, "/a", headers={"x-a": f"{count}"})
    assert 0 < len(cache.store) < 500


async def test_more_names_than_anybody_means_are_not_stored():
    """Breaks when one response may have each request hash any number of fields."""
    names = ", ".join(f"x-{count}" for count in range(65))
    app = cached(Echo(cacheable("max-age=60", ("vary", names))))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]
