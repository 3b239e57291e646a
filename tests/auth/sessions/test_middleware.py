"""What sessions promise, over memory and Redis alike."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from secrets import token_urlsafe
from typing import Any

import pytest

from ramkit.auth.sessions import (
    Cookie,
    MemorySessionStore,
    RedisSessionStore,
    SessionMiddleware,
    Sessions,
    SessionTooLarge,
    SessionUnavailable,
)
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope
from tests.auth.sessions.helpers import NAME, Answer, acting, ask


@pytest.fixture(params=["memory", "redis", "cluster"])
async def store(request: pytest.FixtureRequest, clock) -> AsyncIterator[Any]:
    if request.param == "memory":
        made: Any = MemorySessionStore(clock=clock)
    elif request.param == "redis":
        made = RedisSessionStore(request.getfixturevalue("redis_url"), deadline=0.9)
    else:
        made = RedisSessionStore(request.getfixturevalue("redis_cluster").url, deadline=0.9)
    yield made
    await made.aclose()


@pytest.fixture
def app(store) -> SessionMiddleware:
    return SessionMiddleware(acting, store=store)


def gated(app: Any, store: Any):
    """The app, whose requests with ``hold=`` wait after they were carried out until they may store."""
    began, go = asyncio.Event(), asyncio.Event()

    async def held(scope, receive, send):
        async def sending(message):
            if message["type"] == "http.response.start" and b"hold=" in scope["query_string"]:
                began.set()
                await go.wait()
            await send(message)

        await app(scope, receive, sending)

    return SessionMiddleware(held, store=store), began, go


# -- the cookie ------------------------------------------------------------------------------------


async def test_a_session_begins_when_something_is_stored(app):
    for query in ("", "touch="):
        assert (await ask(app, query)).cookies == []
    first = await ask(app, "a=1")
    assert len(first.id) == 43
    (line,) = first.cookies
    assert line == f"{NAME}={first.id}; Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Lax"
    read = await ask(app, "touch=", first.id)
    assert (read.session, read.cookies) == ({"a": "1"}, [])
    written = await ask(app, "b=2", first.id)
    assert (written.session, written.cookies) == ({"a": "1", "b": "2"}, [])
    assert (await ask(app, "touch=", first.id)).session == {"a": "1", "b": "2"}


async def test_other_cookies_stay(store):
    async def cooking(scope, receive, send):
        scope["session"]["a"] = 1
        headers = [(b"Set-Cookie", b"one=1"), (b"set-cookie", b"two=2"), (b"vary", b"Accept")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    answer = await ask(SessionMiddleware(cooking, store=store))
    assert answer.cookies[:2] == ["one=1", "two=2"]
    assert answer.cookies[2].startswith(NAME)
    assert answer.get("vary") == "Accept, Cookie"


async def test_what_is_personal_says_so(app):
    bare = await ask(app, "", token_urlsafe(32))
    assert (bare.get("vary"), bare.get("cache-control")) == (None, None)
    touched = await ask(app, "touch=")
    assert (touched.get("vary"), touched.get("cache-control")) == ("Cookie", "private, no-cache")


async def test_only_a_request_with_a_cookie_reads(store):
    reads = []
    read = store.read
    store.read = lambda key: (reads.append(key), read(key))[1]
    app = SessionMiddleware(acting, store=store)
    for cookies in ((), ("",), ("short",), ("x" * 44,), ("x" * 42 + "!",)):
        await ask(app, "touch=", *cookies)
    await ask(app, "touch=", headers=[(b"cookie", b"a=b; xx__Host-session=" + b"x" * 43)])
    assert reads == []
    await ask(app, "", "x" * 43)
    assert len(reads) == 1


# -- attacks ---------------------------------------------------------------------------------------


async def test_fixation(app):
    """The attacker's own session, planted in the victim's browser, does not become the victim's."""
    attackers = (await ask(app, "cart=1")).id
    login = await ask(app, "user=victim", attackers)
    assert login.id != attackers
    assert (await ask(app, "touch=", attackers)).session == {}
    assert (await ask(app, "touch=", login.id)).session == {"cart": "1", "user": "victim"}


async def test_adoption(app):
    """An id that the client has made up is not taken over."""
    chosen = token_urlsafe(32)
    answer = await ask(app, "a=1", chosen)
    assert answer.id != chosen
    assert (await ask(app, "touch=", chosen)).session == {}


@pytest.mark.parametrize(
    "change", ["user=b", "-user=", "regenerate=", "clear=&user=a", "clear=&other=1", "user=a&regenerate="]
)
async def test_the_old_id_is_dead_at_once(app, change):
    old = (await ask(app, "user=a&x=1")).id
    answer = await ask(app, change, old)
    assert answer.id != old
    assert (await ask(app, "touch=", answer.id)).session == answer.session
    assert (await ask(app, "touch=", old)).session == {}


async def test_the_same_principal_keeps_its_id(app):
    old = (await ask(app, "user=a")).id
    assert (await ask(app, "user=a&x=1", old)).cookies == []


async def test_a_principal_by_function(store):
    def principal(scope):
        return RequestContext.of(scope).principal

    async def knowing(scope, receive, send):
        RequestContext.of(scope).principal = scope["path"][1:] or None
        await acting(scope, receive, send)

    app = SessionMiddleware(knowing, store=store, subject=principal)
    first = (await ask(app, "a=1", path="/ada")).id
    assert (await ask(app, "touch=", first, path="/ada")).cookies == []
    other = await ask(app, "touch=", first, path="/eve")
    assert other.id != first
    sessions = Sessions(store)
    assert [len(await sessions.of(each)) for each in ("ada", "eve")] == [0, 1]


async def test_logout_ends_the_session_and_its_cookie(app):
    old = (await ask(app, "user=a&x=1")).id
    answer = await ask(app, "clear=", old)
    (line,) = answer.cookies
    assert line == (
        f"{NAME}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; Secure; SameSite=Lax"
    )
    assert (await ask(app, "touch=", old)).session == {}
    emptied = (await ask(app, "a=1")).id
    assert (await ask(app, "-a=", emptied)).cookies[0].startswith(f"{NAME}=; Max-Age=0")
    assert (await ask(app, "touch=", emptied)).session == {}


@pytest.mark.parametrize("ending", ["clear=", "regenerate=", "user=b"])
@pytest.mark.parametrize("late", ["x=2", "regenerate=", "-x="])
async def test_resurrecting(store, ending, late):
    """A request in flight while its session ends does not bring it back, under no id."""
    app, began, go = gated(acting, store)
    old = (await ask(app, "user=a&x=1")).id
    in_flight = asyncio.ensure_future(ask(app, f"{late}&hold=", old))
    await began.wait()
    await ask(app, ending, old)
    go.set()
    answer = await in_flight
    assert answer.cookies == []
    assert (await ask(app, "touch=", old)).session == {}
    assert len(await Sessions(store).of("a")) == (1 if ending == "regenerate=" else 0)


async def test_a_login_in_flight_counts_without_what_ended(store):
    app, began, go = gated(acting, store)
    old = (await ask(app, "cart=1")).id
    login = asyncio.ensure_future(ask(app, "user=a&hold=", old))
    await began.wait()
    await ask(app, "clear=", old)
    go.set()
    assert (await ask(app, "touch=", (await login).id)).session == {"user": "a", "hold": ""}


async def test_lost_update(store):
    """Two requests in flight that change different keys: both changes stay."""
    app, began, go = gated(acting, store)
    id_ = (await ask(app, "a=1&b=1&c=1")).id
    first = asyncio.ensure_future(ask(app, "a=2&-c=&hold=", id_))
    await began.wait()
    await ask(app, "b=2&d=2", id_)
    go.set()
    await first
    assert (await ask(app, "touch=", id_)).session == {"a": "2", "b": "2", "d": "2", "hold": ""}


async def test_regeneration_takes_along_what_was_stored_meanwhile(store):
    app, began, go = gated(acting, store)
    old = (await ask(app, "a=1")).id
    login = asyncio.ensure_future(ask(app, "user=a&hold=", old))
    await began.wait()
    await ask(app, "b=2", old)
    go.set()
    new = (await login).id
    assert (await ask(app, "touch=", new)).session == {"a": "1", "b": "2", "user": "a", "hold": ""}


@pytest.mark.parametrize("apart", [True, False])
async def test_cookie_tossing(app, apart):
    """A second cookie of the name, from a sibling domain: neither counts, in whatever order."""
    mine, attackers = (await ask(app, "user=me")).id, (await ask(app, "user=attacker")).id
    for pair in ((mine, attackers), (attackers, mine)):
        if apart:
            answer = await ask(app, "card=1234", *pair)
        else:
            answer = await ask(app, "card=1234", f"{pair[0]}; x=y;{NAME}={pair[1]}")
        assert answer.session == {"card": "1234"}
        assert answer.id not in pair
    for id_, user in ((mine, "me"), (attackers, "attacker")):
        assert (await ask(app, "touch=", id_)).session == {"user": user}
    assert (await ask(app, "touch=", mine, mine)).session == {"user": "me"}


# -- expiry ----------------------------------------------------------------------------------------


async def test_reads_extend_at_most_once_a_minute(clock):
    store = MemorySessionStore(clock=clock)
    changes = []
    change = store.change

    async def counted(*args):
        changes.append(args)
        return await change(*args)

    store.change = counted  # type: ignore[method-assign]  # counts
    app = SessionMiddleware(acting, store=store, ttl=600, absolute=3000)
    id_ = (await ask(app, "a=1")).id
    for _ in range(50):
        clock.advance(10)
        answer = await ask(app, "touch=", id_)
        assert (answer.session, answer.cookies) == ({"a": "1"}, [])
    assert len(changes) == 8
    clock.advance(601)
    assert (await ask(app, "touch=", id_)).session == {}


async def test_nothing_lives_longer_than_absolute(clock):
    app = SessionMiddleware(acting, store=MemorySessionStore(clock=clock), ttl=600, absolute=3000)
    id_ = (await ask(app, "a=1")).id
    for number in range(10):
        assert (await ask(app, f"a={number}", id_)).cookies == []
        clock.advance(299)
    clock.advance(20)
    assert (await ask(app, "touch=", id_)).session == {}


# -- size, and values --------------------------------------------------------------------------------


async def test_oversized_values(store):
    app = SessionMiddleware(acting, store=store, max_bytes=1000)
    sent: list[Any] = []
    with pytest.raises(SessionTooLarge, match=r"takes 1\d\d\d bytes, of 1000 that are allowed") as raised:
        await drive(app, http_scope(query=b"a=" + b"x" * 1200), sent=sent)
    assert raised.value.bound == 1000
    assert Answer(sent).status == 500
    assert Answer(sent).get("content-type") == "application/problem+json"
    id_ = (await ask(app, "a=1")).id
    for query in ("b=" + "x" * 1200, "user=" + "x" * 1200):
        scope = http_scope(query=query.encode(), headers=[(b"cookie", f"{NAME}={id_}".encode())])
        with pytest.raises(SessionTooLarge):
            await drive(app, scope, sent=[])
        assert (await ask(app, "touch=", id_)).session == {"a": "1"}


async def test_more_keys_than_are_merged_in_a_moment(store):
    async def many(scope, receive, send):
        scope["session"].update({f"k{number}": number for number in range(int(scope["query_string"]))})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    app = SessionMiddleware(many, store=store)
    assert Answer(await drive(app, http_scope(query=b"1000"))).status == 200
    with pytest.raises(SessionTooLarge, match=r"takes 1001 keys, of 1000 that are allowed"):
        await drive(app, http_scope(query=b"1001"), sent=[])


async def test_values_of_many_kinds_and_deep_changes(store):
    values: list[Any] = []

    async def deep(scope, receive, send):
        session = scope["session"]
        if not session:
            session.update(
                {
                    "cart": [{"n": 1}],
                    "big": 2**62,
                    "none": None,
                    "bytes": b"\x00\xff",
                    "π": {"k": [1.5, True]},
                }
            )
        else:
            values.append(copy.deepcopy(session.copy()))
            session["cart"][0]["n"] += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    app = SessionMiddleware(deep, store=store)
    id_ = (await ask(app)).id
    for _ in range(3):
        assert (await ask(app, "", id_)).cookies == []
    assert [each["cart"][0]["n"] for each in values] == [1, 2, 3]
    last = values[-1]
    assert {name: last[name] for name in ("big", "none", "bytes", "π")} == {
        "big": 2**62, "none": None, "bytes": b"\x00\xff", "π": {"k": [1.5, True]},
    }  # fmt: skip


async def test_what_cannot_be_stored_is_named(store):
    async def odd(scope, receive, send):
        scope["session"]["thing"] = object()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    sent: list[Any] = []
    with pytest.raises(TypeError, match=r"session\['thing'\]"):
        await drive(SessionMiddleware(odd, store=store), http_scope(), sent=sent)
    assert Answer(sent).status == 500


# -- when things are stored ------------------------------------------------------------------------


async def test_the_response_waits_until_the_session_is_stored(store):
    order = []
    create = store.create

    async def creating(*args, **more):
        outcome = await create(*args, **more)
        order.append("stored")
        return outcome

    store.create = creating
    app = SessionMiddleware(acting, store=store)

    async def send(message):
        order.append(message["type"])

    async def receive():
        return {"type": "http.request"}

    await app(http_scope(query=b"a=1"), receive, send)
    assert order == ["stored", "http.response.start", "http.response.body"]


async def test_late_changes(store, caplog):
    """After the start: other keys are still stored; what needs a cookie is an error in the log."""

    async def streaming(scope, receive, send):
        session = scope["session"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        session[scope["path"][1:]] = "late"
        await send({"type": "http.response.body", "body": b"2"})

    app, late = SessionMiddleware(acting, store=store), SessionMiddleware(streaming, store=store)
    assert (await ask(late, path="/x")).cookies == []
    assert "after its response had started" in caplog.text
    id_ = (await ask(app, "a=1")).id
    caplog.clear()
    assert (await ask(late, "", id_, path="/x")).cookies == []
    assert (await ask(app, "touch=", id_)).session == {"a": "1", "x": "late"}
    assert not caplog.records
    await ask(late, "", id_, path="/user")
    assert "it was not stored" in caplog.text
    assert (await ask(app, "touch=", id_)).session == {"a": "1", "x": "late"}


async def test_a_failed_request_stores_nothing(store):
    async def failing(scope, receive, send):
        scope["session"]["b"] = 1
        raise RuntimeError("oops")

    id_ = (await ask(SessionMiddleware(acting, store=store), "a=1")).id
    with pytest.raises(RuntimeError, match="oops"):
        await ask(SessionMiddleware(failing, store=store), "", id_)
    assert (await ask(SessionMiddleware(acting, store=store), "touch=", id_)).session == {"a": "1"}


async def test_websocket(store):
    async def talking(scope, receive, send):
        session = scope["session"]
        await receive()
        session["talks"] = session.get("talks", 0) + 1
        await send({"type": "websocket.accept"})
        session["said"] = "hello"
        await send({"type": "websocket.close"})

    app = SessionMiddleware(talking, store=store)
    scope = {**http_scope(), "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.3"}}
    accept, _ = await drive(app, dict(scope))
    ((name, value),) = accept["headers"]
    assert name == b"set-cookie"
    cookie = value.partition(b";")[0]
    accept, _ = await drive(app, {**scope, "headers": [(b"cookie", cookie)]})
    assert not accept.get("headers")
    id_ = cookie.partition(b"=")[2].decode()
    read = await ask(SessionMiddleware(acting, store=store), "touch=", id_)
    assert read.session == {"talks": 2, "said": "hello"}


# -- listing and revoking --------------------------------------------------------------------------


async def test_sessions_of_a_subject_are_listed_and_revoked(store):
    sessions = Sessions(store)
    app = SessionMiddleware(acting, store=sessions)
    ids = [(await ask(app, "user=ada")).id for _ in range(3)]
    other = (await ask(app, "user=grace")).id
    found = await sessions.of("ada")
    assert len(found) == len({each.handle for each in found}) == 3
    assert all(each.created <= each.seen < each.ends for each in found)
    assert not any(id_ in repr(found) for id_ in ids)
    assert await sessions.revoke(found[0].handle)
    assert not await sessions.revoke(found[0].handle)
    assert not await sessions.revoke("nonsense")
    alive = [(await ask(app, "touch=", id_)).session for id_ in ids]
    assert sorted(map(len, alive)) == [0, 1, 1]
    assert await sessions.revoke_all("ada", keep=found[1].handle) == 1
    assert [each.handle for each in await sessions.of("ada")] == [found[1].handle]
    assert await sessions.revoke_all("ada") == 1
    assert await sessions.of("ada") == []
    assert [(await ask(app, "touch=", id_)).session for id_ in ids] == [{}] * 3
    assert (await ask(app, "touch=", other)).session == {"user": "grace"}
    assert await sessions.of(7) == []


async def test_a_session_knows_its_handle(store):
    handles = []

    async def knowing(scope, receive, send):
        await acting(scope, receive, send)
        handles.append(scope["session"].handle)

    app = SessionMiddleware(knowing, store=store)
    id_ = (await ask(app, "user=ada")).id
    await ask(app, "touch=", id_)
    (info,) = await Sessions(store).of("ada")
    assert handles == [info.handle] * 2


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"store": "mysql://"}, "store"),
        ({"store": object()}, "store"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": "1h"}, "ttl"),
        ({"ttl": 10, "absolute": 5}, "absolute"),
        ({"max_bytes": 10}, "max_bytes"),
        ({"subject": 7}, "subject"),
        ({"cookie": "a b"}, "name"),
        ({"cookie": "__Host-x", "insecure_over_plain_http": True}, "insecure_over_plain_http"),
        ({"cookie": Cookie("x"), "insecure_over_plain_http": True}, "insecure_over_plain_http"),
        ({"observers": [1]}, "observers"),
    ],
)
def test_mistakes_are_named(arguments, named):
    with pytest.raises(ConfigurationError, match=f"^{named}:"):
        SessionMiddleware(acting, **arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"path": "x"}, "path"),
        ({"path": "/; Domain=evil"}, "path"),
        ({"domain": "a;b"}, "domain"),
        ({"same_site": "never"}, "same_site"),
        ({"domain": "example.com"}, "name"),
        ({"path": "/app"}, "name"),
        ({"name": "s", "same_site": "none", "insecure_over_plain_http": True}, "same_site"),
    ],
)
def test_mistakes_in_a_cookie_are_named(arguments, named):
    with pytest.raises(ConfigurationError, match=f"^{named}:"):
        Cookie(**arguments)


async def test_plain_http_for_development(asgi_client):
    app = SessionMiddleware(acting, insecure_over_plain_http=True)
    async with asgi_client(app) as client:
        answer = await client.get("/?a=1")
        assert "Secure" not in answer.headers["set-cookie"]
        assert (await client.get("/?touch=")).json() == {"a": "1"}


# -- a Redis that hangs ------------------------------------------------------------------------------


async def test_a_redis_that_hangs_concerns_who_touches_a_session(redis_url, redis_server):
    store = RedisSessionStore(redis_url, deadline=0.3)
    app = SessionMiddleware(acting, store=store)
    id_ = (await ask(app, "a=1")).id
    redis_server.pause()
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        answers = await asyncio.gather(
            ask(app, "", id_), ask(app), ask(app, "touch=", id_), ask(app, "b=1", id_), ask(app, "a=1"),
            ask(app, "clear=", id_), ask(app, "touch="),
        )  # fmt: skip
    finally:
        redis_server.resume()
    # the deadline of the read, then that of the write of a new session: no more, on a busy machine either
    assert loop.time() - began < 5
    assert [each.status for each in answers] == [200, 200, 503, 503, 503, 503, 200]
    for each in answers:
        if each.status == 503:
            assert each.get("retry-after") == "1"
            assert json.loads(each.body)["status"] == 503
            assert each.cookies == []
    await store.aclose()


async def test_a_failed_read_is_raised_by_each_touch(clock):
    store = MemorySessionStore(clock=clock)

    async def read(key):
        raise SessionUnavailable("away")

    store.read = read  # type: ignore[method-assign]  # as a server that is away
    touches = [
        lambda s: s["a"], lambda s: s.get("a"), lambda s: "a" in s, len, bool, list, reversed,
        lambda s: s.keys(), lambda s: s.values(), lambda s: s.items(), lambda s: s.pop("a", None),
        lambda s: s.popitem(), lambda s: s.setdefault("a"), lambda s: s.update(a=1), lambda s: s.clear(),
        lambda s: s.copy(), lambda s: s.regenerate(), lambda s: s == {}, lambda s: s | {}, lambda s: {} | s,
        lambda s: s.__setitem__("a", 1), lambda s: s.__delitem__("a"), dict, lambda s: {**s},
        lambda s: s.mark_accessed(), lambda s: s.__ior__({"a": 1}), sorted, lambda s: s != {},
    ]  # fmt: skip
    seen = []

    async def touching(scope, receive, send):
        repr(scope["session"])
        assert not scope["session"].modified
        for touch in touches:
            with pytest.raises(SessionUnavailable):
                touch(scope["session"])
            seen.append(touch)
        await acting({**scope, "query_string": b""}, receive, send)

    answer = await ask(SessionMiddleware(touching, store=store), "", "x" * 43)
    assert answer.status == 200
    assert len(seen) == len(touches)
