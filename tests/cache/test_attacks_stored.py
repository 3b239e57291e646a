"""Attacks by what is stored: errors, parts, cookies, validations, odd bytes, ages, codings.

Nguyen, Lo Iacono, Federrath, "Your Cache Has Fallen" (CPDoS, 2019). Each test says what would break it.
"""

import gzip

import pytest

from ramkit.cache import Rule
from tests.cache.test_middleware import cached, settled
from tests.cache.wire import Origin, ask, cacheable

EVIL = {"x-evil": "1"}


def when_evil(origin, **change):
    """The app answers otherwise to a request with the attacker's field."""
    usual = {name: getattr(origin, name) for name in change}

    async def choose(scope):
        evil = b"x-evil" in dict(scope["headers"])
        for name, value in (change if evil else usual).items():
            setattr(origin, name, value)

    origin.before = choose
    return origin


# -- CPDoS: HHO, HMC, HMO ----------------------------------------------------------------------------------

ABOUT_THE_REQUEST = [408, 413, 417, 425, 426, 428, 429, 431, 401, 407, 412, 416, 421]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 414, 500, 501, 503, *ABOUT_THE_REQUEST])
async def test_errors_that_say_nothing_are_not_everybodys(status):
    """Breaks when a rule's ttl, the default's or stale windows are given to errors."""
    rule = Rule("/*", ttl=60, stale_while_revalidate=60, stale_if_error=60)
    app = cached(when_evil(Origin(), status=status), rule, default_ttl=60)
    assert (await ask(app, "/a", headers=EVIL)).status == status
    assert (await ask(app, "/a")).status == 200


@pytest.mark.parametrize("status", ABOUT_THE_REQUEST)
async def test_errors_about_a_requests_fields_are_nobodys_whatever_they_say(status):
    """Breaks when a Cache-Control that somebody puts on all responses has the answer to an oversized header
    (HHO) stored for those whose header is not."""
    app = cached(
        when_evil(Origin(cacheable("public, max-age=60")), status=status), Rule("/*", negative_ttl=60)
    )
    await ask(app, "/a", headers=EVIL)
    assert (await ask(app, "/a")).status == 200


@pytest.mark.parametrize("status", [400, 405, 500, 501, 503])
async def test_errors_are_stored_by_word_alone_and_boundedly(status):
    """Breaks when negative_ttl or the app's own lifetime is exceeded, or a failure's lifetime is not cut."""
    from ramkit.testing.clock import ManualClock

    clock = ManualClock()
    origin = when_evil(Origin(cacheable("max-age=30, stale-while-revalidate=3600")), status=status)
    app = cached(origin, Rule("/*", ttl=60, negative_ttl=5), clock=clock)
    await ask(app, "/a", headers=EVIL)
    assert (await ask(app, "/a")).status == status
    clock.advance(5 if status >= 500 else 3631)
    assert (await ask(app, "/a")).status == 200


# -- ranges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (206, ()),
        (206, (("content-range", "bytes 0-3/1000000"),)),
        (206, (("content-range", "bytes 0-1/2"),)),
        (206, (("content-range", "bytes 0-3/4\r\nset-cookie: a=b"),)),
        (206, (("content-range", "bytes 0-3/4"), ("content-type", "multipart/byteranges; boundary=x"))),
        (200, (("content-range", "bytes 0-3/4"),)),
        (416, (("content-range", "bytes */4"),)),
    ],
)
@pytest.mark.parametrize("asked", [{"range": "bytes=0-"}, {"range": "bytes=9-", "if-range": '"e"'}, {}])
async def test_what_was_said_to_a_range_is_not_said_to_a_plain_request(status, more, asked):
    """Breaks when a part, or an error about one, is stored under the key of the whole."""
    origin = when_evil(
        Origin(cacheable()), status=status, headers=cacheable("max-age=60", ("etag", '"e"'), *more)
    )
    app = cached(origin)
    await ask(app, "/a", headers=EVIL | asked)
    answer = await ask(app, "/a")
    assert (answer.status, answer["content-range"]) == (200, None)
    assert answer.body.startswith(b" #")
    assert answer["etag"] != '"e"'


# -- Set-Cookie --------------------------------------------------------------------------------------------

COOKIE = ("set-cookie", "session=ada")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 304])
async def test_no_cookie_comes_in_by_an_update(clock, method, status):
    """Breaks when the fields of a 304, or of the answer to HEAD, are merged and stored unjudged."""
    origin = Origin(cacheable("max-age=10", ("etag", '"1"')), length=False)
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(11)
    origin.status, origin.headers = status, cacheable("max-age=10", ("etag", '"1"'), COOKIE)
    first = await ask(app, "/a", method)
    assert first["set-cookie"] == COOKIE[1]  # it is this client's
    origin.status, origin.headers = 200, cacheable("max-age=10", ("etag", '"1"'))
    for _ in range(3):
        assert (await ask(app, "/a"))["set-cookie"] is None
        await settled(app)


async def test_no_cookie_comes_from_a_failure_that_something_stale_stands_in_for(clock):
    """Breaks when the fields of the failure are laid over the stored response."""
    origin = Origin(cacheable("max-age=10, stale-if-error=100"))
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(11)
    origin.status, origin.headers = 500, cacheable("max-age=10", COOKIE)
    answer = await ask(app, "/a")
    assert (answer.status, answer.x_cache, answer["set-cookie"]) == (200, "STALE", None)


async def test_no_cookie_comes_from_a_refresh_in_the_background(clock):
    """Breaks when what nobody waits for is stored without being judged."""
    origin = Origin(cacheable("max-age=10, stale-while-revalidate=100"))
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(11)
    origin.headers = cacheable("max-age=10", COOKIE)
    for _ in range(2):
        assert (await ask(app, "/a"))["set-cookie"] is None
        await settled(app)


@pytest.mark.parametrize("name", ["Set-Cookie", "SET-COOKIE", "set-cookie"])
async def test_a_cookie_in_any_case(name):
    """Breaks when names are compared as the app wrote them."""
    app = cached(Origin(cacheable("public, max-age=60", (name, "a=b"))))
    assert [(await ask(app, "/a")).x_cache for _ in range(2)] == ["MISS", "MISS"]


# -- response splitting, odd bytes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair",
    [
        (b"location", b"/x\r\nset-cookie: a=b"), (b"x-a", b"1\n"), (b"x-a", b"1\r"), (b"x-a", b"\0"),
        (b"x-a", b"\x0b"),
        (b"x-a\r\nx-b", b"1"), (b"x a", b"1"), (b"x:", b"1"), (b"", b"1"), (b"x-a", b"1\r\n\r\n<script>"),
        (b"vary", b"x-b\r\nx-c: 1"), (b"cache-groups", b'"a"\r\n'), (b"content-length", b"5, 6"),
        (b"content-length", b"-1"), (b"content-length", b"9" * 20), (b"content-length", b"0x3"),
    ],
)  # fmt: skip
async def test_fields_that_are_none_are_not_kept(pair):
    """Breaks when what a server refuses, or splits, comes from the store each time."""
    app = cached(Origin([*cacheable(), pair], length=False))
    await ask(app, "/a")
    assert (await ask(app, "/a")).x_cache == "MISS"


async def test_two_lengths_are_none():
    """Breaks when the first Content-Length hides the second: the next server is desynchronised each time."""
    lengths = ("content-length", "3"), ("content-length", "99")
    app = cached(Origin(cacheable("max-age=60", *lengths), length=False))
    await ask(app, "/a")
    assert (await ask(app, "/a")).x_cache == "MISS"


@pytest.mark.parametrize(
    "control",
    [
        b"max-age=60, private", b"max-age=60,private", b"max-age=60,\tprivate\t", b"max-age=60, PRIVATE",
        b"max-age=60, private=", b'max-age=60, private="', b"max-age=60, private=x",
        b"max-age=60 , private ,",
        b"max-age=60, x=\", private", b"max-age=60;private", b"max-age=60 private",
        b"max-age=60, \xa0no-store",
        b"max-age=60, x=\"\\\", private", b"private,,max-age=60", b"max-age=\xb2\xb3", b"max-age=6e1",
        b"max-age=0x60",
        b"max-age=+60", b"max-age='60'", b"max-age==60", b"max-age=60, x=" + b"y" * 4000,
        b"max-age=0, max-age=60",
        b"s-maxage=0, max-age=60", b"max-age=60, no-store=?0",
    ],
)  # fmt: skip
async def test_no_byte_smuggles_a_lifetime_past_its_restriction(control):
    """Breaks when a directive hides behind a quote, a space, its case or an argument, or when a
    number that is none counts as one."""
    app = cached(Origin([(b"cache-control", control)]))
    await ask(app, "/a")
    assert (await ask(app, "/a")).x_cache == "MISS"


async def test_several_lines_are_one_field():
    """Breaks when the first or the last Cache-Control alone counts."""
    for lines in ((b"max-age=60", b"private"), (b"private", b"max-age=60")):
        app = cached(Origin([(b"Cache-Control", line) for line in lines]))
        await ask(app, "/a")
        assert (await ask(app, "/a")).x_cache == "MISS"


# -- ages and dates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        [("age", "60")], [("age", "9" * 19)], [("age", "9" * 5000)], [("age", "60, 0")],
        [("age", "60"), ("age", "0")],
        [("date", "Thu, 01 Jan 1970 00:00:00 GMT")],
        [("date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("age", "0")],
    ],
)  # fmt: skip
async def test_what_is_old_when_it_comes_is_not_new(more):
    """Breaks when an age that is too large, or stands twice, counts as none."""
    app = cached(Origin(cacheable("max-age=60", *more)))
    await ask(app, "/a")
    assert (await ask(app, "/a")).x_cache == "MISS"


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "soon", "0", ""])
@pytest.mark.parametrize("age", ["-60", "-9999999", "x", ""])
async def test_no_date_or_age_makes_it_younger_than_it_is(clock, date, age):
    """Breaks when a date to come or a negative age is subtracted."""
    app = cached(Origin(cacheable("max-age=60", ("date", date), ("age", age))), clock=clock)
    await ask(app, "/a")
    clock.advance(60)
    assert (await ask(app, "/a")).x_cache == "MISS"


# -- codings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vary", [(), (("vary", "x-a"),), (("vary", "accept-encoding"),)])
async def test_what_was_coded_for_one_is_not_for_all(vary):
    """Breaks when an app that compresses and does not say Vary has others get what they cannot read."""
    packed = gzip.compress(b"hello")

    async def app(scope, receive, send):
        coded = b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b"")
        headers = cacheable("max-age=60", *vary, *([("content-encoding", "gzip")] if coded else []))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": packed if coded else b"hello"})

    middleware = cached(app)
    await ask(middleware, "/a", headers={"accept-encoding": "gzip"})
    plain = await ask(middleware, "/a")
    assert (plain.body, plain["content-encoding"]) == (b"hello", None)
    again = await ask(middleware, "/a", headers={"accept-encoding": "gzip"})
    assert again.x_cache == "HIT"
    assert (again.body == packed) is (again["content-encoding"] == "gzip")


# -- HEAD, 304, invalidation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"status": 404}, {"status": 301}, {"headers": cacheable("max-age=60", ("x-a", "evil"))}]
)
async def test_head_poisons_nothing(change):
    """Breaks when an answer to HEAD is stored for GET, or replaces what is fresh."""
    app = cached(when_evil(Origin(cacheable()), **change))
    await ask(app, "/a", "HEAD", headers=EVIL)
    first = await ask(app, "/a")
    assert (first.x_cache, first.status, first["x-a"]) == ("MISS", 200, None)
    await ask(app, "/a", "HEAD", headers=EVIL)
    hit = await ask(app, "/a")
    assert (hit.x_cache, hit.body, hit["x-a"]) == ("HIT", first.body, None)


@pytest.mark.parametrize("name", ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since"])
async def test_a_clients_condition_is_not_the_apps_answer_for_all(name):
    """Breaks when conditions reach the app on a miss: its 304 or 412 would be stored, or nothing at all."""
    origin = Origin(cacheable())
    app = cached(origin)
    await ask(app, "/a", headers={name: '"x"'})
    assert name.encode() not in dict(origin.scopes[0]["headers"])
    assert (await ask(app, "/a")).status == 200


async def test_a_304_for_one_client_renews_nothing_for_others(clock):
    """Breaks when a 304 that was said to somebody, or to another validator, makes a stored response fresh."""
    origin = Origin(cacheable("max-age=10", ("etag", '"1"')))
    app = cached(origin, clock=clock)
    await ask(app, "/a")
    clock.advance(11)
    origin.status = 304
    await ask(app, "/a", headers={"authorization": "Bearer ada"})
    origin.status = 200
    assert (await ask(app, "/a")).x_cache == "MISS"


@pytest.mark.parametrize(
    ("method", "path", "status", "more", "host", "gone"),
    [
        ("POST", "/a", 200, (), "h.test", True),
        ("POST", "/a", 303, (), "h.test", True),
        ("POST", "/a", 403, (), "h.test", False),
        ("POST", "/a", 500, (), "h.test", False),
        ("POST", "/a", 200, (), "evil.test", False),
        ("POST", "/b", 201, (("location", "/a"),), "h.test", True),
        ("POST", "/b", 201, (("location", "/a"),), "evil.test", False),
        ("POST", "/b", 201, (("location", "http://h.test/a"),), "evil.test", False),
        ("POST", "/b", 201, (("location", "//h.test/a"),), "evil.test", False),
        ("POST", "/b", 201, (("content-location", "http://x@h.test/a"),), "h.test", False),
        ("POST", "/b", 403, (("location", "/a"),), "h.test", False),
        ("POST", "/b", 403, (("cache-group-invalidation", '"g"'),), "h.test", False),
        ("POST", "/b", 200, (("cache-group-invalidation", '"g"'),), "h.test", True),
        ("GET", "/b", 200, (("cache-group-invalidation", '"g"'), ("location", "/a")), "h.test", False),
        ("HEAD", "/b", 200, (("cache-group-invalidation", '"g"'),), "h.test", False),
        ("OPTIONS", "/a", 200, (("cache-group-invalidation", '"g"'),), "h.test", False),
        ("TRACE", "/a", 200, (("cache-group-invalidation", '"g"'),), "h.test", False),
    ],
)  # fmt: skip
async def test_who_invalidates_what(method, path, status, more, host, gone):
    """Breaks when a safe method, a failure or another host purges: anybody could keep the cache empty."""
    origin = Origin(cacheable("max-age=60", ("cache-groups", '"g"')))
    app = cached(origin)
    await ask(app, "/a")
    origin.status, origin.headers = status, cacheable("no-store", *more)
    await ask(app, path, method, host=host)
    origin.status, origin.headers = 200, cacheable()
    assert (await ask(app, "/a")).x_cache == ("MISS" if gone else "HIT")
