"""What the access log says of a request."""

import asyncio
import contextlib

import pytest
from starlette.applications import Starlette
from starlette.authentication import SimpleUser
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.logs import AccessLogMiddleware, LogLinesDropped, Sink
from ramkit.testing.client import ASGIClient, drive, http_scope
from ramkit.testing.clock import ManualClock
from tests.logs.reading import Kept, answering, flushed, logged

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROXIES = TrustedProxies(["10.0.0.0/8"])


def said(messages, name):
    return [value for key, value in messages[0]["headers"] if key == name]


async def test_all_of_a_plain_request():
    clock = ManualClock()

    async def app(scope, receive, send):
        scope["ramkit.route"] = "/cities/{id}"
        clock.advance(0.25)
        while (await receive())["more_body"]:
            pass
        headers = [(b"cache-status", b"ramkit; hit"), (b"X-Cache", b"HIT")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        clock.advance(0.5)
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b"y" * 234})
        RequestContext.of(scope).waited("pool", 0.002)
        RequestContext.of(scope).waited("pool", 0.001)
        RequestContext.of(scope).principal = SimpleUser("anna")

    headers = [(b"user-agent", b"probe/1"), (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
    scope = http_scope(
        "POST", "/cities/7", query=b"a=1&token=s3cret", headers=headers, client=("192.0.2.7", 4)
    )
    body = [{"type": "http.request", "body": b"abc", "more_body": each} for each in (True, False)]
    line = await logged(app, scope, body, clock=clock)
    request_id = line.pop("request_id")
    assert len(request_id) == 32
    assert line == {
        "time": "2026-01-01T00:00:00.750Z",
        "type": "http",
        "trace_id": TRACE,
        "span_id": SPAN,
        "client": "192.0.2.7",
        "method": "POST",
        "path": "/cities/7",
        "query": "a=1&token=[redacted]",
        "route": "/cities/{id}",
        "status": 201,
        "bytes_received": 6,
        "bytes_sent": 1234,
        "duration_ms": 750.0,
        "first_byte_ms": 250.0,
        "outcome": "complete",
        "http_version": "1.1",
        "user_agent": "probe/1",
        "waits_ms": {"pool": 3.0},
        "cache": "ramkit; hit",
        "principal": "anna",
    }


async def test_dates_by_option():
    line = await logged(answering(), dates="YYYY-MM-DD HH:mm:ss Z", clock=ManualClock(time=1767225599.999))
    assert line["time"] == "2025-12-31 23:59:59 Z"
    line = await logged(answering(), clock=ManualClock(time=1767225599.999))
    assert line["time"] == "2025-12-31T23:59:59.999Z"


async def test_the_route_is_the_template():
    async def hello(request):
        return PlainTextResponse("x")

    kept = Kept()
    app = Starlette(routes=[Mount("/a", routes=[Route("/users/{id}", hello)])])
    async with ASGIClient(AccessLogMiddleware(app, sink=Sink(kept))) as client:
        await client.get("/a/users/5")
        await client.get("/nothing")
    assert [(line["route"], line["path"]) for line in kept.read()] == [
        ("/a/users/{id}", "/a/users/5"),
        ("unmatched", "/nothing"),
    ]
    line = await logged(answering(), route=lambda scope: "/said")
    assert line["route"] == "/said"
    line = await logged(answering(), route=lambda scope: None)
    assert line["route"] == "unmatched"


async def test_of_an_answer_to_head_no_body_is_sent():
    assert (await logged(answering(b"xx"), http_scope("HEAD")))["bytes_sent"] == 0


# -- how requests end --------------------------------------------------------------------------------


async def test_a_handler_that_raises_is_a_500_and_raises_on():
    async def app(scope, receive, send):
        raise LookupError("secret")

    kept = Kept()
    sink = Sink(kept)
    with pytest.raises(LookupError):
        await drive(AccessLogMiddleware(app, sink=sink), http_scope())
    flushed(sink)
    (line,) = kept.read()
    assert (line["status"], line["outcome"], line["error"]) == (500, "failed", "LookupError")
    assert "first_byte_ms" not in line
    assert b"secret" not in kept.lines[0]


async def test_a_response_that_breaks_off_keeps_its_status():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError

    kept = Kept()
    sink = Sink(kept)
    with pytest.raises(LookupError):
        await drive(AccessLogMiddleware(app, sink=sink), http_scope())
    flushed(sink)
    (line,) = kept.read()
    assert (line["status"], line["outcome"], line["bytes_sent"]) == (200, "failed", 4)


async def test_an_app_that_ends_too_early():
    async def app(scope, receive, send):
        pass

    line = await logged(app)
    assert (line["status"], line["outcome"]) == (500, "incomplete")


async def test_a_cancelled_request():
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    kept = Kept()
    sink = Sink(kept)
    task = asyncio.create_task(drive(AccessLogMiddleware(app, sink=sink), http_scope()))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    flushed(sink)
    (line,) = kept.read()
    assert (line["status"], line["outcome"]) == (499, "cancelled")


async def test_a_client_that_leaves():
    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    line = await logged(app, messages=[{"type": "http.request"}, {"type": "http.disconnect"}])
    assert (line["status"], line["outcome"]) == (499, "disconnected")


async def test_a_client_that_leaves_while_the_app_goes_on():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"to nobody"})

    line = await logged(app, messages=[{"type": "http.request"}, {"type": "http.disconnect"}])
    assert (line["status"], line["outcome"]) == (200, "disconnected")


async def test_a_client_that_is_gone_when_something_is_sent():
    async def send(message):
        raise OSError("gone")

    async def receive():
        return {"type": "http.request"}

    kept = Kept()
    sink = Sink(kept)
    with pytest.raises(OSError, match="gone"):
        await AccessLogMiddleware(answering(b"x"), sink=sink)(http_scope(), receive, send)
    flushed(sink)
    (line,) = kept.read()
    assert (line["status"], line["outcome"], line["bytes_sent"]) == (499, "disconnected", 0)


async def test_being_told_of_the_end_after_the_end_is_no_leaving():
    async def app(scope, receive, send):
        await answering(b"x")(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"

    assert (await logged(app))["outcome"] == "complete"


@pytest.mark.parametrize("extension", ["path", "count"])
async def test_files_that_the_server_reads_count(extension, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 77)
    more = {"path": str(file)} if extension == "path" else {"file": 3, "count": 77}

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        kind = "pathsend" if extension == "path" else "zerocopysend"
        await send({"type": f"http.response.{kind}", **more})

    line = await logged(app)
    assert (line["bytes_sent"], line["outcome"]) == (77, "complete")


async def test_what_cannot_be_logged_takes_no_request_with_it(caplog):
    kept = Kept()
    app = AccessLogMiddleware(answering(), sink=Sink(kept))
    assert (await drive(app, http_scope(http_version=object())))[0]["status"] == 200
    assert "could not be logged" in caplog.text
    assert kept.lines == []


def broken(scope):
    raise LookupError


@pytest.mark.parametrize("route", [broken, lambda scope: 5, lambda scope: [], lambda scope: ""])
async def test_a_route_function_that_fails_takes_no_line_with_it(route, caplog):
    line = await logged(Starlette(), route=route)
    assert line["route"] in ("unmatched", "")


async def test_what_a_route_function_says_can_be_shown():
    line = await logged(Starlette(), route=lambda scope: "\ud800\u2028" + "x" * 5000)
    assert line["route"].startswith("\\ud800\\u2028xxx")
    assert len(line["route"]) < 1100


async def test_a_file_that_is_gone_when_it_was_sent(tmp_path):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "gone")})

    line = await logged(app, http_scope(extensions={"http.response.pathsend": {}}))
    assert (line["status"], line["outcome"], line["bytes_sent"]) == (200, "complete", 0)


async def test_a_principal_whose_name_is_not_to_be_had():
    class Gone:
        @property
        def identity(self):
            raise LookupError

    for user in (object(), Gone()):
        line = await logged(answering(), http_scope(user=user))
        assert line["status"] == 200
        assert "principal" not in line


# -- WebSockets --------------------------------------------------------------------------------------


def websocket():
    scope = http_scope(type="websocket", scheme="ws", subprotocols=[])
    del scope["method"]
    return scope


async def test_a_websocket():
    clock = ManualClock()

    async def app(scope, receive, send):
        scope["ramkit.route"] = "/ws"
        await receive()
        await send({"type": "websocket.accept"})
        clock.advance(5)
        await receive()
        await receive()
        await send({"type": "websocket.send", "text": "grün"})
        await send({"type": "websocket.send", "bytes": b"123"})
        await send({"type": "websocket.close", "code": 3001})

    messages = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "ä"},
        {"type": "websocket.receive", "bytes": b"12", "text": None},
    ]
    line = await logged(app, websocket(), messages, clock=clock)
    assert line["type"] == "websocket"
    assert (line["status"], line["close_code"], line["outcome"]) == (101, 3001, "complete")
    assert (line["bytes_sent"], line["bytes_received"], line["duration_ms"]) == (8, 4, 5000.0)
    assert line["route"] == "/ws"
    assert line["method"] is None


@pytest.mark.parametrize(("code", "outcome"), [(1000, "complete"), (1006, "disconnected")])
async def test_a_websocket_that_the_client_ends(code, outcome):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    messages = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": code}]
    line = await logged(app, websocket(), messages)
    assert (line["status"], line["close_code"], line["outcome"]) == (101, code, outcome)


@pytest.mark.parametrize("closes", [False, True])
async def test_a_websocket_whose_client_does_not_wait_for_the_handshake(closes):
    async def app(scope, receive, send):
        await receive()
        await receive()
        if closes:
            await send({"type": "websocket.close"})

    messages = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]
    line = await logged(app, websocket(), messages)
    assert (line["status"], line["outcome"], line.get("close_code")) == (499, "disconnected", None)


async def test_websockets_that_are_refused():
    async def closes(scope, receive, send):
        await receive()
        await send({"type": "websocket.close"})

    async def answers(scope, receive, send):
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    line = await logged(closes, websocket())
    assert (line["status"], line["outcome"]) == (403, "complete")
    kept = Kept()
    sink = Sink(kept)
    await drive(AccessLogMiddleware(answers, sink=sink), websocket(), [{"type": "websocket.connect"}])
    flushed(sink)
    (line,) = kept.read()
    assert (line["status"], line["outcome"], line["bytes_sent"]) == (401, "complete", 2)


# -- ids ---------------------------------------------------------------------------------------------


async def ids(headers, peer, proxies=PROXIES):
    """The line, and what was answered."""
    kept = Kept()
    sink = Sink(kept)
    app = AccessLogMiddleware(answering(), sink=sink, trusted_proxies=proxies)
    messages = await drive(app, http_scope(headers=headers, client=(peer, 1)))
    flushed(sink)
    (line,) = kept.read()
    assert said(messages, b"x-request-id") == [line["request_id"].encode()]
    return line


async def test_a_trusted_proxys_id_is_taken_and_who_it_speaks_for():
    headers = [(b"x-request-id", b"abc-1.2:3"), (b"x-forwarded-for", b"6.6.6.6, 192.0.2.1")]
    line = await ids(headers, "10.0.0.1")
    assert (line["request_id"], line["client"]) == ("abc-1.2:3", "192.0.2.1")


async def test_nobody_elses_id_is_taken():
    headers = [(b"x-request-id", b"abc"), (b"x-forwarded-for", b"6.6.6.6")]
    for peer, proxies in (("192.0.2.9", PROXIES), ("10.0.0.1", None)):
        line = await ids(headers, peer, proxies)
        assert line["request_id"] != "abc"
        assert line["client"] == peer


@pytest.mark.parametrize(
    "given",
    [[b""], [b"a b"], [b"x" * 129], [b'a"b'], [b"a\x1bb"], [b"\xc3\xa4"], [b"one", b"two"], [b"a\n"]],
    ids=repr,
)
async def test_ids_that_no_proxy_may_give(given):
    line = await ids([(b"x-request-id", each) for each in given], "10.0.0.1")
    assert len(line["request_id"]) == 32


async def test_made_ids_differ_and_begin_a_trace():
    lines = [await ids([], "10.0.0.1") for _ in range(100)]
    assert len({line["request_id"] for line in lines}) == 100
    assert {(len(line["trace_id"]), len(line["span_id"])) for line in lines} == {(32, 16)}


async def test_the_apps_own_header_of_that_name_gives_way():
    kept = Kept()
    sink = Sink(kept)
    app = AccessLogMiddleware(answering(headers=[(b"X-Request-ID", b"its own")]), sink=sink)
    messages = await drive(app, http_scope())
    flushed(sink)
    assert said(messages, b"x-request-id") == [kept.read()[0]["request_id"].encode()]


async def test_a_handler_finds_its_ids():
    seen = {}

    async def app(scope, receive, send):
        context = RequestContext.current()
        assert context is RequestContext.of(scope)
        seen.update(request_id=context.request_id, trace_id=context.trace_id, span_id=context.span_id)
        await answering()(scope, receive, send)

    line = await logged(app)
    assert {name: line[name] for name in seen} == seen
    assert RequestContext.current() is None


async def test_one_within_the_other_agree():
    kept, inner = Kept(), Kept()
    sinks = [Sink(kept), Sink(inner)]
    app = AccessLogMiddleware(AccessLogMiddleware(answering(), sink=sinks[1]), sink=sinks[0])
    messages = await drive(app, http_scope())
    for sink in sinks:
        flushed(sink)
    (request_id,) = said(messages, b"x-request-id")
    assert [line["request_id"] for line in kept.read() + inner.read()] == [request_id.decode()] * 2


# -- the rest ----------------------------------------------------------------------------------------


async def test_two_apps_do_not_meet():
    keeps = [Kept(), Kept()]
    apps = [AccessLogMiddleware(Starlette(), sink=Sink(kept)) for kept in keeps]
    for number, app in enumerate(apps):
        async with ASGIClient(app) as client:
            await client.get(f"/{number}")
    assert [[line["path"] for line in kept.read()] for kept in keeps] == [["/0"], ["/1"]]


async def test_lifespan_ends_with_all_lines_written():
    kept = Kept()
    app = AccessLogMiddleware(Starlette(), sink=Sink(kept))
    for _ in range(2):  # it starts again
        async with ASGIClient(app) as client:
            for _ in range(50):
                await client.get("/")
    assert len(kept.lines) == 100
    assert kept.closed == 2


async def test_a_sink_made_here_tells_the_observers(tmp_path):
    seen = []
    app = AccessLogMiddleware(answering(), sink=f"file://{tmp_path}/log", observers=[seen.append])
    app.sink.put(b"x" * 10_000_000)
    assert seen == [LogLinesDropped(f"file://{tmp_path}/log", 1)]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("route", {"route": "x"}),
        ("dates", {"dates": "iso"}),
        ("redact", {"redact": "token"}),
        ("request_headers", {"request_headers": "referer"}),
        ("response_headers", {"response_headers": "server"}),
        ("observers", {"sink": Sink(Kept()), "observers": [print]}),
        ("sink", {"sink": "stdin"}),
    ],
)
def test_mistakes(argument, options):
    with pytest.raises(ConfigurationError) as raised:
        AccessLogMiddleware(answering(), **options)
    assert raised.value.argument == argument
