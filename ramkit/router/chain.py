"""Middlewares in a row, a handler at its end, and ASGI middlewares among them."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send, raw_headers
from ramkit.kernel.errors import ConfigurationError
from ramkit.router.context import Context
from ramkit.router.rendering import rendered

__all__ = [
    "ErrorHandler",
    "Handler",
    "Middleware",
    "Next",
    "Wrapped",
    "compose",
    "finish",
    "is_middleware",
    "settle",
]

Handler: TypeAlias = Callable[[Context], Awaitable[None]]
Next: TypeAlias = Callable[[], Awaitable[None]]
Middleware: TypeAlias = Callable[[Context, Next], Awaitable[None]]
ErrorHandler: TypeAlias = Callable[[Context, Exception], Awaitable[None]]

#: in a scope, for a moment: what an ASGI middleware is around this time
_INSIDE = "ramkit.router.inside"


def compose(middleware: tuple[Middleware, ...], handler: Handler) -> Handler:
    """One handler of all; the first is the outermost."""
    for each in reversed(middleware):
        handler = _around(each, handler)
    return handler


def _around(middleware: Middleware, inner: Handler) -> Handler:
    async def run(ctx: Context) -> None:
        await middleware(ctx, partial(inner, ctx))

    return run


def is_middleware(function: Any) -> bool:
    """Whether it takes ``(ctx, next)``, not ``(ctx)``. Raises ``ConfigurationError`` for neither."""
    name = getattr(function, "__qualname__", repr(function))
    if not callable(function):
        raise ConfigurationError("handler", f"{name} is not callable")
    if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine will do
    ):
        raise ConfigurationError(
            "handler", f"{name} is no async function; a plain one would block the others"
        )
    needed = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) and each.default is each.empty
    ]
    if len(needed) not in (1, 2):
        raise ConfigurationError("handler", f"{name} takes neither (ctx) nor (ctx, next)")
    return len(needed) == 2


async def answer(ctx: Context, run: Handler) -> None:
    """Run, and send the reply, or what an ``HTTPException`` is answered with. Other exceptions come out."""
    try:
        await run(ctx)
        await finish(ctx)
    except Exception as error:
        await settle(ctx, error, None)


async def finish(ctx: Context) -> None:
    """Send the reply."""
    await (ctx.finish_socket() if ctx.scope["type"] == "websocket" else ctx.finish())


async def settle(ctx: Context, error: Exception, on_error: ErrorHandler | None) -> None:
    """Answer an error; one that nothing answers, or that comes too late, is raised on."""
    if isinstance(error, ClientDisconnect | WebSocketDisconnect):
        return  # nobody is left to answer
    if ctx.began:
        raise error
    ctx.reset()
    if on_error is not None:
        try:
            await on_error(ctx, error)
        except HTTPException as another:
            ctx.reset()
            error = another
        if ctx.replied:
            await finish(ctx)
            return
    if isinstance(error, WebSocketException) and ctx.scope["type"] == "websocket":
        await ctx.hang_up(error)
        return
    if not isinstance(error, HTTPException):
        raise error
    reply = rendered(error)
    ctx.adopt(reply.status, reply.headers, reply.body)
    await finish(ctx)


class Wrapped:
    """An ASGI middleware as one of RamAPI's: ``app.use(asgi_middleware(GZipMiddleware, minimum_size=500))``.

    It is made once, here, and learns of the lifespan. A reply that it sends whole is held until the outer
    middlewares had their say; one in pieces is sent as it comes, so that they cannot add to it any more.
    """

    def __init__(self, middleware: Callable[..., ASGIApp], /, **options: Any) -> None:
        self.app = middleware(_inside, **options)
        #: what OpenAPI calls the way to get past it, if it asks for credentials
        self.security: dict[str, Any] | None = None

    async def __call__(self, ctx: Context, next: Next) -> None:  # noqa: A002 - as middlewares call it
        outer = ctx.receive, ctx.send
        held = _Held(ctx.send)

        async def inside(scope: Scope, receive: Receive, send: Send) -> None:
            ctx.enter(scope, receive, send)
            await answer(ctx, _then(next))

        ctx.scope[_INSIDE] = inside
        failed: Exception | None = None
        try:
            await self.app(ctx.scope, ctx.receive, held)
        except Exception as error:
            failed = error
        finally:
            ctx.enter(ctx.scope, *outer)
            ctx.began = held.passed
        if held.body is not None:
            ctx.adopt(held.status, held.headers, held.body)
        if failed is not None:
            if held.body is not None:
                await finish(ctx)  # it failed in what it does when it has answered
            raise failed

    async def lifespan(self, inside: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """A lifespan around another one's."""
        scope[_INSIDE] = inside
        await self.app(scope, receive, send)


async def _inside(scope: Scope, receive: Receive, send: Send) -> None:
    await scope.pop(_INSIDE)(scope, receive, send)


def _then(next: Next) -> Handler:  # noqa: A002 - as middlewares call it
    async def run(ctx: Context) -> None:  # noqa: ARG001 - next knows it
        await next()

    return run


class _Held:
    """Keeps a response that comes in one piece, and lets any other pass."""

    __slots__ = ("_send", "_start", "body", "headers", "passed", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self.passed = False
        self.body: bytes | None = None
        self.status, self.headers = 0, list[tuple[bytes, bytes]]()

    async def __call__(self, message: Message) -> None:
        if not self.passed:
            if message["type"] == "http.response.start":
                self._start = message
                return
            start, self._start = self._start, None
            if start is not None:
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    headers: RawHeaders = raw_headers(start)
                    self.status, self.headers, self.body = (
                        start["status"],
                        headers,
                        bytes(message.get("body", b"")),
                    )
                    return
                self.passed = True
                await self._send(start)
            elif message["type"].startswith("websocket."):
                self.passed = True
        await self._send(message)
