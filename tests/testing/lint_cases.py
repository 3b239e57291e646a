"""What the lint must object to and what it must let pass, as data."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

START: Message = {"type": "http.response.start", "status": 200}
BODY: Message = {"type": "http.response.body", "body": b"ok"}
REQUEST: Message = {"type": "http.request"}
GONE: Message = {"type": "http.disconnect"}
CONNECT: Message = {"type": "websocket.connect"}
ACCEPT: Message = {"type": "websocket.accept"}
WS_GONE: Message = {"type": "websocket.disconnect", "code": 1000}
TEXT: Message = {"type": "websocket.send", "text": "hi"}
FRAME: Message = {"type": "websocket.receive", "text": "hi"}
CLOSE: Message = {"type": "websocket.close"}
DENY: Message = {"type": "websocket.http.response.start", "status": 401}
UP: Message = {"type": "lifespan.startup"}
DOWN: Message = {"type": "lifespan.shutdown"}
IS_UP: Message = {"type": "lifespan.startup.complete"}
IS_DOWN: Message = {"type": "lifespan.shutdown.complete"}
RECEIVE = None  # in a script: the app receives


def http(**changes: Any) -> Scope:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"here")],
        **changes,
    }
    return {key: value for key, value in scope.items() if value is not ...}


def websocket(**changes: Any) -> Scope:
    return http(**{"type": "websocket", "method": ..., "subprotocols": ["chat"], **changes})


def lifespan(**changes: Any) -> Scope:
    return {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, **changes}


def offering(*names: str) -> dict[str, dict[str, Any]]:
    return {name: {} for name in names}


def script(*steps: Any) -> ASGIApp:
    """An app that sends the messages, receives where there is None, and raises exceptions."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for step in steps:
            if step is RECEIVE:
                await receive()
            elif isinstance(step, BaseException):
                raise step
            else:
                await send(step)

    return app


def start(*headers: Any, **more: Any) -> Message:
    return {**START, "headers": list(headers), **more}


def body(data: Any = b"", **more: Any) -> Message:
    return {"type": "http.response.body", "body": data, **more}


def trailers(**more: Any) -> Message:
    return {"type": "http.response.trailers", **more}


PATHSEND: Message = {"type": "http.response.pathsend", "path": "/etc/hostname"}
PUSH: Message = {"type": "http.response.push", "path": "/"}
HINT: Message = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]}
TRAILERS = http(extensions=offering("http.response.trailers"))
EVERYTHING = (
    "http.response.push", "http.response.zerocopysend", "http.response.pathsend", "http.response.early_hint",
    "http.response.trailers", "http.response.debug", "http.response.informational",
)  # fmt: skip
ALL = http(extensions=offering(*EVERYTHING))
DENIALS = websocket(extensions=offering("websocket.http.response"))
OLD = websocket(asgi={"version": "3.0"})

APP_OFFENCES: list[tuple[str, str, Scope, list[Any], list[Any]]] = [
    ("message", "Events", http(), ["nonsense"], []),
    ("message", "Events", http(), [{"status": 200}], []),
    ("message-type", "Extensions", http(), [{"type": "http.response.invented"}], []),
    ("message-type", "WebSocket", websocket(), [{"type": "http.response.start", "status": 200}], []),
    ("message-type", "Lifespan", lifespan(), [RECEIVE, {"type": "lifespan.ready"}], [UP]),
    ("start-first", "Response Start", http(), [BODY], []),
    ("start-once", "Response Start", http(), [START, START], []),
    ("status", "Response Start", http(), [{"type": "http.response.start"}], []),
    ("status", "Response Start", http(), [{**START, "status": "200"}], []),
    ("status", "Response Start", http(), [{**START, "status": True}], []),
    ("status", "RFC 9110", http(), [{**START, "status": 103}], []),
    ("status", "RFC 9110", http(), [{**START, "status": 600}], []),
    ("headers", "Response Start", http(), [{**START, "headers": None}], []),
    ("headers", "Response Start", http(), [{**START, "headers": {b"a": b"b"}}], []),
    ("headers", "Response Start", http(), [{**START, "headers": b"ab"}], []),
    ("header-pair", "Response Start", http(), [start((b"a", b"b", b"c"))], []),
    ("header-pair", "Response Start", http(), [start(7)], []),
    ("header-type", "Response Start", http(), [start(("a", "b"))], []),
    ("header-type", "Response Start", http(), [start(b"ab")], []),
    ("header-type", "Response Start", http(), [start((b"a", bytearray(b"b")))], []),
    ("header-case", "Response Start", http(), [start((b"X-Upper", b"1"))], []),
    ("header-pseudo", "Response Start", http(), [start((b":status", b"200"))], []),
    ("header-name", "RFC 9110 §5.1", http(), [start((b"a b", b"1"))], []),
    ("header-name", "RFC 9110 §5.1", http(), [start((b"", b"1"))], []),
    ("header-name", "RFC 9110 §5.1", http(), [start((b"a\n", b"1"))], []),
    ("header-value", "RFC 9110 §5.5", http(), [start((b"a", b"1\r\nset-cookie: x"))], []),
    ("header-value", "RFC 9110 §5.5", http(), [start((b"a", b"\x00"))], []),
    ("content-length-once", "RFC 9110", http(),
     [start((b"content-length", b"2"), (b"content-length", b"2"))], []),
    ("content-length", "RFC 9110", http(), [start((b"content-length", b"two"))], []),
    ("content-length", "RFC 9110", http(), [start((b"content-length", b"-1"))], []),
    ("content-length", "RFC 9110", http(), [start((b"content-length", b"0"), status=204)], []),
    ("content-length", "RFC 9110", http(),
     [start((b"content-length", b"1")), body(b"12", more_body=True)], []),
    ("content-length", "RFC 9110", http(), [start((b"content-length", b"3")), BODY], []),
    ("no-content", "15.3.5", http(), [start(status=204), BODY], []),
    ("no-content", "15.4.5", http(), [start(status=304), BODY], []),
    ("body-type", "Response Body", http(), [START, body("text")], []),
    ("body-type", "Response Body", http(), [START, body(None)], []),
    ("flag", "Response Body", http(), [START, body(more_body=1)], []),
    ("flag", "Response Start", http(), [start(trailers="yes")], []),
    ("after-end", "Response Body", http(), [START, BODY, body()], []),
    ("after-end", "Response Body", http(), [START, BODY, START], []),
    ("unfinished", "Response Body", http(), [START], []),
    ("unfinished", "Response Body", http(), [START, body(b"a", more_body=True)], []),
    ("no-response", "Response Start", http(), [], []),
    ("no-response", "Response Start", http(), [RECEIVE], [REQUEST]),
    ("extension", "Extensions", http(), [start(trailers=True)], []),
    *(("extension", "Extensions", http(), [START, {"type": name}], []) for name in EVERYTHING[:-1]),
    ("message-type", "Extensions", http(), [{"type": EVERYTHING[-1]}], []),
    ("trailers", "Trailers", TRAILERS, [START, body(b"a", more_body=True), trailers()], []),
    ("trailers", "Trailers", TRAILERS, [start(trailers=True), trailers()], []),
    ("after-end", "Trailers", TRAILERS, [start(trailers=True), BODY, BODY], []),
    ("after-end", "Response Body", TRAILERS, [start(trailers=True), BODY, trailers(), trailers()], []),
    ("unfinished", "Response Body", TRAILERS, [start(trailers=True), BODY], []),
    ("unfinished", "Response Body", TRAILERS, [start(trailers=True), BODY, trailers(more_trailers=True)], []),
    ("header-case", "Trailers", TRAILERS, [start(trailers=True), BODY, trailers(headers=[(b"A", b"")])], []),
    ("start-first", "Response Start", ALL, [PATHSEND], []),
    ("pathsend", "Path Send", ALL, [START, {**PATHSEND, "path": "relative"}], []),
    ("pathsend-alone", "Path Send", ALL, [START, body(b"a", more_body=True), PATHSEND], []),
    ("after-end", "Response Body", ALL, [START, PATHSEND, PATHSEND], []),
    ("no-content", "15.4.5", ALL, [start(status=304), PATHSEND], []),
    ("zerocopysend", "Zero Copy", ALL, [START, {"type": "http.response.zerocopysend", "file": b"x"}], []),
    ("early-hint", "Early Hints", ALL, [START, {**HINT, "links": b"</a>"}], []),
    ("early-hint", "Early Hints", ALL, [START, {**HINT, "links": ["</a>"]}], []),
    ("after-end", "Response Body", ALL, [START, BODY, HINT], []),
    ("push", "Server Push", ALL, [START, {**PUSH, "path": b"/"}], []),
    ("header-case", "Server Push", ALL,
     [START, {**PUSH, "headers": [(b"A", b"")]}], []),
    ("debug", "Debug", ALL, [START, {"type": "http.response.debug", "info": {}}], []),
    ("debug", "Debug", ALL, [{"type": "http.response.debug", "info": {}}] * 2, []),
    ("debug", "Debug", ALL, [{"type": "http.response.debug"}], []),
    ("ws-accept", "Accept", websocket(), [ACCEPT, ACCEPT], []),
    ("ws-accept", "Spec Versions", OLD, [{**ACCEPT, "headers": [(b"a", b"b")]}], []),
    ("header-case", "Accept", websocket(), [{**ACCEPT, "headers": [(b"A", b"b")]}], []),
    ("ws-subprotocol", "Accept", websocket(),
     [{**ACCEPT, "headers": [(b"sec-websocket-protocol", b"b")]}], []),
    ("ws-subprotocol", "RFC 6455", websocket(), [{**ACCEPT, "subprotocol": "other"}], []),
    ("text", "Accept", websocket(), [{**ACCEPT, "subprotocol": b"chat"}], []),
    ("ws-send", "Send", websocket(), [TEXT], []),
    ("ws-payload", "Send", websocket(), [ACCEPT, {**TEXT, "bytes": b"too"}], []),
    ("ws-payload", "Send", websocket(), [ACCEPT, {"type": "websocket.send"}], []),
    ("ws-payload", "Send", websocket(), [ACCEPT, {"type": "websocket.send", "text": b"bytes"}], []),
    ("ws-payload", "Send", websocket(), [ACCEPT, {"type": "websocket.send", "bytes": "str"}], []),
    ("ws-code", "Close", websocket(), [{**CLOSE, "code": "1000"}], []),
    ("text", "Close", websocket(), [{**CLOSE, "reason": 1}], []),
    ("after-end", "Close", websocket(), [ACCEPT, CLOSE, TEXT], []),
    ("after-end", "Close", websocket(), [CLOSE, ACCEPT], []),
    ("no-response", "Connect", websocket(), [RECEIVE], [CONNECT]),
    ("extension", "Extensions", websocket(), [DENY], []),
    ("ws-denial", "Denial", DENIALS, [DENY, CLOSE], []),
    ("ws-denial", "Denial", DENIALS, [DENY, ACCEPT], []),
    ("ws-denial", "Denial", DENIALS, [ACCEPT, DENY], []),
    ("start-first", "Response Start", DENIALS, [{"type": "websocket.http.response.body"}], []),
    ("unfinished", "Response Body", DENIALS, [DENY], []),
    ("status", "RFC 9110", DENIALS, [{**DENY, "status": 101}], []),
    ("lifespan-order", "Startup Complete", lifespan(), [IS_UP], []),
    ("lifespan-order", "Startup Complete", lifespan(), [RECEIVE, IS_UP, IS_UP], [UP]),
    ("lifespan-order", "Shutdown Complete", lifespan(), [RECEIVE, IS_UP, IS_DOWN], [UP]),
    ("lifespan-order", "Shutdown Failed", lifespan(), [RECEIVE, {"type": "lifespan.shutdown.failed"}], [UP]),
    ("text", "Startup Failed", lifespan(),
     [RECEIVE, {"type": "lifespan.startup.failed", "message": 1}], [UP]),
    ("lifespan-return", "Scope", lifespan(), [], []),
    ("lifespan-return", "Scope", lifespan(), [RECEIVE], [UP]),
    ("lifespan-return", "Scope", lifespan(), [RECEIVE, IS_UP], [UP]),
    ("lifespan-return", "Scope", lifespan(), [RECEIVE, IS_UP, RECEIVE], [UP, DOWN]),
]  # fmt: skip


SERVER_OFFENCES: list[tuple[str, str, Scope, list[Any]]] = [
    ("scope-asgi", "HTTP Connection Scope", http(asgi=...), []),
    ("scope-asgi", "HTTP Connection Scope", http(asgi={}), []),
    ("scope-asgi", "HTTP Connection Scope", http(asgi={"version": "3.0", "spec_version": 2.5}), []),
    ("scope-asgi", "Lifespan", {"type": "lifespan"}, []),
    ("scope-state", "HTTP Connection Scope", http(state=None), []),
    ("scope-state", "Lifespan", lifespan(state=[]), []),
    ("scope-http-version", "HTTP Connection Scope", http(http_version=...), []),
    ("scope-http-version", "HTTP Connection Scope", http(http_version="HTTP/1.1"), []),
    ("scope-http-version", "Websocket Connection Scope", websocket(http_version="1.0"), []),
    ("scope-method", "HTTP Connection Scope", http(method=...), []),
    ("scope-method", "HTTP Connection Scope", http(method="get"), []),
    ("scope-method", "HTTP Connection Scope", http(method=b"GET"), []),
    ("scope-scheme", "HTTP Connection Scope", http(scheme=""), []),
    ("scope-path", "HTTP Connection Scope", http(path=b"/"), []),
    ("scope-path", "Websocket Connection Scope", websocket(path=...), []),
    ("scope-raw-path", "HTTP Connection Scope", http(raw_path="/"), []),
    ("scope-raw-path", "HTTP Connection Scope", http(raw_path=b"/?a"), []),
    ("scope-query-string", "HTTP Connection Scope", http(query_string=...), []),
    ("scope-query-string", "HTTP Connection Scope", http(query_string="a=1"), []),
    ("scope-root-path", "HTTP Connection Scope", http(root_path=None), []),
    ("scope-headers", "HTTP Connection Scope", http(headers=...), []),
    ("headers", "HTTP Connection Scope", http(headers=None), []),
    ("header-type", "Websocket Connection Scope", websocket(headers=[("a", "b")]), []),
    ("header-case", "HTTP Connection Scope", http(headers=[(b"Host", b"h")]), []),
    ("header-pseudo", "HTTP Connection Scope", http(headers=[(b":authority", b"h")]), []),
    ("scope-client", "HTTP Connection Scope", http(client="127.0.0.1"), []),
    ("scope-client", "HTTP Connection Scope", http(client=("127.0.0.1", None)), []),
    ("scope-client", "HTTP Connection Scope", http(client=(b"127.0.0.1", 1)), []),
    ("scope-server", "HTTP Connection Scope", http(server=("127.0.0.1", "80")), []),
    ("scope-extensions", "Extensions", http(extensions=["tls"]), []),
    ("scope-extensions", "Extensions", http(extensions={b"tls": {}}), []),
    ("scope-subprotocols", "Websocket Connection Scope", websocket(subprotocols="chat"), []),
    ("scope-subprotocols", "Websocket Connection Scope", websocket(subprotocols=[b"chat"]), []),
    ("message", "Events", http(), ["nonsense"]),
    ("message", "Events", http(), [{"body": b""}]),
    ("message-type", "Request", http(), [CONNECT]),
    ("message-type", "WebSocket", websocket(), [REQUEST]),
    ("message-type", "Lifespan", lifespan(), [REQUEST]),
    ("body-type", "Request", http(), [{**REQUEST, "body": "text"}]),
    ("flag", "Request", http(), [{**REQUEST, "more_body": None}]),
    ("request-end", "Request", http(), [{**REQUEST, "more_body": True}, REQUEST, REQUEST]),
    ("after-disconnect", "Disconnect", http(), [GONE, REQUEST]),
    ("ws-connect", "Connect", websocket(), [FRAME]),
    ("ws-connect", "Connect", websocket(), [CONNECT, CONNECT]),
    ("ws-receive", "Receive", websocket(), [CONNECT, FRAME]),
    ("ws-payload", "Receive", websocket(), [CONNECT, ACCEPT, {"type": "websocket.receive"}]),
    ("ws-payload", "Receive", websocket(), [CONNECT, ACCEPT, {**FRAME, "bytes": b""}]),
    ("ws-code", "Disconnect", websocket(), [CONNECT, {"type": "websocket.disconnect"}]),
    ("text", "Disconnect", websocket(), [CONNECT, {**WS_GONE, "reason": b""}]),
    ("after-disconnect", "Disconnect", websocket(), [CONNECT, ACCEPT, WS_GONE, FRAME]),
    ("lifespan-startup", "Startup", lifespan(), [UP, UP]),
    ("lifespan-shutdown", "Shutdown", lifespan(), [DOWN]),
    ("lifespan-shutdown", "Shutdown", lifespan(), [UP, DOWN]),
]  # fmt: skip

LEGAL: list[tuple[Scope, list[Any], list[Any]]] = [
    (http(), [START, BODY], []),
    (http(query_string=b"a?b", raw_path=None, client=None, server=("/run/app.sock", None), state={}),
     [START, BODY], []),
    (http(client=["::1", 1], server=["::1", 2], extensions=None, http_version="2"), [START, BODY], []),
    (http(headers=(iter(pair) for pair in [(b"a", b"1")])), [START, BODY], []),
    (http(), [start(*[(b"content-length", b"3")]), body(b"a", more_body=True), body(b"bc")], []),
    (http(method="HEAD"), [start((b"content-length", b"3")), body()], []),
    (http(method="HEAD"), [start((b"content-length", b"2")), BODY], []),
    (http(), [start((b"content-length", b"9"), status=304), body()], []),
    (http(), [START, body(memoryview(b"a"), more_body=True), body(bytearray(b"b"))], []),
    (http(), [START, {"type": "http.response.body"}], []),
    (http(), [RECEIVE, RECEIVE, RECEIVE, START, BODY], [{**REQUEST, "more_body": True}, REQUEST, GONE]),
    (http(), [START, BODY, RECEIVE, RECEIVE], [GONE, GONE]),
    (http(), [RECEIVE], [GONE]),
    (http(), [START, RECEIVE], [GONE]),
    (http(), [{"type": "http.response.start", "status": 599, "unknown": 1}, BODY], []),
    (TRAILERS,
     [start(trailers=True), BODY, trailers(more_trailers=True), trailers(headers=[(b"a", b"b")])], []),
    (TRAILERS, [start(trailers=False), BODY], []),
    (ALL, [{"type": "http.response.debug", "info": {}}, START, HINT, PUSH, PATHSEND], []),
    (ALL, [start(trailers=True), PATHSEND, trailers()], []),
    (ALL, [START, {"type": EVERYTHING[-1], "status": 103}, BODY], []),
    (websocket(query_string=...), [RECEIVE, {**ACCEPT, "subprotocol": "chat"}, TEXT, RECEIVE, CLOSE],
     [CONNECT, FRAME]),
    (websocket(subprotocols=...), [RECEIVE, {**ACCEPT, "headers": [(b"a", b"b")]}, RECEIVE],
     [CONNECT, WS_GONE]),
    (websocket(), [CLOSE], []),
    (websocket(), [RECEIVE, RECEIVE], [CONNECT, WS_GONE]),
    (websocket(), [ACCEPT], []),
    (OLD, [{**ACCEPT, "headers": []}, {**TEXT, "bytes": None}, {**CLOSE, "code": 4000, "reason": "why"}], []),
    (DENIALS, [DENY, {"type": "websocket.http.response.body", "body": b"no"}], []),
    (lifespan(state={}), [RECEIVE, IS_UP, RECEIVE, IS_DOWN], [UP, DOWN]),
    (lifespan(), [RECEIVE, {"type": "lifespan.startup.failed"}], [UP]),
    (lifespan(), [RECEIVE, IS_UP, RECEIVE, {"type": "lifespan.shutdown.failed", "message": "m"}], [UP, DOWN]),
    ({"type": "ramkit.unknown"}, ["anything"], []),
]  # fmt: skip
