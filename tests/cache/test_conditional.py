import asyncio
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from ramkit.cache.conditional import ConditionalMiddleware
from ramkit.cache.core.conditional import make_etag
from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope
from ramkit.testing.contracts.middleware import MiddlewareContract
from ramkit.testing.lint import ASGILint
from tests.testing.served import served

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
BODY = b"hello"
OWN = make_etag(BODY)


class TestConditionalMiddleware(MiddlewareContract):
    def wrap(self, app: ASGIApp) -> ASGIApp:
        return ConditionalMiddleware(app)


class TestConditionalMiddlewareThatHoldsNothing(MiddlewareContract):
    def wrap(self, app: ASGIApp) -> ASGIApp:
        return ConditionalMiddleware(app, max_body=0)


def start(*headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(chunk: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def sized(*headers: tuple[bytes, bytes], length: int = len(BODY)) -> Message:
    return start((b"content-length", b"%d" % length), *headers)


class Sends:
    """An app that sends these messages, and notes how many it got rid of."""

    def __init__(self, *messages: Message, error: Exception | None = None) -> None:
        self.messages, self.error, self.done = messages, error, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for message in self.messages:
            await send(message)
            self.done += 1
        if self.error is not None:
            raise self.error


async def ask(
    app: ASGIApp,
    *fields: tuple[bytes, bytes],
    method: str = "GET",
    max_body: int = 2**20,
    sent: list[Message] | None = None,
) -> list[Message]:
    """The messages that leave the middleware; what is outside of it is checked by the lint."""
    headers: RawHeaders = [(b"host", b"h"), *fields]
    lint = ASGILint(ConditionalMiddleware(app, max_body=max_body))
    try:
        return await drive(lint, http_scope(method, headers=headers), sent=sent)
    finally:
        lint.check()


def content(messages: Iterable[Message]) -> bytes:
    return b"".join(each.get("body", b"") for each in messages)


NOT_MODIFIED = (b"if-none-match", b'"a"')


# -- the app's own validators ------------------------------------------------------------------------


async def test_an_etag_of_the_app_makes_a_304() -> None:
    app = Sends(
        sized(
            (b"etag", b'"a"'), (b"content-type", b"text/plain"), (b"set-cookie", b"s=1"), (b"vary", b"accept")
        ),
        body(BODY),
    )
    assert await ask(app, NOT_MODIFIED) == [
        start((b"etag", b'"a"'), (b"set-cookie", b"s=1"), (b"vary", b"accept"), status=304),
        body(),
    ]
    assert app.done == 2


async def test_what_does_not_match_passes() -> None:
    app = Sends(sized((b"etag", b'"a"')), body(BODY))
    assert await ask(app, (b"if-none-match", b'"b"')) == list(app.messages)
    messages = await ask(app)
    assert all(got is sent for got, sent in zip(messages, app.messages, strict=True))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        (b"if-none-match", b'"a"', 304),
        (b"if-none-match", b'"b"', 200),
        (b"if-modified-since", DATE, 304),
        (b"if-modified-since", b"Sun, 06 Nov 1994 08:49:36 GMT", 200),
        (b"if-match", b'"a"', 200),
        (b"if-match", b'"b"', 412),
        (b"if-unmodified-since", DATE, 200),
        (b"if-unmodified-since", b"Sun, 06 Nov 1994 08:49:36 GMT", 412),
    ],
)
async def test_head_has_the_status_of_get(field: bytes, value: bytes, status: int, method: str) -> None:
    app = Sends(sized((b"etag", b'"a"'), (b"last-modified", DATE)), body(BODY if method == "GET" else b""))
    messages = await ask(app, (field, value), method=method)
    assert messages[0]["status"] == status
    if method == "HEAD" or status == 304:
        assert content(messages) == b""


async def test_a_failed_precondition_is_a_problem() -> None:
    messages = await ask(Sends(sized((b"etag", b'"a"')), body(BODY)), (b"if-match", b'"b"'))
    headers = dict(messages[0]["headers"])
    assert headers[b"content-type"] == b"application/problem+json"
    assert b"etag" not in headers
    assert content(messages) == b'{"type": "about:blank", "title": "Precondition Failed", "status": 412}'


async def test_capitals_hide_no_validator() -> None:
    messages = await ask(Sends(start((b"ETag", b'"a"')), body(BODY)), NOT_MODIFIED)
    assert messages[0]["status"] == 304


@pytest.mark.parametrize("status", [201, 204, 206, 301, 404, 500])
async def test_only_a_200_is_looked_at(status: int) -> None:
    app = Sends(start((b"etag", b'"a"'), status=status), body())
    for field in (NOT_MODIFIED, (b"if-match", b'"b"')):
        assert await ask(app, field) == list(app.messages)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "QUERY"])
async def test_other_methods_pass_untouched(method: str) -> None:
    app = Sends(sized((b"etag", b'"a"')), body(BODY))
    messages = await ask(app, NOT_MODIFIED, (b"if-match", b'"b"'), method=method)
    assert all(got is sent for got, sent in zip(messages, app.messages, strict=True))


async def test_the_app_decides_first_who_may_have_it() -> None:
    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        allowed = dict(scope["headers"]).get(b"authorization") == b"Bearer x"
        await send(sized((b"etag", b'"a"')) if allowed else start(status=401))
        await send(body(BODY if allowed else b""))

    assert (await ask(guarded, NOT_MODIFIED))[0]["status"] == 401
    assert (await ask(guarded, NOT_MODIFIED, (b"authorization", b"Bearer x")))[0]["status"] == 304


# -- ETags from content ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chunks",
    [
        [body(BODY)],
        [{"type": "http.response.body", "body": BODY}],
        [body(b"he", more=True), body(b"llo")],
        [body(b"he", more=True), body(more=True), body(b"llo", more=True), body()],
        [body(BODY, more=True), body()],
    ],
    ids=["one", "no more_body", "two", "with empty ones", "an empty end"],
)
async def test_a_small_body_of_known_length_gets_an_etag(chunks: list[Message]) -> None:
    messages = await ask(Sends(sized(), *chunks))
    assert messages[0] == sized((b"etag", OWN))
    assert content(messages) == BODY
    app = Sends(sized(), *chunks)
    assert await ask(app, (b"if-none-match", OWN)) == [start((b"etag", OWN), status=304), body()]
    assert app.done == 1 + len(chunks)
    # Ours is weak: a strong comparison never holds.
    assert (await ask(Sends(sized(), *chunks), (b"if-match", OWN)))[0]["status"] == 412


async def test_an_empty_body_has_an_etag_without_waiting() -> None:
    etag = make_etag(b"")
    assert await ask(Sends(sized(length=0), body())) == [sized((b"etag", etag), length=0), body()]
    messages = await ask(Sends(sized(length=0), body()), (b"if-none-match", etag))
    assert messages == [start((b"etag", etag), status=304), body()]


async def test_last_modified_alone_gets_an_etag_too() -> None:
    app = Sends(sized((b"last-modified", DATE)), body(BODY))
    assert (await ask(app))[0] == sized((b"last-modified", DATE), (b"etag", OWN))
    messages = await ask(app, (b"if-modified-since", DATE))
    assert messages == [start((b"etag", OWN), status=304), body()]


async def test_a_set_cookie_is_no_hindrance() -> None:
    app = Sends(sized((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")), body(BODY))
    messages = await ask(app, (b"if-none-match", OWN))
    assert messages[0] == start((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"etag", OWN), status=304)


async def test_head_of_an_app_that_leaves_the_body_to_the_server_is_as_get() -> None:
    messages = await drive(
        ConditionalMiddleware(Sends(sized(), body(BODY))),
        http_scope("HEAD", headers=[(b"if-none-match", OWN)]),
    )
    assert messages == [start((b"etag", OWN), status=304), body()]


@pytest.mark.parametrize(
    "messages",
    [
        [start(), body(BODY)],
        [sized((b"cache-control", b"private, No-Store")), body(BODY)],
        [sized((b"cache-control", b"private"), (b"cache-control", b"no-store")), body(BODY)],
        [sized((b"content-type", b"text/event-stream; charset=utf-8")), body(BODY)],
        [start((b"content-length", b"5"), status=206), body(BODY)],
        [sized(length=11), body(b"x" * 11)],
    ],
    ids=["no length", "no-store", "no-store below", "events", "partial", "large"],
)
async def test_others_start_at_once_without_an_etag(messages: list[Message]) -> None:
    passed: list[Message] = []
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
            seen.append(len(passed))

    await ask(app, sent=passed, max_body=10)
    assert passed == messages
    assert seen == [1, 2]


@pytest.mark.parametrize("lengths", [[b"5", b"5"], [b"+5"], [b"5" * 5000], [b""]])
async def test_a_length_that_nobody_can_read_is_none(lengths: list[bytes]) -> None:
    messages = [start(*((b"content-length", length) for length in lengths)), body(BODY)]
    assert await drive_raw(Sends(*messages), []) == messages


async def test_a_response_with_trailers_starts_at_once() -> None:
    first = {**sized(), "trailers": True}
    messages = [first, body(BODY), {"type": "http.response.trailers", "headers": []}]
    scope = http_scope(headers=[(b"te", b"trailers")], extensions={"http.response.trailers": {}})
    assert await drive(ConditionalMiddleware(Sends(*messages)), scope) == messages


async def test_head_without_a_body_is_not_delayed_and_gets_no_etag() -> None:
    assert await ask(Sends(sized(), body()), method="HEAD") == [sized(), body()]


# -- streams -----------------------------------------------------------------------------------------


async def test_the_rest_of_a_body_is_swallowed_and_the_app_runs_to_its_end() -> None:
    chunks = [body(b"x", more=True)] * 50
    app = Sends(start((b"etag", b'"a"')), *chunks, body())
    assert await ask(app, NOT_MODIFIED) == [start((b"etag", b'"a"'), status=304), body()]
    assert app.done == 52


async def test_an_app_whose_body_is_swallowed_lets_others_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await ask(Sends(start((b"etag", b'"a"')), *[body(b"x", more=True)] * 50, body()), NOT_MODIFIED)
    task.cancel()
    assert turns >= 50


async def test_a_stream_without_a_validator_is_never_swallowed() -> None:
    app = Sends(start(), body(b"x", more=True), body())
    for field in ((b"if-none-match", b"*"), (b"if-match", b'"b"')):
        assert await ask(app, field) == list(app.messages)


# -- apps that do not keep their word ----------------------------------------------------------------


async def drive_raw(app: ASGIApp, sent: list[Message]) -> list[Message]:
    return await drive(ConditionalMiddleware(app), http_scope(), sent=sent)


async def test_fewer_bytes_than_promised_pass_as_they_came() -> None:
    assert await drive_raw(Sends(sized(), body(b"hel")), []) == [sized(), body(b"hel")]
    messages = await drive_raw(Sends(sized(), body(b"h", more=True), body(b"e")), [])
    assert messages == [sized(), body(b"h", more=True), body(b"e")]


async def test_more_bytes_than_promised_pass_as_they_came() -> None:
    messages = await drive_raw(Sends(sized(), body(b"hell", more=True), body(b"oo")), [])
    assert messages == [sized(), body(b"hell", more=True), body(b"oo")]


async def test_an_app_that_raises_leaves_what_it_sent() -> None:
    sent: list[Message] = []
    with pytest.raises(ZeroDivisionError):
        await drive_raw(Sends(sized(), body(b"hel", more=True), error=ZeroDivisionError()), sent)
    assert sent == [sized(), body(b"hel", more=True)]


async def test_an_app_that_returns_early_leaves_what_it_sent() -> None:
    sent: list[Message] = []
    await ConditionalMiddleware(Sends(sized()))(http_scope(), None, _into(sent))  # type: ignore[arg-type]  # unused
    assert sent == [sized()]


async def test_an_error_after_a_304_comes_through() -> None:
    app = Sends(sized((b"etag", b'"a"')), body(BODY), error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await ask(app, NOT_MODIFIED)


async def test_nothing_is_sent_for_an_app_that_is_cancelled() -> None:
    sent: list[Message] = []
    with pytest.raises(asyncio.CancelledError):
        await drive_raw(Sends(sized(), error=asyncio.CancelledError()), sent)  # type: ignore[arg-type]  # raised as is
    assert sent == []


def _into(sent: list[Message]) -> Any:
    async def send(message: Message) -> None:
        sent.append(message)

    return send


async def test_messages_and_buffers_that_the_app_uses_again_are_not_changed_nor_kept() -> None:
    constant = sized()
    message: Message = {"type": "http.response.body"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(constant)
        for letter in BODY[:-1]:
            message.update(body=bytes([letter]), more_body=True)
            await send(message)
        message.update(body=BODY[-1:], more_body=False)
        await send(message)

    for _ in range(2):
        messages = await ask(app)
        assert content(messages) == BODY
        assert messages[0]["headers"].count((b"etag", OWN)) == 1
    assert constant == sized()


async def test_header_pairs_that_can_be_read_once_arrive() -> None:
    first = {"type": "http.response.start", "status": 200, "headers": iter([(b"etag", b'"a"'), (b"x", b"y")])}
    messages = await drive_raw(Sends(first, body(BODY)), [])
    assert messages[0]["headers"] == [(b"etag", b'"a"'), (b"x", b"y")]
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])
        await Sends(sized((b"etag", b'"a"')), body(BODY))(scope, receive, send)

    scope = http_scope(headers=iter([NOT_MODIFIED]))  # type: ignore[arg-type]  # ASGI allows any iterable
    assert (await drive(ConditionalMiddleware(app), scope))[0]["status"] == 304
    assert seen == [NOT_MODIFIED]


# -- in Starlette ------------------------------------------------------------------------------------


async def test_with_starlette_and_what_people_put_into_it(tmp_path: Any, asgi_client: Any) -> None:
    ran: list[str] = []
    file = tmp_path / "file.txt"
    file.write_bytes(b"a file")

    async def page(request: Request) -> Response:
        return PlainTextResponse("page", background=BackgroundTask(ran.append, "after"))

    async def download(request: Request) -> Response:
        return FileResponse(file)

    async def through(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    app = Starlette(
        routes=[Route("/page", page), Route("/file", download)],
        middleware=[Middleware(ConditionalMiddleware), Middleware(BaseHTTPMiddleware, dispatch=through)],
    )
    async with asgi_client(app) as client:
        first = await client.get("/page")
        assert (first.status_code, first.text) == (200, "page")
        assert first.headers["etag"] == make_etag(b"page").decode()
        again = await client.get("/page", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert ran == ["after", "after"]
        found = await client.get("/file")
        assert found.text == "a file"
        for field, value in [
            ("if-none-match", found.headers["etag"]),
            ("if-modified-since", found.headers["last-modified"]),
        ]:
            assert (await client.get("/file", headers={field: value})).status_code == 304


async def test_on_a_real_connection_that_is_kept(tmp_path: Any) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(b"a file")

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        response = FileResponse(file) if scope["path"] == "/file" else PlainTextResponse("page")
        await response(scope, receive, send)

    async with (
        served(ConditionalMiddleware(answer), lifespan=False) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for path, content in (("/file", b"a file"), ("/page", b"page")):
            first = await client.get(path)
            assert (first.status_code, first.content) == (200, content)
            for method in ("GET", "HEAD"):
                held = await client.request(method, path, headers={"if-none-match": first.headers["etag"]})
                assert (held.status_code, held.content) == (304, b"")
                assert held.headers["etag"] == first.headers["etag"]
                failed = await client.request(method, path, headers={"if-match": '"other"'})
                assert failed.status_code == 412
        part = await client.get("/file", headers={"range": "bytes=2-3", "if-none-match": '"other"'})
        assert (part.status_code, part.content) == (206, b"fi")


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_body"):
        ConditionalMiddleware(Sends(), max_body=-1)
