"""The middleware contract tells good middlewares from broken ones."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ramkit.testing.apps import GALLERY, AppError, Awkward
from ramkit.testing.contracts.middleware import MiddlewareContract, check_middleware


def by_name(name: str) -> Awkward:
    return next(one for one in GALLERY if one.name == name)


class TestIdentity(MiddlewareContract):
    def wrap(self, app: ASGIApp) -> ASGIApp:
        return app


class TestPureWrapper(MiddlewareContract):
    """Adds a header, rewrites another, keeps something running, and knows only http."""

    rewrites = frozenset({b"cache-control"})

    def wrap(self, app: ASGIApp) -> ASGIApp:
        kept: list[asyncio.Task[Any]] = []

        async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            if not kept:
                kept.append(asyncio.create_task(asyncio.Event().wait()))

            async def with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    pairs = [(n, v) for n, v in message.get("headers", ()) if n != b"cache-control"]
                    changed = [(b"x-first", b"1"), *pairs, (b"cache-control", b"no-store")]
                    message = {**message, "headers": changed}
                await send(message)

            await app(scope, receive, with_headers)

        return wrapper


def http_only(
    wrapper: Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]],
) -> Callable[[ASGIApp], ASGIApp]:
    """A middleware that does this to http and lets the rest pass."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await wrapper(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return middleware

    return wrap


@http_only
async def buffering(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    for message in messages:
        await send(message)


@http_only
async def one_behind(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Keeps each message until the next one comes."""
    kept: list[Message] = []

    async def delay(message: Message) -> None:
        kept.append(message)
        if len(kept) > 1:
            await send(kept.pop(0))

    await app(scope, receive, delay)
    for message in kept:
        await send(message)


@http_only
async def header_dict(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def as_dict(message: Message) -> None:
        if "headers" in message:
            message = {**message, "headers": list(dict(message["headers"]).items())}
        await send(message)

    await app(scope, receive, as_dict)


@http_only
async def sorting_headers(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def as_sorted(message: Message) -> None:
        if "headers" in message:
            message = {**message, "headers": sorted(message["headers"])}
        await send(message)

    await app(scope, receive, as_sorted)


@http_only
async def swallowing(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    with suppress(AppError):
        await app(scope, receive, send)


@http_only
async def needs_headers(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def look(message: Message) -> None:
        if message["type"] == "http.response.start":
            list(message["headers"])
        await send(message)

    await app(scope, receive, look)


@http_only
async def needs_body(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def look(message: Message) -> None:
        if message["type"] == "http.response.body":
            len(message["body"])
        await send(message)

    await app(scope, receive, look)


@http_only
async def uses_up_headers(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def look(message: Message) -> None:
        if "headers" in message and not any(name == b"x-app" for name, _ in message["headers"]):
            message = {**message, "headers": [*message["headers"], (b"x-none", b"1")]}
        await send(message)

    await app(scope, receive, look)


@http_only
async def writes_into_headers(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def write(message: Message) -> None:
        if isinstance(message.get("headers"), list):
            message["headers"].append((b"x-written", b"1"))
        await send(message)

    await app(scope, receive, write)


@http_only
async def start_for_each_chunk(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    start: list[Message] = []

    async def late_start(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.append(message)
        else:
            await send(start[0])
            await send(message)

    await app(scope, receive, late_start)


@http_only
async def deaf(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the request on the app's behalf and has the client stay for ever."""
    ended = False

    async def only_requests() -> Message:
        nonlocal ended
        if ended:
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await receive()
        ended = not message.get("more_body", False)
        return message

    await app(scope, only_requests, send)


@http_only
async def upper_case_names(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def shout(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"X-Shout", b"1")]}
        await send(message)

    await app(scope, receive, shout)


@http_only
async def lower_cases_method(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app({**scope, "method": scope["method"].lower()}, receive, send)


@http_only
async def drops_trailers(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def drop(message: Message) -> None:
        if message["type"] != "http.response.trailers":
            await send(message)

    await app(scope, receive, drop)


@http_only
async def leaves_a_task(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    tasks.add(asyncio.create_task(asyncio.Event().wait(), name="left"))
    await app(scope, receive, send)


@http_only
async def swallows_the_clients_leaving(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def hide(message: Message) -> None:
        with suppress(OSError):
            await send(message)

    await app(scope, receive, hide)


tasks: set[asyncio.Task[Any]] = set()


class Base(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def http_or_nothing(app: ASGIApp) -> ASGIApp:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        assert method.isupper()
        await app(scope, receive, send)

    return middleware


def no_websockets(app: ASGIApp) -> ASGIApp:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await app(scope, receive, send)

    return middleware


BROKEN: list[tuple[Callable[[ASGIApp], ASGIApp], str, str]] = [
    (buffering, "server-sent-events", "before the last had arrived"),
    (buffering, "endless", "nobody stopped it"),
    (one_behind, "server-sent-events", "before the last had arrived"),
    (header_dict, "set-cookie-twice", "out of order"),
    (header_dict, "repeated-headers", "out of order"),
    (sorting_headers, "header-oddities", "out of order"),
    (swallowing, "raises-before-start", "no-response"),
    (swallowing, "raises-mid-body", "unfinished"),
    (swallowing, "raises-after-end", "None came out"),
    (needs_headers, "no-headers-key", "KeyError"),
    (needs_body, "no-body-key", "KeyError"),
    (start_for_each_chunk, "empty-chunks", "start-once"),
    (deaf, "long-poll-abandoned", "request-end"),
    (deaf, "endless-older-server", "request-end"),
    (upper_case_names, "bare-minimum", "header-case"),
    (lower_cases_method, "bare-minimum", "scope-method"),
    (drops_trailers, "trailers", "unfinished"),
    (leaves_a_task, "bare-minimum", "left"),
    (swallows_the_clients_leaving, "endless-deaf", "nobody stopped it"),
    (Base, "trailers", "the trailers are"),
    (Base, "long-poll-abandoned", "No response returned"),
    (writes_into_headers, "headers-constant", "wrote into"),
    (http_or_nothing, "websocket-echo", "KeyError"),
    (http_or_nothing, "lifespan-state", "KeyError"),
    (http_or_nothing, "unknown-scope-type", "KeyError"),
    (no_websockets, "websocket-echo", "the events are"),
    (uses_up_headers, "headers-generator", "missing"),
    (uses_up_headers, "headers-pair-iterators", "header-pair"),
]


@pytest.mark.parametrize(("wrap", "name", "problem"), BROKEN)
async def test_a_broken_middleware_fails(wrap: Callable[[ASGIApp], ASGIApp], name: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        await check_middleware(wrap, by_name(name))


async def test_what_may_be_rewritten_is_for_the_test_to_say() -> None:
    @http_only
    async def drop(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def without(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [p for p in message.get("headers", ()) if p[0] != b"x-app"]}
            await send(message)

        await app(scope, receive, without)

    with pytest.raises(AssertionError, match="x-app"):
        await check_middleware(drop, by_name("set-cookie-twice"))
    await check_middleware(drop, by_name("set-cookie-twice"), rewrites={b"x-app"})
