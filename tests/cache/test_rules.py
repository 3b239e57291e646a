"""The RFCs' rules, by themselves: what is stored, how long, what a request makes of it, what is alike."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.cache import Rule
from ramkit.cache.core import directives, negotiating, search, targeted
from ramkit.cache.core.conditional import parse_http_date
from ramkit.cache.core.entry import BY_RULE, OWN_ETAG, SHARED, SILENT, Entry
from ramkit.cache.core.facts import Facts
from ramkit.cache.core.freshness import heuristic_lifetime, initial_age, lifetime
from ramkit.cache.core.invalidating import invalidated, represents_target
from ramkit.cache.core.keys import Target, variant
from ramkit.cache.core.requesting import wanted
from ramkit.cache.core.serving import State, kept_headers
from ramkit.cache.core.storing import Refused, Request, Storable, judge
from ramkit.cache.core.validating import confirmed, precondition_of, same_representation, updated
from tests.cache.wire import scope_of

NOW = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
YESTERDAY = "Sat, 05 Nov 1994 08:49:37 GMT"


def facts(**headers):
    return Facts([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()])


def judged(rule=None, status=200, **headers):
    request = Request(
        authorized=False, identified=False, body=False, personal=False, no_store=False, rule=rule
    )
    return judge(request, status, facts(**headers), now=NOW, delay=0)


# -- CDN-Cache-Control (RFC 9213) ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"max-age=60, foo, bar=tok;x=1", {"max-age": "60", "foo": "", "bar": "tok"}),
        (b"no-store=?0, public", {"public": ""}),
        (b"no-store=?0", {}),
        (b"", None),
        (b"max-age=60, &&&", None),
        (b"Max-Age=60", None),
        (b"max-age= 60", None),
        (b"x=" + b"1" * 3000, {"no-store": ""}),
    ],
)
def test_targeted_directives(value, expected):
    assert targeted.parse([value]) == expected


@given(st.binary(max_size=60))
def test_no_targeted_field_is_an_error(value):
    found = targeted.parse([value])
    assert found is None or all(type(name) is str for name in found)


@pytest.mark.parametrize("value", ['"60"', "1.5", "(60)", ":aGk=:", "-1"])
def test_a_targeted_lifetime_of_another_type_is_none(value):
    assert lifetime(facts(cdn_cache_control=f"max-age={value}"), NOW) == 0


def test_targeted_directives_are_instead_of_the_others():
    assert judged(cdn_cache_control="max-age=60", cache_control="no-store") == Storable(60, 60, 60, 0, 0)
    assert judged(cdn_cache_control="max-age=60", expires="0", pragma="no-cache").fresh == 60
    assert judged(cdn_cache_control="private", cache_control="max-age=60") == Refused("private")
    assert judged(cdn_cache_control="no-store", cache_control="max-age=60") == Refused("no-store")
    assert judged(cdn_cache_control="public", expires="Sun, 06 Nov 2094 08:49:37 GMT") == Refused(
        "no-lifetime"
    )
    assert judged(cdn_cache_control="?", cache_control="no-store") == Refused("no-store")


# -- what is stored --------------------------------------------------------------------------------------


def test_must_understand():
    assert judged(cache_control="max-age=60, no-store, must-understand").fresh == 60
    assert judged(cache_control="max-age=60, no-store") == Refused("no-store")
    rule = Rule("*", negative_ttl=5)
    for status in (299, 599):
        assert judged(rule, status, cache_control="max-age=60, must-understand") == Refused("no-store")
    assert judged(status=200, cache_control="must-understand, private, max-age=60") == Refused("private")


def test_a_guess_where_the_rule_wants_one():
    rule = Rule("*", ttl=0, heuristic=0.1, stale_if_error=5)
    day = 86_400
    assert judged(rule, last_modified=YESTERDAY, date=DATE) == Storable(
        day / 10, day / 10, day / 10 + 5, 0, BY_RULE | SILENT
    )
    assert judged(rule, last_modified=YESTERDAY, date=DATE, age="1000").fresh == day / 10 - 1000
    assert judged(rule, last_modified="Sun, 06 Nov 1984 08:49:37 GMT").fresh == day
    assert judged(rule, last_modified=YESTERDAY, pragma="no-cache") == Refused("no-lifetime")
    assert judged(rule, last_modified="long ago") == Refused("no-lifetime")
    assert judged(Rule("*", ttl=0), last_modified=YESTERDAY) == Refused("no-lifetime")
    assert judged(rule, 201, last_modified=YESTERDAY) == Refused("status")
    assert judged(rule, 299, last_modified=YESTERDAY, cache_control="public").flags & SHARED
    assert heuristic_lifetime(200, facts(last_modified=DATE, date=YESTERDAY), NOW, 0.1) == 0


def test_a_uri_that_is_too_long_says_nothing_of_those_that_share_its_key():
    for rule in (
        Rule("*", negative_ttl=5, query_ignore=["x"]),
        Rule("*", negative_ttl=5, query_select=["y"]),
    ):
        assert judged(rule, 414) == judged(rule, 414, cache_control="max-age=60") == Refused("status")
        assert judged(rule, 404).fresh == 5
    assert judged(Rule("*", negative_ttl=5), 414).fresh == 5


def test_errors_are_kept_by_rule():
    rule = Rule("*", ttl=100, negative_ttl=5, stale_while_revalidate=7, stale_if_error=7)
    assert judged(rule, 404) == Storable(5, 5, 5, 0, BY_RULE | SILENT)
    assert judged(rule, 403) == Refused("status")
    assert judged(rule, 404, cache_control="max-age=60").fresh == 60
    assert judged(rule, 500) == Refused("status")
    assert judged(rule, 503, cache_control="max-age=3, stale-if-error=60") == Storable(3, 3, 5, 0, 0)
    assert judged(rule, 503, cache_control="max-age=60") == Storable(5, 5, 5, 0, 0)
    for ruled in (None, Rule("*")):
        assert judged(ruled, 404) == Refused("status" if ruled else "no-lifetime")
        assert judged(ruled, 503, cache_control="max-age=60") == Refused("status")


def test_a_rule_has_stale_ones_stand_in_unless_the_response_says_otherwise():
    rule = Rule("*", stale_if_error=30, stale_while_revalidate=30)
    assert judged(rule, cache_control="max-age=10") == Storable(10, 10, 40, 0, 0)
    assert judged(rule, cache_control="max-age=10, stale-if-error=1") == Storable(10, 10, 11, 0, 0)
    for more in ("must-revalidate", "proxy-revalidate", "s-maxage=10"):
        assert judged(rule, cache_control=f"max-age=10, {more}").error == -math.inf


def test_no_cache_may_be_about_some_fields():
    said = 'max-age=60, no-cache="Set-Cookie, X-A"'
    assert judged(cache_control=said, set_cookie="a=b").fresh == 60
    headers = [(b"set-cookie", b"a"), (b"x-a", b"1"), (b"x-b", b"2")]
    omitted = facts(cache_control=said).no_cache_fields
    assert kept_headers(headers, 204, 0, omitted) == [(b"x-b", b"2")]
    for whole in (
        'no-cache="a", no-cache, max-age=60',
        'no-cache="", max-age=60',
        "no-cache=(a), max-age=60",
    ):
        assert judged(cache_control=whole, etag='"1"').fresh == 0
    assert directives.parse([b'no-cache="a"', b'no-cache="b"']) == {"no-cache": "a,b"}


def test_cookies_are_for_everybody_where_the_rule_says_so():
    assert judged(cache_control="max-age=60", set_cookie="a=b") == Refused("set-cookie")
    assert judged(Rule("*"), cache_control="max-age=60", set_cookie="a=b") == Refused("set-cookie")
    assert judged(Rule("*", set_cookie="everybody"), cache_control="max-age=60", set_cookie="a=b").fresh == 60


@pytest.mark.parametrize(
    ("value", "refused"), [("bytes 0-1/2", True), ("Bytes */9", True), ("whatever", False)]
)
def test_what_may_be_a_part_is_not_taken_for_the_whole(value, refused):
    assert (judged(cache_control="max-age=60", content_range=value) == Refused("status")) is refused


# -- validation --------------------------------------------------------------------------------------------


def entry(*headers, flags=0, body=b"abc", **times):
    times = {"stored": 0.0, "fresh_until": 10.0, "revalidate_until": 10.0, "error_until": 10.0} | times
    return Entry(1, 1, (), "/", **times, status=200, flags=flags, headers=list(headers), body=body)


ETAG, MODIFIED = (b"etag", b'"1"'), (b"last-modified", YESTERDAY.encode())


def test_the_app_is_asked_by_what_it_gave():
    assert precondition_of(entry(ETAG, MODIFIED)) == (b"if-none-match", b'"1"')
    assert precondition_of(entry(ETAG, MODIFIED, flags=OWN_ETAG)) == (
        b"if-modified-since",
        YESTERDAY.encode(),
    )
    assert precondition_of(entry(ETAG, flags=OWN_ETAG)) is precondition_of(entry()) is None


def test_a_304_is_about_what_bears_its_etag():
    assert confirmed(entry(ETAG), [(b"etag", b'W/"1"')])
    assert confirmed(entry((b"etag", b"odd")), [(b"etag", b"odd")])
    assert confirmed(entry(ETAG), [])
    assert not confirmed(entry(ETAG), [(b"etag", b'"2"')])
    assert confirmed(entry(MODIFIED, (b"etag", b'W/"own"'), flags=OWN_ETAG), [(b"etag", b'"2"')])


def test_what_a_304_says_to_this_connection_is_not_stored():
    fresh = [(b"connection", b"X-Hop, close"), (b"x-hop", b"1"), (b"x-a", b"1")]
    assert updated([(b"x-hop", b"0")], fresh) == [(b"x-hop", b"0"), (b"x-a", b"1")]


def test_head_is_about_what_is_stored_unless_something_differs():
    stored = entry(ETAG, MODIFIED)
    assert same_representation(stored, facts())
    assert same_representation(stored, facts(content_length="3"))
    assert same_representation(stored, facts(last_modified=YESTERDAY))
    assert same_representation(stored, facts(etag='"1"', last_modified=YESTERDAY, content_length="3"))
    assert not same_representation(stored, facts(etag='"2"'))
    assert not same_representation(stored, facts(last_modified=DATE))
    assert not same_representation(stored, facts(content_length="4"))
    assert not same_representation(entry(ETAG, flags=OWN_ETAG), facts(etag='"1"'))
    assert not same_representation(entry(), facts(last_modified=DATE))


def test_an_age_that_is_too_large_is_very_old():
    assert initial_age(facts(age="9" * 30), NOW, 0) == 2**31
    assert initial_age(facts(age="-1"), NOW, 0) == initial_age(facts(), NOW, 0) == 0


# -- the request's directives ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "now", "expected"),
    [
        ("", 5, State.FRESH),
        ("no-cache", 5, State.EXPIRED),
        ("max-age=4", 5, State.EXPIRED),
        ("max-age=5", 5, State.FRESH),
        ("max-age=x", 5, State.EXPIRED),
        ("min-fresh=5", 5, State.FRESH),
        ("min-fresh=6", 5, State.EXPIRED),
        ("max-stale=3", 12, State.STALE),
        ("max-stale=2", 12, State.EXPIRED),
        ("max-stale", 1e6, State.STALE),
        ("max-stale, max-age=11", 12, State.EXPIRED),
        ("max-stale, no-cache", 12, State.EXPIRED),
    ],
)
def test_what_a_request_makes_of_an_entry(asked, now, expected):
    state = State.FRESH if now < 10 else State.EXPIRED
    assert wanted(directives.parse([asked.encode()]), entry(), state, now) is expected


def test_no_request_makes_something_of_what_is_purged_or_never_stale():
    asked = directives.parse([b"max-stale"])
    assert wanted(asked, entry(), State.GONE, 5) is State.GONE
    assert wanted(asked, entry(revalidate_until=-math.inf), State.EXPIRED, 12) is State.EXPIRED


# -- selecting ---------------------------------------------------------------------------------------------


def accepting(name, value, rule=None):
    return variant(b"k", [name], [(name, value)], rule)


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        (b"accept-encoding", b"gzip, br", b"BR,gzip;q=1.0", True),
        (b"accept-encoding", b"x-gzip", b"gzip", True),
        (b"accept-encoding", b"gzip, br;q=0", b"gzip, br", False),
        (b"accept-encoding", b"gzip;q=0.5", b"gzip;q=0.6", False),
        (b"accept-encoding", b"gzip;x=1", b"gzip", False),
        (b"accept-encoding", b"gzip;1000", b"gzip", False),
        (b"accept-language", b"de;1000", b"de", False),
        (b"accept-language", b"1000 de", b"de", False),
        (b"accept-language", b"en, de", b"eN ,De;q=1", True),
        (b"accept-language", b"en, de", b"de, en", False),
        (b"x-other", b"a, b", b"a,b", True),
        (b"x-other", b"a, b", b"b, a", False),
        (b"x-other", b"a", b"A", False),
    ],
)
def test_what_says_the_same(name, one, other, same):
    assert (accepting(name, one) == accepting(name, other)) is same


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_accepting_never_fails_and_keeps_what_cannot_be_read(one, other):
    for normal in (negotiating.encodings, negotiating.languages):
        assert normal(one) == normal(one.lower()) or normal(one) == one
        normal(b",".join((one, other)))
    negotiating.best_language(one)


def test_what_cannot_be_read_is_never_taken_for_what_can():
    many = b",".join([b"1000 de"] * 65)
    assert negotiating.languages(many) == many != negotiating.languages(b",".join([b"de"] * 64))


def test_languages_by_rule():
    rule = Rule("*", accept_language="negotiate")
    assert accepting(b"accept-language", b"en, de", rule) == accepting(b"accept-language", b"de, en", rule)
    assert accepting(b"accept-language", b"en, de;q=0.5", rule) != accepting(
        b"accept-language", b"de, en;q=0.5", rule
    )


@pytest.mark.parametrize(
    ("value", "best"),
    [
        (b"fr;q=0.5, DE", b"de"),
        (b"de", b"de"),
        (b"en, de", None),
        (b"*", None),
        (b"de;q=0", None),
        (b"", None),
        (b"de;q=x", None),
    ],
)
def test_the_language_liked_best(value, best):
    assert negotiating.best_language(value) == best


@pytest.mark.parametrize(
    ("spoken", "one", "other", "same"),
    [
        (b"key-order", b"a=1&b=2", b"b=2&a=1", True),
        (b"key-order", b"a=1&a=2", b"a=2&a=1", False),
        (b"key-order=?0", b"a=1&b=2", b"b=2&a=1", False),
        (b'params=("utm" "x y")', b"a=1&utm=2&x+y=3", b"a=1&x%20y=4", True),
        (b'params=("utm")', b"a=1", b"a=2", False),
        (b'params=("a+b")', b"a%20b=1", b"", True),
        (b"params", b"a=1", b"b=2", True),
        (b'params, except=("a")', b"a=1&b=2", b"a=1&c=3", True),
        (b'params, except=("a")', b"a=1", b"a=2", False),
        (b'except=("a")', b"b=1", b"b=2", False),
        (b'params=("a"), except=("b")', b"a=1", b"a=2", False),
        (b"params=(a)", b"a=1", b"a=2", False),
        (b'params="a"', b"a=1", b"a=2", False),
        (b"key-order=1", b"a=1&b=2", b"b=2&a=1", False),
        (b"params(", b"a=1", b"a=2", False),
        (b"", b"a=%31", b"a=1", True),
        (b"", b"ab=c", b"a=bc", False),
    ],
)
def test_queries_that_say_the_same(spoken, one, other, same):
    found = search.parse(spoken)
    assert (search.normal(one, found) == search.normal(other, found)) is same


def test_search_without_effect_is_none():
    for spoken in (b"", b"params=()", b"key-order=?0", b"params=?0", b"nonsense"):
        assert search.parse(spoken) == search.Search()


@pytest.mark.parametrize(("one", "other"), [(b"%ff", b"%fe"), (b"\xff", b"%C3%BF"), (b"%EF%BF%BD", b"%ff")])
def test_queries_that_are_no_text_are_told_apart(one, other):
    spoken = search.parse(b'params=("utm")')
    assert search.normal(b"id=" + one, spoken) != search.normal(b"id=" + other, spoken)
    assert search.normal(b"%69d=a+b", spoken) == search.normal(b"id=a%20b&utm=1", spoken)


# -- invalidation ------------------------------------------------------------------------------------------


def test_what_an_unsafe_request_invalidates():
    target = Target(scope_of("/a?q=1", "POST"), ())
    same = facts(location="/b?x=1", content_location="HTTP://H.TEST:80/c%20d", cache_group_invalidation='"g"')
    assert invalidated(target, same) == ["h:h.test\0/a", "h:h.test\0/b", "h:h.test\0/c d", "g:g"]
    other = facts(location="//other.test/b", content_location="http://[", cache_group_invalidation="odd(")
    assert invalidated(target, other) == ["h:h.test\0/a"]


def test_content_location_says_what_the_content_is():
    target = Target(scope_of("/a?q=1", "POST"), ())
    for same in ("/a?q=1", "http://h.test/a?q=1", "?q=1", "a?q=1"):
        assert represents_target(target, facts(content_location=same))
    for other in ("/a", "/a?q=2", "http://other.test/a?q=1", "/b?q=1", ""):
        assert not represents_target(target, facts(content_location=other))
    assert not represents_target(target, facts())


def test_years_of_two_digits():
    assert parse_http_date(b"Sunday, 06-Nov-94 08:49:37 GMT") == NOW
