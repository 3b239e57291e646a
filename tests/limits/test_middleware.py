import asyncio
import json

import pytest

from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.limits import (
    ByClient,
    Limiter,
    MemoryStore,
    Policy,
    RateLimitMiddleware,
    by_header,
    by_principal,
    by_route,
)
from ramkit.testing.clock import ManualClock
from ramkit.testing.lint import ASGILint
from tests.limits.asking import Hello, Socket, ask, status_of


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limited(clock):
    """An app behind limits, the lint on both sides."""

    def make(*policies, app=None, **options):
        inner = ASGILint(app if app is not None else Hello())
        return ASGILint(RateLimitMiddleware(inner, policies=policies, clock=clock, **options))

    return make


# -- what clients see ----------------------------------------------------------------------------------


async def test_the_fields_of_the_draft(limited, clock):
    app = limited(Policy("burst", "100/minute"), Policy("daily", "1000/d", burst=2))
    answer = await ask(app, "/")
    assert answer.status == 200
    assert answer["ratelimit-policy"] == '"burst";q=100;w=60, "daily";q=2;w=173'
    assert answer["ratelimit"] == '"burst";r=99;t=1, "daily";r=1;t=87'
    assert answer["x-ratelimit-limit"] is None
    for _ in range(49):
        await ask(app, "/", client=("192.0.2.1", 1))
    clock.advance(0.3)
    assert (await ask(app, "/"))["ratelimit"] == '"burst";r=98;t=1, "daily";r=0;t=173'


async def test_what_is_too_much_is_a_429(limited, clock):
    app = limited(Policy("burst", "10/minute", burst=2), Policy("daily", "1000/d"))
    assert [await status_of(app) for _ in range(2)] == [200, 200]
    clock.advance(0.5)
    answer = await ask(app, "/")
    assert answer.status == 429
    assert answer["retry-after"] == "6"  # 5.5 s, in whole seconds
    assert answer["ratelimit"] == '"burst";r=0;t=6, "daily";r=998;t=173'
    assert answer["ratelimit-policy"] == '"burst";q=2;w=12, "daily";q=1000;w=86400'
    assert answer["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["status"] == 429
    assert problem["violated-policies"] == ["burst"]
    clock.advance(5.5)
    assert (await ask(app, "/"))["ratelimit"] == '"burst";r=0;t=12, "daily";r=997;t=254'


async def test_nothing_is_sent_on_that_exceeds(limited):
    hello = Hello()
    app = limited(Policy("p", "1/h"), app=hello)
    assert [await status_of(app) for _ in range(3)] == [200, 429, 429]
    assert hello.asked == 1


async def test_the_older_fields(limited):
    app = limited(Policy("wide", "100/s"), Policy("narrow", "1/minute", burst=2), legacy_headers=True)
    seen = [await ask(app, "/") for _ in range(3)]
    assert [answer["x-ratelimit-limit"] for answer in seen] == ["2", "2", "2"]
    assert [answer["x-ratelimit-remaining"] for answer in seen] == ["1", "0", "0"]
    assert [answer["x-ratelimit-reset"] for answer in seen] == ["60", "120", "60"]


async def test_the_apps_own_headers_stay(limited):
    async def app(scope, receive, send):
        headers = iter([(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body"})

    answer = await ask(RateLimitMiddleware(app, policies=[Policy("p", "1/s")]), "/")
    assert answer.status == 404
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert answer["ratelimit"] == '"p";r=0;t=1'


async def test_a_response_arrives_piece_by_piece():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            assert len(sent) == number + 2  # it went out at once
        await send({"type": "http.response.body"})

    async def send(message):
        sent.append(message)

    limited = RateLimitMiddleware(app, policies=[Policy("p", "1/s")])
    await limited({"type": "http", "path": "/", "headers": [], "client": None}, None, send)
    assert len(sent) == 5


async def test_what_costs_more_than_the_quota_is_never_admitted(limited):
    answer = await ask(limited(Policy("p", "10/minute", cost=11)), "/")
    assert (answer.status, answer["retry-after"]) == (429, "60")
    assert json.loads(answer.body)["detail"] == "This request costs more than is admitted at once."


# -- several policies ----------------------------------------------------------------------------------


async def test_if_one_refuses_the_others_are_not_charged(limited):
    app = limited(Policy("narrow", "1/h"), Policy("wide", "10/h"))
    assert [(await ask(app, "/"))["ratelimit"].split(", ")[1] for _ in range(4)] == ['"wide";r=9;t=360'] * 4


async def test_costs(limited):
    async def weighed(scope):
        return int(scope["query_string"] or 1)

    hello = Hello()
    app = limited(Policy("p", "10/h", cost=weighed), Policy("q", "100/h", cost=lambda scope: 7), app=hello)
    seen = [await ask(app, f"/?{cost}") for cost in (4, 0, 6, 1, 0)]
    assert [answer.status for answer in seen] == [200, 200, 200, 429, 200]
    assert [answer["ratelimit"].partition(";t")[0] for answer in seen] == [
        f'"p";r={left}' for left in (6, 6, 0, 0, 0)
    ]
    with pytest.raises(TypeError, match="cost"):
        await ask(app, "/?-1")


async def test_dry_run_refuses_nobody_and_tells_observers(limited):
    events = []
    app = limited(Policy("dry", "2/h", dry_run=True), Policy("p", "3/h"), observers=[events.append])
    assert [await status_of(app) for _ in range(4)] == [200, 200, 200, 429]
    assert '"dry"' not in (await ask(app, "/"))["ratelimit-policy"]
    results = [(event.policy, event.result) for event in events]
    dry = ["allowed"] * 2 + ["dry_run"] * 3
    assert results == [
        pair
        for first, second in zip(dry, ["allowed"] * 3 + ["refused"] * 2, strict=True)
        for pair in (("dry", first), ("p", second))
    ]


async def test_exemptions(limited):
    app = limited(
        Policy("p", "1/h", exempt=lambda scope: scope["method"] == "OPTIONS"), exempt=["/health", "/static/*"]
    )
    assert [await status_of(app, path) for path in ("/health", "/static/a.css") * 2] == [200] * 4
    assert [(await ask(app, "/", "OPTIONS"))["ratelimit"] for _ in range(2)] == [None, None]
    assert [await status_of(app) for _ in range(2)] == [200, 429]
    assert await status_of(app, "/health") == 200


# -- whose limit it is ---------------------------------------------------------------------------------


async def spent(app, *requests):
    """Which of them were admitted, under one request an hour for each key."""
    return [(await ask(app, "/", **request)).status == 200 for request in requests]


async def test_by_client(limited):
    clients = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "::ffff:192.0.2.1"]
    app = limited(Policy("p", "1/h"))
    assert await spent(app, *({"client": (each, 1)} for each in clients)) == [True, True, False, False]


async def test_ipv6_clients_by_their_network(limited):
    clients = ["2001:db8::1", "2001:db8::2:3:4:5", "2001:db8:0:1::1", "2001:db8:0:1:ffff::"]
    requests = [{"client": (each, 1)} for each in clients]
    assert await spent(limited(Policy("p", "1/h")), *requests) == [True, False, True, False]
    key = ByClient(ipv6_prefix=128)
    assert await spent(limited(Policy("p", "1/h", key=key)), *requests) == [True] * 4
    key = ByClient(ipv6_prefix=48)
    assert await spent(limited(Policy("p", "1/h", key=key)), *requests) == [True, False, False, False]


async def test_all_clients_that_are_not_known_share_one_key(limited):
    app = limited(Policy("p", "1/h"))
    assert await spent(app, {"client": None}, {"client": ("", 0)}, {"client": None}) == [True, False, False]


async def test_only_trusted_proxies_say_who_the_client_is(limited):
    def forwarded(address, proxy):
        return {"headers": {"x-forwarded-for": address}, "client": (proxy, 1)}

    key = ByClient(TrustedProxies(["10.0.0.0/8"]))
    app = limited(Policy("p", "1/h", key=key))
    ours = [forwarded("192.0.2.1", "10.0.0.1"), forwarded("6.6.6.6, 192.0.2.1", "10.0.0.2")]
    assert await spent(app, *ours, forwarded("192.0.2.2", "10.0.0.1")) == [True, False, True]
    theirs = [forwarded("192.0.2.7", "198.51.100.1"), forwarded("192.0.2.8", "198.51.100.1")]
    assert await spent(app, *theirs) == [True, False]


class User:
    def __init__(self, identity, *, known=True):
        self.identity, self.is_authenticated = identity, known


async def test_by_principal(limited):
    app = limited(Policy("p", "1/h", key=by_principal()))
    users = [User("ann"), User("bob"), User("ann"), None, User("", known=False)]
    assert await spent(app, *({"user": user} for user in users)) == [True, True, False, True, False]
    with pytest.raises(TypeError, match="object has no identity"):
        await ask(app, "/", user=object())


async def test_by_the_principal_of_the_request_context(limited):
    inner = limited(Policy("p", "1/h", key=by_principal()))

    async def authenticated(scope, receive, send):
        RequestContext.of(scope).principal = scope["query_string"].decode()
        await inner(scope, receive, send)

    seen = [await status_of(authenticated, path) for path in ("/?ann", "/?ann", "/?bob")]
    assert seen == [200, 429, 200]


async def test_by_header(limited):
    app = limited(Policy("p", "1/h", key=by_header("X-API-Key")))
    keys = [{"x-api-key": "a"}, {"x-api-key": "b"}, {"x-api-key": "a"}, {}, {}]
    assert await spent(app, *({"headers": key} for key in keys)) == [True, True, False, True, False]
    with pytest.raises(ConfigurationError, match="name"):
        by_header("")


async def test_by_route(limited):
    app = limited(Policy("p", "1/h", key=by_route))
    seen = [
        await ask(app, path, method)
        for path, method in [("/a", "GET"), ("/a", "PUT"), ("/b?1", "GET"), ("/b?2", "GET")]
    ]
    assert [answer.status for answer in seen] == [200, 200, 200, 429]


async def test_by_a_function(limited):
    async def tenant(scope):
        await asyncio.sleep(0)
        return scope["path"].split("/")[1]

    app = limited(Policy("p", "1/h", key=tenant))
    assert [await status_of(app, path) for path in ("/a/1", "/a/2", "/b/1")] == [200, 429, 200]
    with pytest.raises(TypeError, match="no key"):
        await ask(limited(Policy("p", "1/h", key=lambda scope: 7)), "/")


async def test_keys_do_not_collide():
    limiter = Limiter(policies=[Policy("p", "1/h"), Policy("q", "1/h")])
    keys = ["a", b"a", None, "", b"", "n", "a:q", "a}", "sa", "\udcff", "ä", b"sa"]
    decisions = [await limiter.check(policy, key) for policy in ("p", "q") for key in keys]
    assert all(decision.allowed for decision in decisions)
    again = [await limiter.check(policy, key) for policy in ("p", "q") for key in keys]
    assert not any(decision.allowed for decision in again)


# -- WebSockets ----------------------------------------------------------------------------------------


async def echo(scope, receive, send):
    heard = []
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        heard.append(message["text"])
        await send({"type": "websocket.send", "text": message["text"]})
    scope["state"]["heard"], scope["state"]["code"] = heard, message["code"]


async def test_a_handshake_is_a_request(limited):
    app = limited(Policy("p", "1/h"), app=echo)
    first = await Socket("a").meet(app)
    assert first.kinds == ["accept", "send"]
    assert (b"ratelimit", b'"p";r=0;t=3600') in first.sent[0]["headers"]
    second = await Socket("a").meet(app)
    assert second.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    third = await Socket(extensions=["websocket.http.response"]).meet(app)
    assert third.kinds == ["http.response.start", "http.response.body"]
    assert third.sent[0]["status"] == 429
    assert dict(third.sent[0]["headers"])[b"retry-after"] == b"3600"


async def test_old_servers_accept_without_headers(limited):
    socket = await Socket(spec="2.0").meet(limited(Policy("p", "1/h"), app=echo))
    assert not socket.sent[0].get("headers")


async def test_a_message_too_many_closes_the_connection(limited):
    app = limited(Policy("m", "2/h", on="message"), app=echo)
    socket = await Socket("a", "b", "c", "d").meet(app)
    assert socket.kinds == ["accept", "send", "send", "close"]
    assert (socket.sent[-1]["code"], socket.sent[0].get("headers", [])) == (1008, [])
    assert socket.scope["state"] == {"heard": ["a", "b"], "code": 1008}
    other = await Socket("a", client=("203.0.113.8", 1)).meet(app)
    assert other.scope["state"] == {"heard": ["a"], "code": 1001}
    same = await Socket("a").meet(app)  # on another connection
    assert same.kinds == ["accept", "close"]


async def test_what_the_app_says_after_the_limit_goes_nowhere(limited):
    async def stubborn(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass
        # as an app that is in the midst of sending
        await app_send({"type": "websocket.send", "text": "still here"})
        await app_send({"type": "websocket.close", "code": 1000})

    app_send = None

    async def app(scope, receive, send):
        nonlocal app_send
        app_send = send
        await stubborn(scope, receive, send)

    limit = RateLimitMiddleware(app, policies=[Policy("m", "1/h", on="message")])
    socket = await Socket("a", "b").meet(limit)
    assert socket.kinds == ["accept", "close"]


async def test_nothing_reaches_the_app_after_the_limit_even_when_there_is_quota_again(clock):
    heard = []

    async def deaf(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(4):
            heard.append((await receive())["type"].removeprefix("websocket."))
            clock.advance(3600)

    limit = RateLimitMiddleware(deaf, policies=[Policy("m", "1/2h", on="message")], clock=clock)
    socket = Socket("a", "b", "c", "d")
    await limit(socket.scope, socket.receive, socket.send)
    assert heard == ["receive", "disconnect", "disconnect", "disconnect"]
    assert [message["text"] for message in socket.coming[:-1]] == ["c", "d"]  # not even taken


async def test_message_policies_leave_requests_alone(limited):
    app = limited(Policy("m", "1/h", on="message"))
    answers = [await ask(app, "/") for _ in range(3)]
    assert [(answer.status, answer["ratelimit"]) for answer in answers] == [(200, None)] * 3


# -- the limiter ---------------------------------------------------------------------------------------


async def test_outside_of_http(clock):
    limiter = Limiter(policies=[Policy("mails", "10/h", burst=3)], clock=clock)
    decisions = [await limiter.check("mails", "ann@example.org", cost=2) for _ in range(2)]
    assert [(each.allowed, each.remaining, each.retry_after, each.reset) for each in decisions] == [
        (True, 1, 0, 720),
        (False, 1, 360, 720),
    ]
    assert (await limiter.check(Policy("other", "1/s"), "ann")).allowed
    assert (await limiter.check("mails", "ann@example.org", cost=0)).remaining == 1
    with pytest.raises(ConfigurationError, match="policy"):
        await limiter.check("letters", "ann")
    for cost in (-1, 0.5, float("nan"), float("inf"), "1"):
        with pytest.raises(ConfigurationError, match="cost"):
            await limiter.check("mails", "ann@example.org", cost=cost)
    assert (await limiter.check("mails", "ann@example.org", cost=0)).remaining == 1


async def test_a_store_is_shared_by_whoever_has_it(clock):
    policy, store = Policy("p", "2/h"), MemoryStore(clock=clock)
    limiter = Limiter(store)
    app = RateLimitMiddleware(Hello(), store=limiter, policies=[policy])
    assert (await limiter.check(policy, ByClient()({"client": ("127.0.0.1", 1)}))).remaining == 1
    assert [await status_of(app) for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("policies", {"policies": []}),
        ("policies", {"policies": [Policy(f"p{number}", "1/s") for number in range(33)]}),
        ("policies", {"policies": [Policy("p", "1/s"), Policy("p", "2/s")]}),
        ("policies", {"policies": ["100/s"]}),
        ("store", {"store": "memcached://localhost"}),
        ("processes", {"processes": 0}),
        ("exempt", {"exempt": "/health"}),
        ("observers", {"observers": [None]}),
    ],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        RateLimitMiddleware(Hello(), **{"policies": [Policy("p", "1/s")], **options})
    assert caught.value.argument == argument
