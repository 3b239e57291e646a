"""Range requests through CacheMiddleware: from the whole, from parts, and parts that become the whole."""

import asyncio
import email
import random

import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

from ramkit.cache import Cache, CacheMiddleware, MemoryStore, RedisStore, Rule, TieredStore
from ramkit.cache.core.keys import Target
from ramkit.cache.core.ranges import parse_range, resolve
from ramkit.kernel.headers import find
from ramkit.testing.clock import ManualClock
from ramkit.testing.lint import ASGILint
from tests.cache.wire import Origin, ask, cacheable, scope_of

BODY = b"0123456789"
ETAG = '"v1"'
VIDEO = bytes(range(256)) * 8


class Film:
    """An app with ranges, as Starlette's files have them: one range, If-Range, one ETag."""

    def __init__(self, body=BODY, control="max-age=60", etag=ETAG, more=(), chunk=None):
        self.body, self.control, self.etag, self.more, self.chunk = body, control, etag, list(more), chunk
        #: the Range of each request, None for the whole
        self.asked = []
        self.scopes = []
        #: changes what is about to be sent: (status, headers, body) -> the same
        self.spoil = lambda *response: response
        self.before = None

    async def __call__(self, scope, _receive, send):
        value = find(scope["headers"], b"range")
        self.asked.append(value.decode() if value is not None else None)
        self.scopes.append(scope)
        if self.before is not None:
            await self.before(scope)
        status, body, headers = 200, self.body, []
        if_range = find(scope["headers"], b"if-range")
        if value is not None and if_range in (None, self.etag.encode() if self.etag else None):
            spans = resolve(parse_range(value) or (), len(self.body)) or []
            if len(spans) == 1:
                status, body = 206, self.body[spans[0].first : spans[0].last + 1]
                headers = [(b"content-range", b"bytes %d-%d/%d" % (*spans[0], len(self.body)))]
        headers += [(b"content-type", b"video/x"), (b"content-length", b"%d" % len(body)), *self.more]
        headers += [(b"cache-control", self.control.encode())] if self.control else []
        headers += [(b"etag", self.etag.encode())] if self.etag else []
        status, headers, body = self.spoil(status, headers, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        step = self.chunk or max(1, len(body))
        for at in range(0, len(body), step):
            await send({"type": "http.response.body", "body": body[at : at + step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(params=["memory", "redis"])
async def cache(request, clock):
    store = "memory://"
    if request.param == "redis":
        # A machine that is busy is not Redis that hangs.
        store = TieredStore(
            RedisStore(request.getfixturevalue("redis_url"), deadline=10, clock=clock),
            local=MemoryStore(clock=clock),
        )
    made = Cache(store, clock=clock)
    await made.start()  # a first request would wait for the log a bounded time, and then pass by
    yield made
    await made.aclose()


@pytest.fixture
async def over(cache):
    """Puts the cache in front of an app, with the lint on both sides."""
    lints = []

    def over(app, *rules, **options):
        inner = ASGILint(app)
        outer = ASGILint(CacheMiddleware(inner, cache=cache, rules=rules, **options))
        lints.extend((inner, outer))
        return outer

    yield over
    for lint in lints:
        lint.check()


def ranged(value, **more):
    return {"range": f"bytes={value}", **{name.replace("_", "-"): each for name, each in more.items()}}


async def part(app, value, path="/a", **more):
    return await ask(app, path, headers=ranged(value, **more))


def said(answer):
    return answer.x_cache, answer.status, answer["content-range"], answer.body


# -- from the whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "where", "body"),
    [
        ("0-4", "bytes 0-4/10", b"01234"),
        ("5-", "bytes 5-9/10", b"56789"),
        ("-3", "bytes 7-9/10", b"789"),
        ("0-", "bytes 0-9/10", BODY),
        ("8-99", "bytes 8-9/10", b"89"),
        ("-99", "bytes 0-9/10", BODY),
        ("4-4", "bytes 4-4/10", b"4"),
        ("0-0,-1", "bytes 0-9/10", BODY),  # so near that they are one
    ],
)
async def test_a_stored_response_answers_with_a_part(over, value, where, body):
    film = Film(more=[(b"x-a", b"1"), (b"x-a", b"2")])
    app = over(film)
    await ask(app, "/a")
    answer = await part(app, value)
    assert said(answer) == ("HIT", 206, where, body)
    assert answer["content-length"] == str(len(body))
    assert answer.all("x-a") == ["1", "2"]
    assert (answer["etag"], answer["content-type"], answer["age"]) == (ETAG, "video/x", "0")
    # Redis's clock goes on, and that it was heard for how long this is stored tells of it.
    assert answer["cache-status"] in ("ramkit; hit; ttl=60", "ramkit; hit; ttl=59")
    assert film.asked == [None]


async def test_several_parts_of_a_stored_response(over):
    film = Film(VIDEO)
    app = over(film)
    await ask(app, "/a")
    one, other = await part(app, "-4,0-3"), await part(app, "-4,0-3")
    assert (one.x_cache, one.status, one["content-range"]) == ("HIT", 206, None)
    assert one["content-type"] != other["content-type"]  # nobody knows the boundary beforehand
    assert one["content-length"] == str(len(one.body))
    message = email.message_from_bytes(b"content-type: " + one["content-type"].encode() + b"\n\n" + one.body)
    found = [
        (each["content-range"], each["content-type"], each.get_payload(decode=True))
        for each in message.walk()
    ]
    assert found[1:] == [
        ("bytes 2044-2047/2048", "video/x", VIDEO[-4:]),
        ("bytes 0-3/2048", "video/x", VIDEO[:4]),
    ]


async def test_many_ranges_never_make_more_than_the_whole(over):
    app = over(Film(VIDEO))
    await ask(app, "/a")
    assert said(await part(app, ",".join(["0-"] * 16)))[1:3] == (206, "bytes 0-2047/2048")
    assert (await part(app, ",".join(["0-"] * 17))).status == 200
    tiny = await part(app, ",".join(f"{2 * number}-{2 * number}" for number in range(16)))
    assert said(tiny)[1:3] == (206, "bytes 0-30/2048")


@pytest.mark.parametrize("value", ["bytes=5-1", "bytes=a", "items=0-1", "bytes=", "bytes=0-1,x"])
async def test_a_range_that_is_none_is_ignored(over, value):
    app = over(Film())
    await ask(app, "/a")
    answer = await ask(app, "/a", headers={"range": value})
    assert said(answer) == ("HIT", 200, None, BODY)


async def test_two_range_fields_are_no_range(over):
    app = over(Film())
    await ask(app, "/a")
    answer = await ask(app, "/a", headers=[("range", "bytes=0-1"), ("range", "bytes=3-4")])
    assert said(answer) == ("HIT", 200, None, BODY)


async def test_a_range_beyond_the_end_is_not_satisfiable(over):
    app = over(Film())
    await ask(app, "/a")
    answer = await part(app, "10-")
    assert (answer.status, answer["content-range"], answer.x_cache) == (416, "bytes */10", "HIT")
    assert answer["content-type"] == "application/problem+json"
    assert (await part(app, "10-", if_range='"other"')).status == 200
    assert said(await part(app, "10-,0-0"))[1:] == (206, "bytes 0-0/10", b"0")


async def test_an_empty_response_has_no_parts(over):
    app = over(Film(b""))
    await ask(app, "/a")
    assert (await part(app, "0-")).status == 416
    assert (await part(app, "-5")).status == 200


async def test_head_ignores_range(over):
    app = over(Film())
    await ask(app, "/a")
    answer = await ask(app, "/a", "HEAD", ranged("0-4"))
    assert said(answer) == ("HIT", 200, None, b"")
    assert answer["content-length"] == "10"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": ETAG}, 304),
        ({"if-match": '"other"'}, 412),
        ({"if-none-match": '"other"'}, 206),
        ({"if-match": ETAG}, 206),
        ({"if-none-match": ETAG, "if-range": '"other"'}, 304),
        ({"if-none-match": '"other"', "if-range": '"other"'}, 200),
    ],
)
async def test_preconditions_come_before_range(over, headers, status):
    for first in ("whole", "part", "nothing"):
        app, path = over(Film()), f"/{first}"
        if first != "nothing":
            await ask(app, path, headers=ranged("0-6") if first == "part" else None)
        answer = await ask(app, path, headers=headers | ranged("1-3"))
        assert answer.status == status, first
        assert answer.body == {206: b"123", 200: BODY, 304: b""}.get(status, answer.body)
        assert (answer["content-range"] is not None) == (status == 206)


@pytest.mark.parametrize(
    ("etag", "if_range", "status"),
    [(ETAG, ETAG, 206), (ETAG, '"v0"', 200), (ETAG, 'W/"v1"', 200), ('W/"v1"', 'W/"v1"', 200)],
)
async def test_if_range_compares_strongly(over, etag, if_range, status):
    app = over(Film(etag=etag))
    await ask(app, "/a")
    assert (await part(app, "0-4", if_range=if_range)).status == status


async def test_our_own_etag_is_weak_and_so_no_if_range(over):
    app = over(Film(etag=None))
    etag = (await ask(app, "/a"))["etag"]
    assert etag.startswith('W/"')
    assert said(await part(app, "0-4"))[:2] == ("HIT", 206)
    assert said(await part(app, "0-4", if_range=etag)) == ("HIT", 200, None, BODY)


async def test_if_range_by_date(over, clock):
    old, new = "Thu, 01 Jan 1970 00:00:01 GMT", "Thu, 01 Jan 1970 00:00:02 GMT"
    app = over(Film(etag=None, more=[(b"last-modified", old.encode())]))
    await ask(app, "/a")
    assert [(await part(app, "0-4", if_range=date)).status for date in (old, new)] == [206, 200]


async def test_accept_ranges_where_a_client_can_go_on(over):
    app = over(Film())
    assert (await ask(app, "/a"))["accept-ranges"] is None  # the app's own answer is as the app made it
    assert (await ask(app, "/a"))["accept-ranges"] == "bytes"
    app = over(Film(more=[(b"accept-ranges", b"none")]))
    await ask(app, "/b")
    assert (await ask(app, "/b")).all("accept-ranges") == ["none"]
    assert (await part(app, "0-4", "/b")).status == 200
    app = over(Film(etag='W/"v1"'))
    await ask(app, "/c")
    assert (await ask(app, "/c"))["accept-ranges"] is None


@pytest.mark.parametrize("cache", ["memory"], indirect=True)  # Redis has a clock of its own
async def test_stale_and_validated_responses_answer_ranges(over, cache, clock):
    film = Film(control="max-age=60, stale-while-revalidate=60")
    app = over(film)
    await ask(app, "/a")
    clock.advance(61)
    assert said(await part(app, "0-4")) == ("STALE", 206, "bytes 0-4/10", b"01234")
    await settled(cache)
    assert film.asked == [None, None]  # the refresh is of the whole
    assert said(await part(app, "5-")) == ("HIT", 206, "bytes 5-9/10", b"56789")
    clock.advance(200)

    def unchanged(_status, headers, _body):
        return 304, [pair for pair in headers if pair[0] != b"content-length"], b""

    film.spoil = unchanged
    answer = await part(app, "0-4")
    assert said(answer) == ("REVALIDATED", 206, "bytes 0-4/10", b"01234")
    assert film.asked == [None] * 3
    assert find(film.scopes[-1]["headers"], b"if-none-match") == ETAG.encode()


async def settled(cache):
    """Nothing runs in the background any more."""
    for _ in range(200):
        await asyncio.sleep(0)
        if not cache.flights._flying:
            return
    for _ in range(100):
        await asyncio.sleep(0.01)
        if not cache.flights._flying:
            return
    raise AssertionError("a refresh never ends")


async def test_variants_have_parts_of_their_own(over):
    film = Film(more=[(b"vary", b"accept-language")])
    app = over(film)
    for language in ("de", "fr"):
        for value, state in (("0-4", "MISS"), ("1-3", "HIT")):
            answer = await part(app, value, accept_language=language)
            assert (answer.x_cache, answer.status) == (state, 206)
    assert (await part(app, "1-3", accept_language="it")).x_cache == "MISS"
    assert (await ask(app, "/a", headers={"accept-language": "de"})).body == BODY
    assert film.asked == ["bytes=0-4", "bytes=0-4", "bytes=1-3", "bytes=5-"]


# -- the app's parts ------------------------------------------------------------------------------------


async def test_a_part_is_stored_and_answers_what_lies_within(over):
    film = Film()
    app = over(film)
    first = await part(app, "2-7")
    assert said(first) == ("MISS", 206, "bytes 2-7/10", b"234567")
    assert first["cache-status"] == "ramkit; fwd=uri-miss; stored"
    for value, where, body in (("2-7", "2-7", b"234567"), ("3-4", "3-4", b"34"), ("7-7", "7-7", b"7")):
        answer = await part(app, value)
        assert said(answer) == ("HIT", 206, f"bytes {where}/10", body)
        assert (answer["etag"], answer["content-type"]) == (ETAG, "video/x")
        assert len(answer.all("content-range")) == len(answer.all("content-length")) == 1
    assert film.asked == ["bytes=2-7"]
    for path, value in enumerate(("1-4", "5-9", "-2", "0-", "10-")):
        await part(app, "2-7", f"/{path}")
        assert (await part(app, value, f"/{path}")).x_cache == "MISS"


async def test_parts_are_combined_and_become_the_whole(over):
    film = Film()
    app = over(film)
    for value in ("0-2", "6-9", "2-4"):
        assert (await part(app, value)).x_cache == "MISS"
    assert said(await part(app, "0-4")) == ("HIT", 206, "bytes 0-4/10", b"01234")
    assert said(await part(app, "-3")) == ("HIT", 206, "bytes 7-9/10", b"789")
    assert (await part(app, "4-6")).x_cache == "MISS"
    whole = await ask(app, "/a")
    assert said(whole) == ("HIT", 200, None, BODY)
    assert (whole["content-length"], whole["etag"]) == ("10", ETAG)
    assert len(film.asked) == 4
    assert (await ask(app, "/a", "HEAD"))["content-length"] == "10"


async def test_a_request_may_ask_past_stored_parts_where_a_rule_has_it_followed(over):
    film = Film()
    app = over(film, Rule("*", ttl=0, client_control="follow"))
    assert (await part(app, "0-4")).x_cache == "MISS"
    assert (await part(app, "0-4")).x_cache == "HIT"
    for control in ("no-cache", "min-fresh=1000000"):
        answer = await part(app, "0-4", cache_control=control)
        assert (answer.x_cache, answer.body) == ("MISS", BODY[:5])


async def test_several_parts_of_stored_parts(over):
    film = Film(VIDEO)
    app = over(film)
    await part(app, "0-99")
    await part(app, "1000-1999")
    answer = await part(app, "0-9,1500-1509")
    assert (answer.x_cache, answer.status) == ("HIT", 206)
    assert VIDEO[:10] in answer.body
    assert len(film.asked) == 2


async def test_a_plain_get_asks_only_for_the_rest(over):
    film = Film()
    app = over(film)
    await part(app, "0-3")
    answer = await ask(app, "/a")
    assert said(answer) == ("MISS", 200, None, BODY)
    assert answer["cache-status"] == "ramkit; fwd=partial; stored"
    assert film.asked == ["bytes=0-3", "bytes=4-"]
    assert find(film.scopes[-1]["headers"], b"if-range") == ETAG.encode()
    assert said(await ask(app, "/a")) == ("HIT", 200, None, BODY)
    assert (await ask(app, "/a", headers={"if-none-match": ETAG})).status == 304


@pytest.mark.parametrize("headers", [{"if-none-match": ETAG}, {"if-match": '"x"'}])
async def test_the_rest_is_asked_for_whatever_the_preconditions(over, headers):
    film = Film()
    app = over(film)
    await part(app, "5-")
    answer = await ask(app, "/a", headers=headers)
    assert answer.status == (304 if "if-none-match" in headers else 412)
    assert film.asked == ["bytes=5-", "bytes=0-4"]
    assert (await ask(app, "/a")).x_cache == "HIT"


async def test_new_fields_replace_the_old_ones(over):
    film = Film(more=[(b"x-a", b"1"), (b"x-old", b"1")])
    app = over(film)
    await part(app, "0-4")
    film.more = [(b"x-a", b"2")]
    await part(app, "5-9")
    whole = await ask(app, "/a")
    assert (whole.x_cache, whole.all("x-a"), whole.all("x-old")) == ("HIT", ["2"], ["1"])


@pytest.mark.parametrize("change", ["etag", "weak", "none"])
async def test_parts_of_other_validators_are_never_mixed(over, change):
    film = Film()
    app = over(film)
    if change == "etag":
        await part(app, "0-4")
        film.body, film.etag = b"abcdefghij", '"v2"'
    else:
        film.etag = 'W/"v1"' if change == "weak" else None
        await part(app, "0-4")
        film.body = b"abcdefghij"
    await part(app, "5-9")
    assert said(await part(app, "5-9")) == ("HIT", 206, "bytes 5-9/10", b"fghij")
    assert said(await part(app, "0-4"))[::3] == ("MISS", b"abcde")
    assert (await ask(app, "/a")).body == b"abcdefghij"


async def test_a_changed_response_is_asked_for_as_a_whole(over):
    film = Film()
    app = over(film)
    await part(app, "0-3")
    film.body, film.etag = b"abcdefghij", '"v2"'
    assert said(await ask(app, "/a")) == ("MISS", 200, None, b"abcdefghij")  # If-Range failed: 200 at once
    assert film.asked == ["bytes=0-3", "bytes=4-"]
    assert said(await ask(app, "/a")) == ("HIT", 200, None, b"abcdefghij")


@pytest.mark.parametrize(
    "how", ["other etag", "no etag", "other length", "lies", "short", "416", "304", "multipart"]
)
async def test_an_app_that_answers_the_rest_wrongly_is_asked_for_the_whole(over, how):
    film = Film()
    app = over(film)
    await part(app, "0-3")

    def spoil(status, headers, body):
        if status != 206:
            return status, headers, body
        found = dict(headers)
        match how:
            case "other etag":
                found[b"etag"] = b'"v2"'
            case "no etag":
                del found[b"etag"]
            case "other length":
                found[b"content-range"] = b"bytes 4-9/11"
            case "lies":
                found[b"content-range"] = b"bytes 3-9/10"
            case "short":
                del found[b"content-length"]
                body = body[:-1]
            case "multipart":
                found[b"content-type"] = b"multipart/byteranges; boundary=x"
            case _:
                return int(how), [(b"etag", ETAG.encode())], b""
        return status, list(found.items()), body

    film.spoil = spoil
    assert said(await ask(app, "/a")) == ("MISS", 200, None, BODY)
    assert film.asked == ["bytes=0-3", "bytes=4-", None]
    assert said(await ask(app, "/a")) == ("HIT", 200, None, BODY)


async def test_without_a_validator_the_rest_is_asked_for_once_in_vain(over):
    film = Film(etag=None, control="max-age=60, s-maxage=60")
    app = over(film)
    await part(app, "0-3")

    def whole_is_not_kept(status, headers, body):
        return status, [*headers, (b"set-cookie", b"a=b")] if status == 200 else headers, body

    film.spoil = whole_is_not_kept
    for _ in range(2):
        assert said(await ask(app, "/a")) == ("MISS", 200, None, BODY)
    assert film.asked == ["bytes=0-3", "bytes=4-", None, None]
    assert said(await part(app, "1-2"))[::3] == ("HIT", b"12")


async def test_an_error_instead_of_the_rest_is_passed_on_and_not_kept(over):
    film = Film()
    app = over(film)
    await part(app, "0-3")
    film.spoil = lambda *_: (503, [(b"cache-control", b"max-age=60")], b"later")
    assert (await ask(app, "/a")).status == 503
    film.spoil = lambda *response: response
    assert said(await ask(app, "/a")) == ("MISS", 200, None, BODY)


async def test_an_app_without_ranges_answers_with_the_whole_which_is_stored(over):
    origin = Origin(cacheable())
    app = over(origin)
    first = await part(app, "0-1")
    assert (first.x_cache, first.status, first.body) == ("MISS", 200, b" #1")
    assert said(await part(app, "1-2")) == ("HIT", 206, "bytes 1-2/3", b"#1")
    assert (await ask(app, "/a")).x_cache == "HIT"
    assert origin.renders == 1


@pytest.mark.parametrize("cache", ["memory"], indirect=True)
async def test_parts_expire_and_new_ones_make_them_fresh(over, clock):
    film = Film()
    app = over(film)
    await part(app, "0-4")
    clock.advance(61)
    assert (await part(app, "0-1")).x_cache == "MISS"
    assert said(await part(app, "0-4")) == ("HIT", 206, "bytes 0-4/10", b"01234")  # by the same validator


async def test_a_rules_ttl_is_not_for_parts(over):
    film = Film(control=None)
    app = over(film, Rule("/*", ttl=60))
    for _ in range(2):
        answer = await part(app, "0-4")
        assert said(answer)[:2] == ("MISS", 206)
        assert answer["cache-status"] == "ramkit; fwd=uri-miss; detail=no-lifetime"
    assert (await ask(app, "/a")).x_cache == "MISS"
    assert said(await part(app, "0-4")) == ("HIT", 206, "bytes 0-4/10", b"01234")


async def test_parts_are_bounded_together(over):
    film = Film(VIDEO)
    app = over(film, max_body=1000)
    await part(app, "0-599")
    await part(app, "600-1199")  # together too many: the newer ones are kept
    assert (await part(app, "700-799")).x_cache == "HIT"
    assert (await part(app, "0-99")).x_cache == "MISS"
    assert said(await part(app, "0-1000"))[:2] == ("MISS", 206)
    assert (await ask(app, "/a")).body == VIDEO
    assert film.asked[-1] is None  # too large to keep: no reason to ask for the rest


async def test_streams_of_parts_are_passed_on_while_they_are_stored(over):
    film = Film(VIDEO, chunk=100)

    def stream(status, headers, body):
        return status, [pair for pair in headers if pair[0] != b"content-length"], body

    film.spoil = stream
    app = over(film)
    first = await part(app, "0-999")
    assert len(first.messages) > 10
    assert said(await part(app, "100-199"))[::3] == ("HIT", VIDEO[100:200])
    assert (await ask(app, "/a")).body == VIDEO


# -- what must not happen ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoiled",
    [
        {b"content-range": b"bytes 0-5/10"},  # more than came
        {b"content-range": b"bytes 0-3/10"},  # less
        {b"content-range": b"bytes 0-5/10", b"content-length": None},
        {b"content-range": b"bytes 0-3/10", b"content-length": None},
        {b"content-range": b"bytes 0-4/4"},
        {b"content-range": b"bytes 4-0/10"},
        {b"content-range": b"items 0-4/10"},
        {b"content-range": None},
        {b"content-type": b"multipart/byteranges; boundary=x"},
        {b"cache-control": b"no-store"},
        {b"cache-control": b"private, max-age=60"},
        {b"cache-control": b"no-cache, max-age=60"},
        {b"cache-control": b"max-age=0"},
        {b"set-cookie": b"a=b"},
        {b"vary": b"*"},
    ],
)
async def test_parts_that_are_not_stored(over, cache, spoiled):
    film = Film()

    def spoil(status, headers, body):
        found = dict(headers) | spoiled
        return status, [(name, value) for name, value in found.items() if value is not None], body

    film.spoil = spoil
    app = over(film)
    for _ in range(2):
        answer = await part(app, "0-4")
        assert (answer.x_cache, answer.status, answer.body) == ("MISS", 206, b"01234")
        assert cache.store.peek(Target(scope_of("/a"), ()).key) is None
    film.spoil = lambda *response: response
    whole = await ask(app, "/a")
    assert said(whole) == ("MISS", 200, None, BODY)
    assert film.asked[-1] is None


async def test_what_contradicts_itself_is_not_said_to_be_stored(over):
    film = Film()
    film.spoil = lambda status, headers, body: (
        status,
        [(b"content-range", b"bytes 0-5/10"), *headers[1:]],
        body,
    )
    answer = await part(over(film), "0-4")
    assert answer["cache-status"] == "ramkit; fwd=uri-miss; detail=content-range"


async def test_two_content_ranges_are_none(over):
    film = Film()
    film.spoil = lambda status, headers, body: (status, [*headers, (b"content-range", b"bytes 5-9/10")], body)
    app = over(film)
    for _ in range(2):
        assert (await part(app, "0-4")).x_cache == "MISS"


async def test_a_206_to_a_plain_get_is_not_stored(over):
    film = Film()
    film.spoil = lambda _status, headers, body: (206, [*headers, (b"content-range", b"bytes 0-9/10")], body)
    app = over(film)
    for _ in range(2):
        assert (await ask(app, "/a")).x_cache == "MISS"
    assert len(film.asked) == 2


@pytest.mark.parametrize("status", [400, 404, 410, 416, 301])
async def test_an_error_about_a_range_is_not_stored_for_everybody(over, status):
    film = Film()
    film.spoil = lambda *_: (status, [(b"cache-control", b"max-age=60"), (b"location", b"/x")], b"no")
    app = over(film)
    answer = await ask(app, "/a", headers={"range": "bytes=nonsense"})
    assert (answer.status, answer.body) == (status, b"no")
    film.spoil = lambda *response: response
    assert said(await ask(app, "/a")) == ("MISS", 200, None, BODY)


@pytest.mark.parametrize(("control", "shared"), [("max-age=60", False), ("public, max-age=60", True)])
async def test_authorization(over, control, shared):
    app = over(Film(control=control))
    await part(app, "0-4", authorization="Bearer a")
    assert (await part(app, "0-4")).x_cache == ("HIT" if shared else "MISS")
    assert (await part(app, "0-4", authorization="Bearer b")).x_cache == ("HIT" if shared else "MISS")
    # What anybody may have does not become what only some may, or the other way round.
    assert (await ask(app, "/a", headers={"authorization": "Bearer b"})).body == BODY


async def test_a_part_does_not_replace_the_whole(over):
    film = Film()
    app = over(film)
    await ask(app, "/a")
    film.control = "public, max-age=60"
    assert (await part(app, "0-4", authorization="Bearer a")).x_cache == "MISS"
    assert (await ask(app, "/a")).x_cache == "HIT"


async def test_cookies_under_a_rule_and_who_asks(over):
    film = Film(control=None)
    app = over(film, Rule("/*"))
    await ask(app, "/a")
    assert said(await part(app, "0-4"))[:2] == ("HIT", 206)
    assert said(await part(app, "0-4", cookie="a=b"))[:2] == ("MISS", 206)

    async def look(scope):
        scope["user"]

    film = Film()
    film.before = look
    app = over(film)
    for _ in range(2):
        answer = await ask(app, "/b", headers=ranged("0-4"), user="someone")
        assert answer["cache-status"] == "ramkit; fwd=uri-miss; detail=personal"


async def test_if_range_is_the_apps_to_answer_on_a_miss(over):
    film = Film()
    app = over(film)
    assert said(await part(app, "5-", if_range='"v0"')) == ("MISS", 200, None, BODY)
    assert said(await part(app, "5-", if_range=ETAG)) == ("HIT", 206, "bytes 5-9/10", b"56789")


async def test_if_range_on_parts(over):
    film = Film()
    app = over(film)
    await part(app, "0-4")
    assert said(await part(app, "0-4", if_range=ETAG))[:2] == ("HIT", 206)
    assert said(await part(app, "0-4", if_range='"v0"')) == ("MISS", 200, None, BODY)


async def test_only_if_cached(over):
    app = over(Film())
    assert (await part(app, "0-4", cache_control="only-if-cached")).status == 504
    await part(app, "0-4")
    assert (await part(app, "0-4", cache_control="only-if-cached")).status == 206
    assert (await ask(app, "/a", headers={"cache-control": "only-if-cached"})).status == 504


async def test_bodies_and_two_hosts_pass(over):
    app = over(Film())
    assert (await part(app, "0-4", content_length="0")).x_cache == "MISS"
    assert (await ask(app, "/a", headers=[("host", "x.test"), ("range", "bytes=0-4")])).x_cache == "BYPASS"


# -- purges, and many at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("purge", ["url", "group", "prefix", "pattern", "other"])
async def test_a_part_from_before_a_purge_is_not_served_or_mixed(over, cache, purge, soft):
    film = Film(more=[(b"cache-groups", b'"films"')])
    app = over(film)
    await part(app, "0-4")
    match purge:
        case "url":
            await cache.purge("/a", soft=soft)
        case "group":
            await cache.purge_groups("films", soft=soft)
        case "prefix":
            await cache.purge_prefix("/", soft=soft)
        case "pattern":
            await cache.purge_matching("/?", soft=soft)
        case "other":
            await cache.purge("/b", soft=soft)
    film.body = b"abcdefghij"  # the app forgot to change its ETag: the purge counts all the same
    if purge == "other":
        assert said(await part(app, "0-4")) == ("HIT", 206, "bytes 0-4/10", b"01234")
        return
    assert said(await part(app, "5-9")) == ("MISS", 206, "bytes 5-9/10", b"fghij")
    assert said(await part(app, "0-4")) == ("MISS", 206, "bytes 0-4/10", b"abcde")
    assert said(await ask(app, "/a")) == ("HIT", 200, None, b"abcdefghij")


@pytest.mark.parametrize("group", ["first", "second"])
async def test_a_purge_of_what_was_combined_purges_all_of_it(over, cache, group):
    film = Film(more=[(b"cache-groups", b'"first"')])
    app = over(film)
    await part(app, "0-4")
    before = cache.store.peek(Target(scope_of("/a"), ()).key).epoch
    await cache.purge("/elsewhere")
    film.more = [(b"cache-groups", b'"second"')]
    await part(app, "5-9")
    assert (await ask(app, "/a")).x_cache == "HIT"
    assert cache.store.peek(Target(scope_of("/a"), ()).key).epoch == before
    await cache.purge_groups(group)
    film.body, film.etag = b"abcdefghij", '"v2"'
    assert said(await ask(app, "/a")) == ("MISS", 200, None, b"abcdefghij")


@pytest.mark.parametrize("soft", [False, True])
async def test_what_was_purged_is_not_completed(over, cache, soft):
    film = Film()
    app = over(film)
    await part(app, "0-4")
    await cache.purge("/a", soft=soft)
    assert said(await ask(app, "/a")) == ("MISS", 200, None, BODY)
    assert film.asked == ["bytes=0-4", None]


@pytest.mark.parametrize("plain", [False, True])
async def test_a_purge_while_a_part_is_rendered(over, cache, plain):
    film = Film()
    app = over(film)
    await part(app, "0-4")

    async def purged(_scope):
        film.before = None
        await cache.purge("/a")

    film.before = purged
    answer = await (ask(app, "/a") if plain else part(app, "5-9"))
    assert answer.body == (BODY if plain else b"56789")
    assert film.asked[2:] == ([None] if plain else [])
    film.body = b"abcdefghij"
    assert (await part(app, "0-4")).body == (b"01234" if plain else b"abcde")
    if not plain:
        assert (await part(app, "5-9")).body == b"fghij"


async def test_purges_from_handlers_raise_the_floor_for_parts(over, cache):
    film = Film()
    app = over(film)
    await part(app, "0-4")
    written = await ask(app, "/a", "POST")
    film.body = b"abcdefghij"
    answer = await ask(app, "/a", headers=ranged("0-4"), floor=written)
    assert said(answer) == ("MISS", 206, "bytes 0-4/10", b"abcde")


async def test_the_same_range_is_rendered_once_and_others_do_not_wait(over):
    film = Film()
    app = over(film)
    go, waiting = asyncio.Event(), asyncio.Event()

    async def wait(_scope):
        waiting.set()
        await go.wait()

    film.before = wait
    same = [asyncio.create_task(part(app, "0-4")) for _ in range(8)]
    await waiting.wait()
    film.before = None
    other, whole = await part(app, "5-9"), await ask(app, "/b")
    assert (other.body, whole.body) == (b"56789", BODY)
    go.set()
    answers = await asyncio.gather(*same)
    assert {(answer.status, answer.body) for answer in answers} == {(206, b"01234")}
    assert film.asked == ["bytes=0-4", "bytes=5-9", None]
    assert sorted(answer.x_cache for answer in answers) == ["HIT"] * 7 + ["MISS"]


async def test_a_part_that_cannot_be_stored_keeps_nobody_waiting_and_plain_gets_unharmed(over, cache):
    film = Film(control=None)
    middleware = over(film)
    await part(middleware, "0-4")
    film.control = "max-age=60"
    go = asyncio.Event()

    async def wait(_scope):
        await go.wait()

    film.before = wait
    plain = [asyncio.create_task(ask(middleware, "/a")) for _ in range(5)]
    while len(film.asked) < 2:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    go.set()
    assert {answer.body for answer in await asyncio.gather(*plain)} == {BODY}
    assert len(film.asked) == 2


async def test_nobody_waits_for_a_part_that_was_not_to_be_stored(over):
    film = Film(control=None)
    app = over(film)
    await part(app, "0-4")
    go = asyncio.Event()

    async def wait(_scope):
        await go.wait()

    film.before = wait
    tasks = [asyncio.create_task(part(app, "0-4")) for _ in range(5)]
    while len(film.asked) < 6:
        await asyncio.sleep(0)
    go.set()
    assert [answer.body for answer in await asyncio.gather(*tasks)] == [b"01234"] * 5


@pytest.mark.parametrize("plain", [False, True])
async def test_a_client_that_leaves_leaves_nothing(over, cache, plain):
    film = Film()
    app = over(film)
    if plain:
        await part(app, "0-4")
    go, waiting = asyncio.Event(), asyncio.Event()

    async def wait(_scope):
        waiting.set()
        await go.wait()

    film.before = wait
    before = asyncio.all_tasks()
    task = asyncio.create_task(ask(app, "/a") if plain else part(app, "0-4"))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled(cache)
    await asyncio.sleep(0)
    film.before = None
    assert (await part(app, "5-9")).x_cache == "MISS"
    assert said(await ask(app, "/a"))[1:] == (200, None, BODY)
    await settled(cache)
    assert {each for each in asyncio.all_tasks() - before if "ramkit/redis" not in repr(each)} == set()


@pytest.mark.parametrize("plain", [False, True])
async def test_an_app_that_breaks_off_leaves_what_was_there(over, plain):
    film = Film()
    app = over(film)
    await part(app, "0-4")

    async def broken(scope, receive, send):
        async def half(message):
            if message["type"] == "http.response.body":
                await send({**message, "body": message["body"][:2], "more_body": True})
                raise RuntimeError("broken")
            await send(message)

        await film(scope, receive, half)

    cut = over(broken)
    with pytest.raises(RuntimeError):
        await (ask(cut, "/a") if plain else part(cut, "5-9"))
    assert said(await part(app, "0-4")) == ("HIT", 206, "bytes 0-4/10", b"01234")
    assert (await part(app, "5-6")).x_cache == "MISS"


async def test_an_app_that_ends_early_is_asked_for_the_whole(over):
    film = Film()
    app = CacheMiddleware(film, cache=Cache(clock=ManualClock()))
    await part(app, "0-4")

    async def early(scope, receive, send):
        async def some(message):
            if not (find(scope["headers"], b"range") and message["type"] == "http.response.body"):
                await send(message)

        await film(scope, receive, some)

    app.app = early
    assert said(await ask(app, "/a")) == ("MISS", 200, None, BODY)


async def test_parts_are_shared_by_processes(redis_url, clock):
    film = Film()
    caches = [
        Cache(TieredStore(RedisStore(redis_url, deadline=10, clock=clock)), clock=clock) for _ in range(2)
    ]
    one, two = (CacheMiddleware(film, cache=each) for each in caches)
    await part(one, "0-4")
    assert said(await part(two, "1-2")) == ("HIT", 206, "bytes 1-2/10", b"12")
    assert said(await ask(two, "/a")) == ("MISS", 200, None, BODY)
    assert said(await ask(one, "/a")) == ("HIT", 200, None, BODY)
    assert film.asked == ["bytes=0-4", "bytes=5-"]
    for each in caches:
        await each.aclose()


async def test_a_file_of_starlette(over, tmp_path):
    (tmp_path / "film").write_bytes(VIDEO)

    async def film(_request):
        renders.append(1)
        return FileResponse(tmp_path / "film", headers={"cache-control": "max-age=60"})

    renders = []
    app = over(Starlette(routes=[Route("/film", film)]))
    several = await part(app, "0-9,1000-1009", "/film")
    assert (several.status, several.x_cache) == (206, "MISS")
    assert several["content-type"].startswith("multipart/byteranges")
    assert several["cache-status"] == "ramkit; fwd=uri-miss; detail=content-range"
    assert (await ask(app, "/film", headers={"range": "bytes=x"})).status == 400
    assert said(await part(app, "0-1023", "/film")) == ("MISS", 206, "bytes 0-1023/2048", VIDEO[:1024])
    assert said(await part(app, "1-9", "/film")) == ("HIT", 206, "bytes 1-9/2048", VIDEO[1:10])
    answer = await ask(app, "/film")
    assert (answer.x_cache, answer.body) == ("MISS", VIDEO)
    assert answer["cache-status"] == "ramkit; fwd=partial; stored"
    assert (await part(app, "0-9,1000-1009", "/film")).x_cache == "HIT"
    assert len(renders) == 4


# -- anything, in any order -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
async def test_every_answer_is_of_one_version_that_it_may_be_of(seed):
    """Versions change with their ETag, so an old one may be served while it is fresh; or without, and then
    with a purge, after which no byte of an old one may be seen."""
    rng, clock = random.Random(seed), ManualClock()
    versions = [rng.randbytes(rng.randrange(1, 300))]
    film = Film(versions[0], etag='"0-0"' if seed % 4 else None)
    cache = Cache(clock=clock)
    inner = ASGILint(film)
    app = ASGILint(CacheMiddleware(inner, cache=cache, max_body=rng.choice((100, 1000))))
    oldest, changed, served = 0, [0.0], 0
    for _ in range(60):
        match rng.randrange(12):
            case 0:
                versions.append(rng.randbytes(len(versions[-1]) if seed % 3 else rng.randrange(1, 300)))
                film.body = versions[-1]
                changed.append(clock.monotonic())
                if film.etag and rng.random() < 0.5:
                    film.etag = f'"{len(versions)}-{oldest}"'
                else:
                    await cache.purge("/a")
                    oldest = len(versions) - 1
            case 1:
                clock.advance(rng.randrange(40))
            case 2 | 3:
                answer = await ask(app, "/a", headers={"if-range": '"0-0"'})
                assert answer.status == 200
                assert answer.body in versions[oldest:]
                served += answer.x_cache == "HIT"
            case _:
                first = rng.randrange(300)
                value = rng.choice([f"{first}-", f"-{first}", f"{first}-{first + rng.randrange(60)}"])
                answer = await part(app, value)
                check(answer, value, versions[oldest:])
                served += answer.x_cache == "HIT"
        fresh = [at for at, until in enumerate(changed[1:]) if clock.monotonic() - until >= 60]
        oldest = max([oldest, *(at + 1 for at in fresh)])
    assert served or len(film.body) > 50
    inner.check()
    app.check()


def check(answer, value, versions):
    if answer.status == 206:
        spans = [resolve(parse_range(b"bytes=" + value.encode()), len(body)) for body in versions]
        allowed = [
            (f"bytes {span.first}-{span.last}/{len(body)}", body[span.first : span.last + 1])
            for body, found in zip(versions, spans, strict=True)
            for span in found or ()
        ]
        assert (answer["content-range"], answer.body) in allowed
        assert answer["content-length"] == str(len(answer.body))
    elif answer.status == 416:
        assert answer["content-range"] in {f"bytes */{len(body)}" for body in versions}
    else:
        assert (answer.status, answer["content-range"]) == (200, None)
        assert answer.body in versions
