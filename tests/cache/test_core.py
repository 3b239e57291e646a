"""The decisions, by themselves: directives, keys, lifetimes, ages, groups."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.cache import Rule
from ramkit.cache.core import directives
from ramkit.cache.core.entry import BY_RULE, SHARED, SILENT
from ramkit.cache.core.facts import Facts
from ramkit.cache.core.freshness import initial_age, lifetime
from ramkit.cache.core.groups import groups_of
from ramkit.cache.core.keys import host_of, primary, select_query, variant, vary_names
from ramkit.cache.core.storing import Refused, Request, Storable, judge
from ramkit.cache.core.validating import updated


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"max-age=60, s-maxage=10", {"max-age": "60", "s-maxage": "10"}),
        (b'private="a, b", max-age=5', {"private": "a, b", "max-age": "5"}),
        (b"Max-Age=5, max-age=6", {"max-age": "5"}),
        (b'foo="bar, max-age=100", max-age=3', {"foo": "bar, max-age=100", "max-age": "3"}),
        (b'a="x\\"y", no-store', {"a": 'x"y', "no-store": ""}),
        (b'a="never closed, no-store', {"a": '"never closed', "no-store": ""}),
        (b'"odd", (x), no-store', {'"odd"': "", "(x)": "", "no-store": ""}),
        (b"", {}),
    ],
)
def test_directives(value, expected):
    assert directives.parse([value]) == expected


@given(st.binary(max_size=300))
def test_nothing_hides_no_store(rubbish):
    """Whatever stands beside it as a member of its own, unless it is inside of a closed quoted string."""
    if b'"' not in rubbish:
        assert "no-store" in directives.parse([rubbish, b"no-store"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [("5", 5), ("", 0), ("-1", 0), ("1.5", 0), ("٣", 0), ("9" * 30, 2**31), ("0005", 5)],
)
def test_seconds(value, expected):
    assert directives.seconds({"max-age": value}, "max-age") == expected


def facts(**headers):
    return Facts([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()])


DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
NOW = 784111777.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cache_control": "max-age=5, s-maxage=7"}, 7),
        ({"cache_control": "max-age=5", "expires": DATE}, 5),
        ({"expires": "Sun, 06 Nov 1994 08:50:37 GMT", "date": DATE}, 60),
        ({"expires": "Sun, 06 Nov 1994 08:50:37 GMT"}, 60),
        ({"expires": "0"}, 0),
        ({"expires": DATE, "date": "Sun, 06 Nov 1994 08:50:37 GMT"}, 0),
        ({"cache_control": "no-cache, max-age=5"}, 0),
        ({"cache_control": "public"}, None),
        ({}, None),
    ],
)
def test_lifetime(headers, expected):
    assert lifetime(facts(**headers), NOW) == expected


@pytest.mark.parametrize(
    ("headers", "delay", "expected"),
    [
        ({}, 0, 0),
        ({}, 2, 2),
        ({"age": "10"}, 2, 12),
        ({"date": DATE}, 0, 100),
        ({"date": DATE, "age": "200"}, 1, 201),
        ({"age": "-5"}, 0, 0),
        ({"age": "7, 8"}, 0, 7),
        ({"date": "Sun, 06 Nov 2094 08:49:37 GMT"}, 0, 0),
    ],
)
def test_initial_age(headers, delay, expected):
    assert initial_age(facts(**headers), NOW + 100, delay) == expected


def judged(rule=None, status=200, **headers):
    request = Request(
        authorized=False, identified=False, body=False, personal=False, no_store=False, rule=rule
    )
    return judge(request, status, facts(**headers), now=NOW, delay=0)


def test_what_is_stored_and_until_when():
    assert judged(cache_control="s-maxage=10, stale-while-revalidate=5") == Storable(10, 15, 10, 0, SHARED)
    assert judged(cache_control="max-age=10") == Storable(10, 10, 10, 0, 0)
    assert judged(cache_control="s-maxage=10") == Storable(10, -math.inf, -math.inf, 0, SHARED)
    rule = Rule("/*", ttl=9, stale_if_error=3)
    assert judged(rule) == Storable(9, 9, 12, 0, BY_RULE | SILENT)
    assert judged(rule, cache_control="public") == Storable(9, 9, 12, 0, BY_RULE | SHARED)
    assert judged(rule, status=404) == Refused("status")
    assert judged(Rule("/*", ttl=0)) == Refused("no-lifetime")
    assert judged(cache_control="no-cache", etag='"a"') == Storable(0, -math.inf, -math.inf, 0, 0)
    assert judged(cache_control="no-cache") == Refused("expired")


@given(
    st.lists(st.binary(max_size=8), min_size=3, max_size=3),
    st.lists(st.binary(max_size=8), min_size=3, max_size=3),
)
def test_keys_tell_parts_apart(one, two):
    keys = [primary("http", host.decode("latin-1"), [path], query) for host, path, query in (one, two)]
    assert (keys[0] == keys[1]) == (one == two)


def test_variants():
    key = b"k"
    assert variant(key, [b"a"], [(b"a", b"1, 2")]) == variant(key, [b"a"], [(b"a", b"1"), (b"a", b"2")])
    assert variant(key, [b"a"], []) != variant(key, [b"a"], [(b"a", b"")])
    assert variant(key, [b"a", b"b"], [(b"a", b"x")]) != variant(key, [b"a", b"b"], [(b"b", b"x")])
    assert vary_names([b"B, a", b"A"]) == (b"a", b"b")
    assert vary_names([b"a, *"]) is None


def test_hosts():
    assert host_of("http", b"EXAMPLE.org:80") == host_of("http", b"example.org") == "example.org"
    assert host_of("https", b"example.org:80") == "example.org:80"


def test_query_selection():
    rule = Rule("/", query_ignore=["utm_*", "x"], query_sort=True)
    assert select_query(b"b=2&utm_source=1&a=1&x&b=1", rule) == b"a=1&b=2&b=1"
    assert select_query(b"%75tm_source=1&a", rule) == b"a"
    assert select_query(b"b&a=1&c=%26", Rule("/", query_select=["a", "c"])) == b"a=1&c=%26"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ()),
        ([b'"a", "b;c"', b'"d";x=1'], ("a", "b;c", "d")),
        ([b"token"], None),
        ([b'("a")'], None),
        ([b'"a'], None),
        ([b'""'], None),
        ([b", ".join(b'"%d"' % n for n in range(200))], None),
    ],
)
def test_groups(lines, expected):
    assert groups_of(lines) == expected


def test_a_304_replaces_all_but_what_describes_the_body():
    stored = [
        (b"etag", b'"1"'),
        (b"content-length", b"3"),
        (b"a", b"1"),
        (b"a", b"2"),
        (b"content-type", b"t"),
    ]
    fresh = [(b"a", b"3"), (b"content-length", b"0"), (b"age", b"5"), (b"date", b"now")]
    kept = [
        (b"etag", b'"1"'),
        (b"content-length", b"3"),
        (b"content-type", b"t"),
        (b"a", b"3"),
        (b"date", b"now"),
    ]
    assert updated(stored, fresh) == kept


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/a/*", "/a/b/c", True),
        ("/a/*", "/a", False),
        ("/a*", "/a", True),
        ("*", "/anything\n", True),
        ("*.json", "/x.json", True),
        ("/a.c", "/abc", False),
        ("/?", "/x", True),
    ],
)
def test_rule_paths(pattern, path, expected):
    assert Rule(pattern).matches(path) is expected


def test_a_rule_of_many_stars_takes_no_time():
    assert not Rule("*a" * 40 + "b").matches("/" + "a" * 20_000)
