"""Responses of odd shapes, and those that fail."""

# ruff: noqa: ARG001  # apps take what ASGI hands them

import asyncio
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, TypeAlias

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send
from ramkit.testing.apps._record import AppError, Awkward

__all__ = ["RESPONSES", "sending"]

_Pairs: TypeAlias = tuple[tuple[bytes, bytes], ...]

_HELLO: _Pairs = ((b"content-type", b"text/plain"), (b"x-app", b"1"))


def _start(headers: Iterable[Any] | None = None, status: int = 200, **more: object) -> Message:
    kept: Message = {"type": "http.response.start", "status": status, **more}
    return kept if headers is None else {**kept, "headers": headers}


def _body(body: bytes | bytearray | memoryview | None = None, *, more: bool | None = None) -> Message:
    message: Message = {"type": "http.response.body"}
    if body is not None:
        message["body"] = body
    if more is not None:
        message["more_body"] = more
    return message


def sending(*messages: Message, raises: Exception | None = None) -> ASGIApp:
    """An app that never receives, sends these messages, and then may raise.

    Header pairs are sent as a list of its own each time, which a middleware may write into.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            own = {"headers": list(message["headers"])} if "headers" in message else {}
            await send({**message, **own})
        if raises is not None:
            raise raises

    return app


def _odd_headers(kind: str) -> ASGIApp:
    """Headers as another iterable of other iterables, made anew for each request."""

    def pairs() -> Iterable[Iterable[bytes]]:
        if kind == "tuple":
            return _HELLO
        if kind == "lists":
            return [list(pair) for pair in _HELLO]
        if kind == "view":
            return dict(_HELLO).items()
        if kind == "pair-iterators":
            return [iter(pair) for pair in _HELLO]
        return _generate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(_start(pairs()))
        await send(_body(b"odd"))

    return app


def _generate() -> Iterator[tuple[bytes, bytes]]:
    yield from _HELLO


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start([(b"content-type", b"application/octet-stream")]))
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send(_body(message.get("body", b""), more=more))


async def _reads_first_chunk(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await sending(_start(_HELLO), _body(b"enough"))(scope, receive, send)


async def _task_sends(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    worker = asyncio.create_task(_task_body(send))
    await worker


async def _task_body(send: Send) -> None:
    await send(_start(list(_HELLO)))
    await asyncio.sleep(0)
    await send(_body(b"by a task"))


async def _pathsend(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start(list(_HELLO)))
    if "http.response.pathsend" in (scope.get("extensions") or {}):
        await send({"type": "http.response.pathsend", "path": __file__})
    else:
        await send(_body(b"in the body then"))


async def _trailers(scope: Scope, receive: Receive, send: Send) -> None:
    offered = "http.response.trailers" in (scope.get("extensions") or {})
    await send(_start([(b"trailer", b"x-digest")], trailers=offered))
    await send(_body(b"hello", more=True))
    await send(_body(b" trailers"))
    if offered:
        first = {"type": "http.response.trailers", "headers": [(b"x-digest", b"1")], "more_trailers": True}
        await send(first)
        await send({"type": "http.response.trailers", "headers": ((b"x-time", b"2"),)})


async def _constant_headers(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the same list in each response, so nobody may write into it."""
    headers = [(b"x-constant", b"1")]
    await send(_start(headers))
    await send(_body(b"constant"))
    if headers != [(b"x-constant", b"1")]:
        raise AppError(f"somebody wrote into the app's headers: {headers}")


async def _sets_state(scope: Scope, receive: Receive, send: Send) -> None:
    """Frameworks write into their scope; the request's own keys must be there."""
    scope["endpoint"] = _sets_state
    scope["path_params"] = {}
    path: str = scope["path"]
    await sending(_start(_HELLO), _body(path.encode()))(scope, receive, send)


_ODDITIES: _Pairs = (
    (b"content-type", b"Text/HTML; Charset=UTF-8"),
    (b"cache-control", b"No-Cache"),
    (b"x-empty", b""),
    (b"x-latin", b"caf\xe9\tau lait"),
    (b"x-!#$%&'*+.^_`|~", b"a token"),
)
_REPEATED: _Pairs = (
    (b"link", b"</a>"), (b"x-one", b"1"), (b"link", b"</b>"), (b"vary", b"accept"), (b"link", b"</a>"),
    (b"vary", b"accept-encoding"),
)  # fmt: skip
_COOKIES: _Pairs = ((b"set-cookie", b"a=1; Path=/"), (b"x-app", b"1"), (b"set-cookie", b"b=2; HttpOnly"))
_HUGE: _Pairs = tuple((b"x-huge-%d" % n, bytes([97 + n % 26]) * 1000) for n in range(30))
_BIG = bytes(range(256)) * 8192
_LENGTH: _Pairs = ((b"content-length", b"10"),)
_STAR: _Pairs = ((b"vary", b"*"),)
_TAG: _Pairs = ((b"etag", b'"1"'),)


def _legal(name: str, *messages: Message, **expected: Any) -> Awkward:
    return Awkward(name=name, app=sending(*messages), **expected)


RESPONSES: tuple[Awkward, ...] = (
    _legal("no-headers-key", _start(), _body(b"bare"), body=b"bare"),
    _legal("no-body-key", _start(_HELLO), _body(), headers=_HELLO),
    _legal("bare-minimum", _start(), _body()),
    _legal("status-enum", _start(_HELLO, HTTPStatus.IM_A_TEAPOT), _body(b"t"), status=418, body=b"t"),
    _legal("not-found", _start(_HELLO, 404), _body(b"no"), status=404, headers=_HELLO, body=b"no"),
    _legal("server-error", _start(_HELLO, 500), _body(b"oh"), status=500, headers=_HELLO, body=b"oh"),
    _legal("empty-chunks", _start(_HELLO), _body(b"", more=True), _body(b"a", more=True), _body(more=True),
           _body(b"", more=True), _body(b"b", more=True), _body(b""), headers=_HELLO, body=b"ab"),
    _legal("empty-last-chunk", _start(_HELLO), _body(b"all", more=True), _body(b"", more=False),
           headers=_HELLO, body=b"all"),
    _legal("one-byte-chunks", _start(_HELLO), *(_body(bytes([n]), more=True) for n in range(64)), _body(),
           headers=_HELLO, body=bytes(range(64))),
    _legal("thousand-chunks", _start(_HELLO), *(_body(b"%04d" % n, more=True) for n in range(1000)), _body(),
           headers=_HELLO, body=b"".join(b"%04d" % n for n in range(1000))),
    _legal("one-big-chunk", _start(_HELLO), _body(_BIG), headers=_HELLO, body=_BIG),
    _legal("bytearray-body", _start(_HELLO), _body(bytearray(b"array")), headers=_HELLO, body=b"array"),
    _legal("memoryview-body", _start(_HELLO), _body(memoryview(b"-view-")[1:5], more=True), _body(),
           headers=_HELLO, body=b"view"),
    _legal("content-length-in-two-chunks", _start(_LENGTH), _body(b"01234", more=True), _body(b"56789"),
           headers=_LENGTH, body=b"0123456789"),
    _legal("head", _start(_LENGTH), _body(), method="HEAD", headers=_LENGTH),
    # Starlette sends a GET's body; the server drops it.
    _legal("head-with-body", _start(_LENGTH), _body(b"0123456789"), method="HEAD", headers=_LENGTH),
    _legal("no-content", _start(_HELLO[1:], 204), _body(), status=204, headers=_HELLO[1:]),
    _legal("not-modified", _start((*_LENGTH, *_TAG), 304), _body(b""), status=304, headers=_TAG),
    _legal("set-cookie-twice", _start(_COOKIES), _body(b"c"), headers=_COOKIES, body=b"c"),
    _legal("repeated-headers", _start(_REPEATED), _body(b"r"), headers=_REPEATED, body=b"r"),
    _legal("huge-headers", _start(_HUGE), _body(b"h"), headers=_HUGE, body=b"h"),
    _legal("header-oddities", _start(_ODDITIES), _body(b"o"), headers=_ODDITIES, body=b"o"),
    _legal("vary-star", _start(_STAR), _body(b"v"), headers=_STAR, body=b"v"),
    *(Awkward(name=f"headers-{kind}", app=_odd_headers(kind), headers=_HELLO, body=b"odd")
      for kind in ("tuple", "lists", "view", "pair-iterators", "generator")),
    Awkward(name="headers-constant", app=_constant_headers, headers=[(b"x-constant", b"1")],
            body=b"constant"),
    Awkward(name="trailers", app=_trailers, headers=[(b"trailer", b"x-digest")], body=b"hello trailers",
            trailers=[(b"x-digest", b"1"), (b"x-time", b"2")]),
    Awkward(name="echo", app=_echo, method="POST", sends=[b"one", b"", b"two", b"three"],
            body=b"onetwothree"),
    Awkward(name="ignores-request", app=sending(_start(_HELLO), _body(b"no thanks")), method="POST",
            sends=[b"unread"] * 3, headers=_HELLO, body=b"no thanks"),
    Awkward(name="reads-first-chunk", app=_reads_first_chunk, method="PUT", sends=[b"read", b"unread"],
            headers=_HELLO, body=b"enough"),
    Awkward(name="task-sends", app=_task_sends, headers=_HELLO, body=b"by a task"),
    Awkward(name="pathsend-not-offered", app=_pathsend, headers=_HELLO, body=b"in the body then"),
    Awkward(name="writes-into-scope", app=_sets_state, headers=_HELLO, body=b"/writes-into-scope"),
    Awkward(name="raises-before-start", app=sending(raises=AppError("before")), status=None, raises=AppError),
    Awkward(name="raises-after-start", app=sending(_start(_HELLO), raises=AppError("after")), headers=_HELLO,
            raises=AppError),
    Awkward(name="raises-mid-body", headers=_HELLO, body=b"half", raises=AppError,
            app=sending(_start(_HELLO), _body(b"half", more=True), raises=AppError("mid"))),
    Awkward(name="raises-after-end", headers=_HELLO, body=b"whole", raises=AppError,
            app=sending(_start(_HELLO), _body(b"whole"), raises=AppError("in a background task"))),
)  # fmt: skip
