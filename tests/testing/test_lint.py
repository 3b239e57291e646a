"""Each rule of the lint, by the smallest app or server that breaks it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from ramkit.testing.lint import ASGILint, LintError
from tests.testing.lint_cases import (
    ACCEPT,
    APP_OFFENCES,
    BODY,
    GONE,
    IS_DOWN,
    IS_UP,
    LEGAL,
    RECEIVE,
    REQUEST,
    SERVER_OFFENCES,
    START,
    body,
    http,
    lifespan,
    script,
    start,
    websocket,
)
from tests.testing.served import served


def feed(*messages: Any) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


async def ignore(message: Message) -> None:
    pass


async def run(lint: ASGILint, scope: Scope, *incoming: Any, send: Send = ignore) -> None:
    await lint(scope, feed(*incoming), send)


def only_words(value: object) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("rule", "section", "scope", "steps", "incoming"), APP_OFFENCES, ids=only_words)
async def test_an_apps_offence(
    rule: str, section: str, scope: Scope, steps: list[Any], incoming: list[Any]
) -> None:
    lint = ASGILint(script(*steps))
    with pytest.raises(LintError, match=rf"^{rule}: ") as caught:
        await run(lint, dict(scope), *incoming)
    assert section in str(caught.value)
    assert (caught.value.rule, section in caught.value.section) == (rule, True)
    assert lint.errors == [caught.value]

    server_only = ASGILint(script(*steps), side="server")
    await run(server_only, dict(scope), *incoming)
    server_only.check()


@pytest.mark.parametrize(("rule", "section", "scope", "incoming"), SERVER_OFFENCES, ids=only_words)
async def test_a_servers_offence(rule: str, section: str, scope: Scope, incoming: list[Any]) -> None:
    steps = [ACCEPT if message is ACCEPT else RECEIVE for message in incoming]
    messages = [message for message in incoming if message is not ACCEPT]
    lint = ASGILint(script(*steps))
    with pytest.raises(LintError, match=rf"^{rule}: ") as caught:
        await run(lint, dict(scope), *messages)
    assert section in str(caught.value)
    assert lint.errors == [caught.value]

    app_only = ASGILint(script(*steps), side="app")
    await run(app_only, dict(scope), *messages)
    app_only.check()


@pytest.mark.parametrize(("scope", "steps", "incoming"), LEGAL)
async def test_what_is_legal_passes(scope: Scope, steps: list[Any], incoming: list[Any]) -> None:
    lint = ASGILint(script(*steps))
    arrived: list[Any] = []

    async def send(message: Any) -> None:
        arrived.append(message)

    await run(lint, scope, *incoming, send=send)
    lint.check()
    sent = [step for step in steps if step is not RECEIVE]
    assert [id(message) for message in arrived] == [id(message) for message in sent]


async def test_the_scope_and_events_are_handed_on_as_they_are() -> None:
    event = {"type": "http.request", "body": b"x"}
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([scope, await receive()])
        await script(START, BODY)(scope, receive, send)

    scope = http()
    await run(ASGILint(app), scope, event)
    assert seen[0] is scope
    assert seen[1] is event


@pytest.mark.parametrize("all_at_once", [True, False])
async def test_one_shot_headers_stay_so_and_keep_their_content(all_at_once: bool) -> None:
    pairs = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    arrived: list[Message] = []

    async def send(message: Message) -> None:
        arrived.append(message)

    headers: Any = (pair for pair in pairs) if all_at_once else [iter(pair) for pair in pairs]
    message = {**START, "headers": headers, "extra": 1}
    await run(ASGILint(script(message, BODY)), http(), send=send)
    assert message["headers"] is headers
    got = arrived[0]["headers"]
    assert (iter(got) is got) == all_at_once
    assert {**arrived[0], "headers": list(map(tuple, got))} == {**message, "headers": pairs}
    assert list(map(tuple, got)) == ([] if all_at_once else [()] * 3)


async def test_one_shot_request_headers_are_replaced_in_the_callers_scope() -> None:
    scope = http(headers=iter([(b"h", b"v")]))
    await run(ASGILint(script(START, BODY)), scope)
    assert list(scope["headers"]) == [(b"h", b"v")]


@pytest.mark.parametrize("headers", [iter([(b"A", b"1")]), [iter((b"A", b"1"))]])
async def test_one_shot_headers_are_looked_at(headers: Any) -> None:
    with pytest.raises(LintError, match=r"^header-case: "):
        await run(ASGILint(script({**START, "headers": headers})), http())


@pytest.mark.parametrize(
    ("scope", "steps"), [(http(), []), (http(), [START]), (websocket(), []), (lifespan(), [])]
)
async def test_an_exception_passes_through_and_is_no_offence(scope: Scope, steps: list[Any]) -> None:
    lint = ASGILint(script(*steps, ValueError("the app's own")))
    with pytest.raises(ValueError, match="the app's own"):
        await run(lint, scope)
    lint.check()


async def test_an_offence_that_the_app_swallows_is_kept() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(LintError):
            await send(BODY)

    lint = ASGILint(app)
    await run(lint, http())
    await run(lint, http())
    with pytest.raises(LintError, match=r"^start-first: ") as caught:
        lint.check()
    assert [error.rule for error in lint.errors] == ["start-first", "start-first"]
    assert caught.value.__notes__ == [f"then {lint.errors[1]}"]


async def test_the_offending_message_is_not_sent() -> None:
    arrived: list[Message] = []

    async def send(message: Message) -> None:
        arrived.append(message)

    with pytest.raises(LintError):
        await run(ASGILint(script(START, BODY, BODY)), http(), send=send)
    assert arrived == [START, BODY]


async def test_an_unfinished_response_is_fine_when_send_said_that_the_client_is_gone() -> None:
    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise BrokenPipeError

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        with suppress(OSError):
            await send(body(b"a", more_body=True))

    lint = ASGILint(app)
    await run(lint, http(), send=send)
    lint.check()


@pytest.mark.parametrize("use", ["send", "receive"])
async def test_use_after_the_app_returned(use: str) -> None:
    later: list[Awaitable[Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await script(START, BODY)(scope, receive, send)
        later.append(send(BODY) if use == "send" else receive())

    lint = ASGILint(app)
    await run(lint, http(), GONE)
    assert lint.errors == []
    with pytest.raises(LintError, match=rf"^after-return: {use}"):
        await later[0]
    assert [error.rule for error in lint.errors] == ["after-return"]


async def test_an_app_that_returns_a_value() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> Any:
        await script(START, BODY)(scope, receive, send)
        return "done"

    with pytest.raises(LintError, match=r"^return-value: "):
        await run(ASGILint(app), http())


async def test_of_two_receives_that_wait_at_once_both_may_get_the_end_of_the_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.gather(receive(), receive())
        await script(START, BODY)(scope, receive, send)

    both_wait = asyncio.Barrier(2)

    async def receive() -> Message:
        await both_wait.wait()
        return REQUEST

    lint = ASGILint(app)
    await lint(http(), receive, ignore)
    lint.check()


async def test_concurrent_connections_are_judged_apart() -> None:
    offended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            await send(START)
            await offended.wait()
        else:
            offended.set()
            await send(BODY)

    lint = ASGILint(app)
    runs = [run(lint, http(path="/first")), run(lint, http(path="/second"))]
    first, second = await asyncio.gather(*runs, return_exceptions=True)
    assert isinstance(first, LintError)
    assert isinstance(second, LintError)
    assert (first.rule, second.rule) == ("unfinished", "start-first")


# -- a real server ------------------------------------------------------------------------------


async def _echo(request: Request) -> Response:
    received = [chunk async for chunk in request.stream()]

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in received:
            yield chunk

    return StreamingResponse(chunks(), headers={"x-app": "1"})


async def _hello(request: Request) -> Response:
    return PlainTextResponse("hello", headers={"etag": '"1"'})


async def test_uvicorn_and_starlette_keep_to_the_rules() -> None:
    app = Starlette(routes=[Route("/", _hello), Route("/echo", _echo, methods=["POST"])])
    lint = ASGILint(app)
    async with served(lint, lifespan=True) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/?q=%C3%A9")).text == "hello"
        assert (await client.head("/")).headers["content-length"] == "5"
        assert (await client.get("/missing")).status_code == 404

        async def upload() -> AsyncIterator[bytes]:
            for n in range(3):
                yield b"part %d " % n

        echoed = await client.post("/echo", content=upload(), headers={"X-Mixed-Case": "1"})
        assert echoed.content == b"part 0 part 1 part 2 "
        async with client.stream("GET", "/") as response:
            assert response.status_code == 200
    lint.check()


async def test_an_offence_through_uvicorn_is_a_500_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await script(RECEIVE, IS_UP, RECEIVE, IS_DOWN)(scope, receive, send)
        else:
            await send(start((b"X-Upper", b"1")))

    lint = ASGILint(app)
    # Not by caplog: other tests may have told uvicorn's logger to be silent.
    told: list[object] = []
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "error", lambda *said, exc_info=None: told.append(exc_info))
    async with served(lint, lifespan=True) as url, httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 500
    assert [error.rule for error in lint.errors] == ["header-case"]
    assert told == lint.errors
