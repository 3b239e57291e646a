"""Calling ASGI apps in the test's own event loop: an httpx client, and a raw way for what httpx hides."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, cast

import httpx

from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Scope

__all__ = ["ASGIClient", "drive", "http_scope", "no_leaks"]

#: Seconds that an app has to end once its client is gone, or its lifespan over.
_PATIENCE = 5.0
#: Seconds that a task has to end by itself.
_MOMENT = 0.5


def http_scope(
    method: str = "GET",
    path: str = "/",
    *,
    query: bytes = b"",
    headers: RawHeaders | None = None,
    **more: Any,
) -> Scope:
    """A complete ``http`` scope; ``more`` replaces or adds keys."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"testserver")] if headers is None else headers,
        "client": ("127.0.0.1", 49152),
        "server": ("testserver", 80),
        **more,
    }


async def drive(
    app: ASGIApp,
    scope: Scope,
    messages: Iterable[Message] | None = None,
    *,
    sent: list[Message] | None = None,
) -> list[Message]:
    """Run a raw ASGI app to its end and return the messages that it sent, untouched and in order.

    ``messages`` are what it receives (default: an empty request body, or a WebSocket's connect). When they
    are used up it waits until its response is complete, and is then told of the disconnect. What the app
    raises is raised here; ``sent``, a list of the caller's, then holds what it had sent.
    """
    if messages is None:
        messages = [_EMPTY] if scope["type"] == "http" else [{"type": "websocket.connect"}]
    pending, collected, complete = iter(messages), [] if sent is None else sent, asyncio.Event()

    async def receive() -> Message:
        for message in pending:
            return message
        await complete.wait()
        return {"type": f"{scope['type']}.disconnect"}

    async def send(message: Message) -> None:
        collected.append(message)
        if message["type"] == "websocket.close" or _last(message):
            complete.set()

    await app(scope, receive, send)
    return collected


@asynccontextmanager
async def no_leaks() -> AsyncGenerator[None]:
    """Raise ``AssertionError`` when a task that was begun inside is still there, and cancel it.

    A task that ends by itself within a moment is none: one that was cancelled, or gives something back.
    """
    before = asyncio.all_tasks()
    yield
    await _check_leaks(before)


async def _check_leaks(before: set[asyncio.Task[Any]]) -> None:
    leaked = asyncio.all_tasks() - before
    leaked.discard(cast("asyncio.Task[Any]", asyncio.current_task()))
    if leaked:
        _, leaked = await asyncio.wait(leaked, timeout=_MOMENT)
    if not leaked:
        return
    for task in leaked:
        task.cancel()
    await asyncio.wait(leaked, timeout=_PATIENCE)
    raise AssertionError(f"tasks left running: {', '.join(sorted(repr(each.get_coro()) for each in leaked))}")


class ASGIClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for an app in this process: ``async with ASGIClient(app) as client``.

    The app's lifespan runs as long as the context. Responses stream: each chunk is there when the app
    sent it, and the app waits until it is read. Leaving the context raises ``AssertionError`` when tasks
    that were begun meanwhile still run. ``raise_app_exceptions=False`` turns what the app raises into what
    a server makes of it: a plain 500, or a response that breaks off. ``options`` are httpx's.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        base_url: str = "http://testserver",
        raise_app_exceptions: bool = True,
        client: tuple[str, int] = ("127.0.0.1", 49152),
        **options: Any,
    ) -> None:
        self._lifespan = _Lifespan(app)
        transport = _Transport(app, self._lifespan, client, raise_app_exceptions=raise_app_exceptions)
        super().__init__(transport=transport, base_url=base_url, **options)
        self._tasks_before: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._tasks_before = asyncio.all_tasks()
        await self._lifespan.startup()
        return await super().__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            await self._lifespan.shutdown()
        finally:
            await super().__aexit__(exc_type, exc_value, traceback)
        if exc_value is None:
            await _check_leaks(self._tasks_before)


class _Lifespan:
    """The app's lifespan, in a task of its own; an app that ends at once has none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.state: dict[str, Any] = {}
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        self._task = asyncio.create_task(self._run())
        if await self._turn("startup", self._task) == _ENDED:
            # As servers do: raising at lifespan is how an app says that it knows none.
            await asyncio.wait([self._task])
            self._task.exception()
            self._task = None

    async def shutdown(self) -> None:
        if self._task is not None:
            await self._turn("shutdown", self._task)
            await _ended(self._task, "the app's lifespan did not end")

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._to_app.get, self._from_app.put)
        finally:
            self._from_app.put_nowait({"type": _ENDED})

    async def _turn(self, what: str, task: asyncio.Task[None]) -> str:
        self._to_app.put_nowait({"type": f"lifespan.{what}"})
        answer = await self._from_app.get()
        if answer["type"] == f"lifespan.{what}.failed":
            await _ended(task, "the app's lifespan did not end")
            raise RuntimeError(f"lifespan {what} failed: {answer.get('message', '')}")
        return str(answer["type"])


class _Transport(httpx.AsyncBaseTransport):
    def __init__(
        self, app: ASGIApp, lifespan: _Lifespan, client: tuple[str, int], *, raise_app_exceptions: bool
    ) -> None:
        self._app, self._lifespan, self._client = app, lifespan, client
        self._raises = raise_app_exceptions

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        scope = http_scope(
            request.method,
            url.path,
            query=url.query,
            headers=[(name.lower(), value) for name, value in request.headers.raw],
            raw_path=url.raw_path.partition(b"?")[0],
            scheme=url.scheme,
            client=self._client,
            server=(url.host, url.port or (443 if url.scheme == "https" else 80)),
            state=self._lifespan.state.copy(),
        )
        assert isinstance(request.stream, httpx.AsyncByteStream)
        exchange = _Exchange(self._app, scope, request.stream, raises=self._raises)
        return await exchange.response()


class _Exchange(httpx.AsyncByteStream):
    """One request: the app in a task, its messages handed over one by one."""

    def __init__(self, app: ASGIApp, scope: Scope, body: httpx.AsyncByteStream, *, raises: bool) -> None:
        self._app, self._scope, self._raises = app, scope, raises
        self._body = aiter(body)
        headers = dict(scope["headers"])
        #: Bytes that are still to come; ``None`` when only the end tells.
        self._left = None if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
        self._body_ended = False
        #: ``None`` when the app has ended. Of one place, so that an app is no faster than who reads.
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=1)
        self._gone = asyncio.Event()
        self._complete = False
        self._task = asyncio.create_task(self._run())

    async def response(self) -> httpx.Response:
        try:
            start = await self._next("http.response.start")
        except BaseException:
            with suppress(Exception):
                await self.aclose()
            raise
        if start is None:
            return httpx.Response(500, content=b"Internal Server Error")
        headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
        return httpx.Response(start["status"], headers=headers, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._complete:
            message = await self._next("http.response.body")
            if message is None:
                raise httpx.RemoteProtocolError("the app broke off its response")
            self._complete = _last(message)
            if self._scope["method"] != "HEAD":
                yield bytes(message.get("body", b""))

    async def aclose(self) -> None:
        """The client is done: told of it, the app has to end."""
        self._gone.set()
        while not self._messages.empty():
            self._messages.get_nowait()
        try:
            await _ended(self._task, "the app did not end when its client was gone")
        except AssertionError:
            raise
        except Exception as error:
            if self._raises and not _from_leaving(error):
                raise

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        finally:
            if not self._gone.is_set():
                await self._messages.put(None)

    async def _next(self, kind: str) -> Message | None:
        """The app's next message of a kind; ``None`` when it ended without one."""
        while True:
            message = await self._messages.get()
            if message is None:
                await asyncio.wait([self._task])
                if self._raises:
                    self._task.result()
                    raise AssertionError("the app ended before its response was complete")
                return None
            if message["type"] == kind:
                return message

    async def _receive(self) -> Message:
        if self._body_ended:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        chunk = await anext(self._body, None)
        if chunk is None:
            self._body_ended = True
        elif self._left is not None:
            self._left -= len(chunk)
            self._body_ended = self._left <= 0
        return {"type": "http.request", "body": chunk or b"", "more_body": not self._body_ended}

    async def _send(self, message: Message) -> None:
        if not self._gone.is_set():
            await self._messages.put(message)
        elif not self._complete:
            # More than a server of this version of the protocol does, but an endless app has to end.
            raise _ClientLeft


_EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}
#: How our side of a lifespan notes that the app has ended.
_ENDED = "ended"


def _last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


class _ClientLeft(OSError):
    """What an app gets that sends to a client that is gone, and may let through."""


def _from_leaving(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, _ClientLeft):
        error = error.__cause__ or error.__context__
    return error is not None


async def _ended(task: asyncio.Task[None], complaint: str) -> None:
    """Wait for a task, and raise what it raised."""
    await asyncio.wait([task], timeout=_PATIENCE)
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        raise AssertionError(f"{complaint} within {_PATIENCE:g} s")
    task.result()
