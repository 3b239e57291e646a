"""ConsistencyMiddleware: the floor to the client and back, without a database."""

import asyncio
import itertools
import math
import re

import pytest

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.db.core.floors import Codec, Said
from ramkit.db.middleware import ConsistencyMiddleware
from ramkit.kernel.context import RequestContext, Transaction
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope
from ramkit.testing.contracts.middleware import MiddlewareContract

SECRET = "s" * 32
PAIR = re.compile(rb"(__Host-floor-[0-9a-f]{8})=([A-Za-z0-9_-]*)(; Max-Age=0)?")


class Store:
    """What there is to know of a database or a cache here: its name, for how long all replicas have passed a
    position, and for how long it stored anything."""

    def __init__(self, name="main"):
        self.name, self.calls = name, []
        self.replayed, self.longest = {}, math.inf

    def passed(self, lsn):
        return max((seconds for end, seconds in self.replayed.items() if end >= lsn), default=None)

    def outlived(self, seconds):
        return seconds > self.longest

    async def start(self):
        self.calls.append("start")

    async def aclose(self):
        self.calls.append("aclose")


class Writing:
    """An app that raises its client's floor to what the query says, and shows what it was before."""

    def __init__(self):
        self.floors, self.cookies = [], []

    async def __call__(self, scope, receive, send):
        context = RequestContext.of(scope)
        self.floors.append(dict(context.floor.positions))
        self.cookies.append([value for name, value in scope["headers"] if name == b"cookie"])
        if scope["query_string"]:
            context.floor.raise_position("main", int(scope["query_string"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
        await send({"type": "http.response.body"})


class Browser:
    """Keeps cookies as a browser does."""

    def __init__(self, app, scheme="https"):
        self.app, self.scheme, self.jar = app, scheme, {}

    async def ask(self, query=b"", *, method="POST", more=(), keep=True):
        cookies = [b"%b=%b" % pair for pair in self.jar.items()]
        headers = [(b"cookie", b"; ".join(cookies))] if cookies else []
        sent = await drive(
            self.app, http_scope(method=method, query=query, headers=[*headers, *more], scheme=self.scheme)
        )
        if keep:
            self.take(sent)
        return sent

    def take(self, sent):
        for name, value in sent[0]["headers"]:
            if name == b"set-cookie":
                cookie, content, gone = PAIR.match(value).groups()
                if gone:
                    self.jar.pop(cookie, None)
                else:
                    self.jar[cookie] = content


@pytest.fixture
def app():
    return Writing()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def browser(app, store, clock):
    return Browser(ConsistencyMiddleware(app, db=store, secret=SECRET, clock=clock, lifetime=100))


async def test_a_write_is_told_and_comes_back(app, browser):
    await browser.ask(b"7")
    await browser.ask()
    assert app.floors == [{}, {"main": 7}]
    assert len(browser.jar) == 1


async def test_the_cookie_is_kept_from_everybody_else(browser):
    sent = await browser.ask(b"7")
    (cookie,) = [value for name, value in sent[0]["headers"] if name == b"set-cookie"]
    assert re.fullmatch(
        rb"__Host-floor-[0-9a-f]{8}=[A-Za-z0-9_-]+; Max-Age=100; Path=/; HttpOnly; Secure; SameSite=Lax",
        cookie,
    )


async def test_a_request_that_wrote_nothing_is_told_nothing(browser):
    assert [name for name, _ in (await browser.ask())[0]["headers"]] == [b"x-app"]
    await browser.ask(b"7")
    assert [name for name, _ in (await browser.ask())[0]["headers"]] == [b"x-app"]
    assert [name for name, _ in (await browser.ask(b"5"))[0]["headers"]] == [b"x-app"], "it is no higher"


async def test_the_app_sees_other_cookies_only(app, browser):
    await browser.ask(b"7")
    ours = b"; ".join(b"%b=%b" % pair for pair in browser.jar.items())
    browser.jar = {}
    for line, left in [
        (b"a=1; " + ours + b"; b=2", [b"a=1; b=2"]),
        (b"a=1; " + ours, [b"a=1"]),
        (ours + b"; a=1", [b"a=1"]),
        (ours, []),
        (b"a=__Host-floor-; b=2", [b"a=__Host-floor-; b=2"]),
        (b"a=" + ours + b"; b=2", [b"a=" + ours + b"; b=2"]),
        (b"a=1 " + ours + b"; b=2", [b"a=1 " + ours + b"; b=2"]),
        (b"x" + ours + b";" + ours + b" ;b=2", [b"x" + ours + b";b=2"]),
    ]:
        await browser.ask(more=[(b"cookie", line)], keep=False)
        assert app.cookies[-1] == left


@pytest.mark.parametrize("order", [range(10), reversed(range(10)), [5, 0, 9, 1, 8, 2, 7, 3, 6, 4]])
async def test_ten_writes_at_once_in_any_order_of_their_responses(app, browser, order):
    """Breaks when the last Set-Cookie wins: each write has a cookie of its own, and a response deletes
    only those that it received."""
    await browser.ask(b"1")
    answers = await asyncio.gather(*(browser.ask(b"%d" % n, keep=False) for n in range(10, 20)))
    for number in order:
        browser.take(answers[number])
    await browser.ask()
    assert app.floors[-1] == {"main": 19}
    await browser.ask(b"50")
    assert len(browser.jar) == 1, "they are merged"
    await browser.ask()
    assert app.floors[-1] == {"main": 50}


async def test_fifty_writes_at_once_are_seen_and_merged_by_the_next_read(app, browser):
    answers = await asyncio.gather(*(browser.ask(b"%d" % n, keep=False) for n in range(1, 51)))
    assert all(len(told) == 1 for told in map(floors_in, answers)), "nobody deletes what he was not brought"
    for turn in (answers, answers[::-1]):
        browser.jar = {}
        for answer in turn:
            browser.take(answer)
        for left in (35, 20, 5, 5):  # or they would be sent along until the next write
            sent = await browser.ask(method="GET")
            assert app.floors[-1] == {"main": 50}
            assert len(browser.jar) == left
            assert sum(map(len, floors_in(sent))) < 2048, "no proxy takes it for broken"


def floors_in(sent):
    return [value for name, value in sent[0]["headers"] if name == b"set-cookie"]


async def test_every_order_of_three(app, browser):
    answers = [await browser.ask(b"%d" % n, keep=False) for n in (3, 1, 2)]
    for order in itertools.permutations(answers):
        browser.jar = {}
        for answer in order:
            browser.take(answer)
        await browser.ask(keep=False)
        assert app.floors[-1] == {"main": 3}


async def test_what_is_not_signed_here_is_ignored(app, browser, clock):
    await browser.ask(b"7")
    ((name, value),) = browser.jar.items()
    forged = Codec([b"x" * 32]).encode(Said({"main": 10**9}, {}, {}, clock.time()))
    huge = b"A" * 5000
    flipped = value[:5] + bytes([value[5] ^ 1]) + value[6:]
    for bad in (forged, huge, value[:-1], value[:10], b"", b"-", flipped, value + b"AAAA"):
        browser.jar = {name: bad}
        await browser.ask(keep=False)
        assert app.floors[-1] == {}, bad
    for header in (b"", b"?", b"=", forged, b"\xff\xfe"):
        await browser.ask(more=[(b"ramkit-floor", header)], keep=False)
        assert app.floors[-1] == {}, header


async def test_hundreds_of_cookies_cost_no_more_than_a_few(app, browser):
    await browser.ask(b"7")
    (value,) = browser.jar.values()
    line = b"; ".join(b"__Host-floor-%08x=%b" % (n, value if n == 9 else b"A" * 40) for n in range(1000))
    browser.jar = {}
    sent = await browser.ask(b"9", more=[(b"cookie", line)])
    assert app.floors[-1] == {}, "it is not looked beyond the newest"
    assert app.cookies[-1] == []
    assert len([1 for name, _ in sent[0]["headers"] if name == b"set-cookie"]) == 1


async def test_secrets_may_change(app, clock):
    before = Browser(ConsistencyMiddleware(app, db=Store(), secret=SECRET, clock=clock))
    await before.ask(b"7")
    between = ConsistencyMiddleware(app, db=Store(), secret=["n" * 32, SECRET], clock=clock)
    after = ConsistencyMiddleware(app, db=Store(), secret="n" * 32, clock=clock)
    before.app = between
    await before.ask(b"9")
    before.app = after
    await before.ask()
    assert app.floors == [{}, {"main": 7}, {"main": 9}]


async def test_a_floor_ends(app, browser, clock):
    await browser.ask(b"7")
    clock.advance(99)
    await browser.ask(keep=False)
    clock.advance(2)
    await browser.ask(keep=False)
    assert app.floors[1:] == [{"main": 7}, {}]


async def test_services_and_plain_http_have_a_header(app, clock):
    wrapped = ConsistencyMiddleware(app, db=Store(), secret=SECRET, clock=clock)
    for scheme, more in (("http", []), ("https", [(b"ramkit-floor", b"")])):
        sent = await Browser(wrapped, scheme).ask(b"7", more=more)
        floor = dict(sent[0]["headers"])[b"ramkit-floor"]
        assert b"set-cookie" not in dict(sent[0]["headers"])
        await Browser(wrapped, scheme).ask(more=[(b"ramkit-floor", floor)])
        assert app.floors[-1] == {"main": 7}


async def test_floors_of_several_fields_are_merged(app, clock):
    service = Browser(ConsistencyMiddleware(app, db=Store(), secret=SECRET, clock=clock), "http")
    floors = [dict((await service.ask(b"%d" % n))[0]["headers"])[b"ramkit-floor"] for n in (9, 5)]
    await service.ask(more=[(b"ramkit-floor", floor) for floor in floors])
    await service.ask(more=[(b"ramkit-floor", b", ".join(floors))])
    assert app.floors[-2:] == [{"main": 9}] * 2


async def test_a_get_that_writes_is_told_too(clock):
    """Also where something between copies the scope, and where the cache only memoizes."""

    async def app(scope, receive, send):
        RequestContext.current().floor.raise_position("main", 9)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def copying(scope, receive, send):
        await app(dict(scope), receive, send)

    for inner in (app, copying):
        wrapped = ConsistencyMiddleware(inner, db=Store(), cache=Store("c"), secret=SECRET, clock=clock)
        sent = await drive(wrapped, http_scope())
        assert b"ramkit-floor" in dict(sent[0]["headers"])


async def test_an_answer_before_the_commit_is_told_in_the_log(clock, caplog):
    async def app(scope, receive, send):
        with Transaction().active():
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

    await drive(ConsistencyMiddleware(app, db=Store(), secret=SECRET, clock=clock), http_scope())
    assert "answers before its transaction is committed" in caplog.text


async def test_purges_that_wait_for_a_commit_after_the_answer_send_the_client_past_the_cache(clock):
    cache = Cache(clock=clock)

    async def app(scope, receive, send):
        transaction = Transaction()
        with transaction.active():
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})
        await transaction.committed()

    cached = CacheMiddleware(app, cache=cache)
    wrapped = ConsistencyMiddleware(cached, db=Store(), cache=cache, secret=SECRET, clock=clock)
    scope = http_scope("PUT")
    sent = await drive(wrapped, scope)
    assert b"ramkit-floor" in dict(sent[0]["headers"])
    assert RequestContext.of(scope).floor.bypass == {"cache"}
    await cache.aclose()


async def test_names_of_other_stores_are_left_out(app, clock):
    one = Browser(ConsistencyMiddleware(app, db=[Store(), Store("other")], secret=SECRET, clock=clock))
    await one.ask(b"7")
    one.app = ConsistencyMiddleware(app, db=Store("other"), secret=SECRET, clock=clock)
    await one.ask()
    assert app.floors[-1] == {}


async def test_a_websocket_begins_with_the_floor_of_its_handshake(browser, clock):
    await browser.ask(b"7")
    seen = []

    async def socket(scope, receive, send):
        seen.append((RequestContext.current().floor.positions, scope["headers"]))

    wrapped = ConsistencyMiddleware(socket, db=Store(), secret=SECRET, clock=clock)
    ((name, value),) = browser.jar.items()
    headers = [(b"cookie", name + b"=" + value), (b"x", b"y")]
    await wrapped({"type": "websocket", "headers": headers, "path": "/"}, None, None)
    assert seen == [({"main": 7}, [(b"x", b"y")])]


async def test_databases_open_and_close_with_the_app(app, clock):
    store, messages = Store(), iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def inner(scope, receive, send):
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    async def receive():
        return next(messages)

    sent = []

    async def send(message):
        sent.append(message["type"])

    await ConsistencyMiddleware(inner, db=store, secret=SECRET)({"type": "lifespan"}, receive, send)
    assert store.calls == ["start", "aclose"]


async def test_a_writers_floor_goes_past_what_strangers_are_served(clock):
    cache = Cache(clock=clock)
    lsn = 5

    async def app(scope, receive, send):
        context = RequestContext.current()
        if scope["method"] == "PUT":
            context.floor.raise_position("main", 9)
        else:
            context.read_at("main", max(lsn, context.wanted("main")))
        body = b"%d" % max(lsn, context.wanted("main"))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": body})

    cached = CacheMiddleware(app, cache=cache, rules=[Rule("/*", ttl=60)])
    wrapped = ConsistencyMiddleware(cached, db=Store(), cache=cache, secret=SECRET, clock=clock)

    def x_cache(sent):
        return dict(sent[0]["headers"])[b"x-cache"], sent[-1]["body"]

    stranger, writer = Browser(wrapped), Browser(wrapped)
    assert x_cache(await stranger.ask(method="GET")) == (b"MISS", b"5")
    # A write elsewhere: it purges its own URL, and not this one.
    sent = await drive(wrapped, http_scope("PUT", "/other", headers=[], scheme="https"))
    writer.take(sent)
    assert x_cache(await stranger.ask(method="GET")) == (b"HIT", b"5")
    assert x_cache(await writer.ask(method="GET")) == (b"MISS", b"9")
    assert x_cache(await stranger.ask(method="GET")) == (b"HIT", b"9")
    await cache.aclose()


async def test_epochs_and_bypasses_travel_too(clock):
    seen = []

    async def app(scope, receive, send):
        floor = RequestContext.of(scope).floor
        seen.append((dict(floor.epochs), set(floor.bypass)))
        if scope["query_string"] == b"1":
            floor.raise_epoch("cache", 5, 17)
            floor.go_past("cache")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    wrapped = ConsistencyMiddleware(app, cache=Store("cache"), secret=SECRET, clock=clock, lifetime=100)
    browser = Browser(wrapped)
    await browser.ask(b"1")
    await browser.ask()
    assert seen[1] == ({"cache": (5, 17)}, {"cache"})
    clock.advance(60)
    await browser.ask(b"1")
    clock.advance(60)
    await browser.ask()
    assert seen[-1] == ({"cache": (5, 17)}, {"cache"}), "another one that is not confirmed begins anew"
    clock.advance(60)
    await browser.ask()
    assert seen[-1] == ({}, set())


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("secret", {"secret": "short"}),
        ("secret", {"secret": []}),
        ("secret", {"secret": [SECRET, "short"]}),
        ("lifetime", {"lifetime": 0}),
        ("lifetime", {"lifetime": float("inf")}),
        ("carrier", {"carrier": "pigeon"}),
        ("db", {"db": ()}),
        ("db", {"db": [Store(), Store()]}),
    ],
)
def test_mistakes_name_the_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        ConsistencyMiddleware(Writing(), **{"db": Store(), "secret": SECRET, **options})
    assert str(caught.value).startswith(argument)


class TestGallery(MiddlewareContract):
    def wrap(self, app):
        return ConsistencyMiddleware(app, db=Store(), secret=SECRET)


class TestGalleryRaised(MiddlewareContract):
    rewrites = frozenset({b"ramkit-floor"})

    def wrap(self, app):
        async def writing(scope, receive, send):
            if scope["type"] in ("http", "websocket"):
                RequestContext.of(scope).floor.raise_position("main", 7)
            await app(scope, receive, send)

        return ConsistencyMiddleware(writing, db=Store(), secret=SECRET)
