"""ASGILint: checks that both sides of an ASGI connection keep to the specification.

    app = ASGILint(MyMiddleware(ASGILint(app)))

Put it around an app, inside a middleware, or on both sides of one. It checks what the server (or
the middleware outside) hands in and what the app sends, for http, websocket and lifespan scopes of
ASGI 3.0 (HTTP and WebSocket message format 2.0 to 2.5, lifespan 2.0, and the extensions that
asgiref documents). Other scope types pass through unseen.

An offence raises `LintError` at the call that commits it, and is kept in ``lint.errors``, because
apps and middlewares may swallow exceptions: end a test with ``lint.check()``.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Literal, Protocol, TypeAlias

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send
from ramkit.testing.lint._http import HTTPConnection
from ramkit.testing.lint._lifespan import LifespanConnection
from ramkit.testing.lint._rules import LintError, check_message, inspectable, require
from ramkit.testing.lint._scope import check_scope
from ramkit.testing.lint._websocket import WebSocketConnection

__all__ = ["ASGILint", "LintError"]

_Side: TypeAlias = Literal["both", "app", "server"]


class ASGILint:
    """An app that calls ``app`` and checks what passes between it and its server.

    ``side`` says who is held to the specification: the ``"app"``, the ``"server"``, or ``"both"``.

    Messages are handed on as the objects they are. The one exception: where headers are a one-shot
    iterator, a fresh iterator over the same pairs takes its place, because looking used it up.

    Where it goes beyond the letter, or falls short of it, it follows what servers and Starlette do:

    - request header names must be in lower case, because every framework looks them up so;
    - a body may be a bytearray or memoryview, which Starlette sends and uvicorn writes;
    - body bytes in answer to HEAD are allowed, because Starlette leaves dropping them to the server;
    - a WebSocket may be refused before ``websocket.connect`` was received, as Starlette's router does;
    - a response header must be one that HTTP allows (RFC 9110 §5), so no CR, LF or NUL.
    """

    def __init__(self, app: ASGIApp, *, side: _Side = "both") -> None:
        self.app = app
        #: the offences so far, over all connections, oldest first
        self.errors: list[LintError] = []
        self._side: _Side = side

    def check(self) -> None:
        """Raises the first offence, if any, with notes of the others."""
        if self.errors:
            first, *others = self.errors
            for other in others:
                note = f"then {other}"
                if note not in getattr(first, "__notes__", ()):
                    first.add_note(note)
            raise first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        make = _CONNECTIONS.get(scope.get("type", ""))
        if make is None:
            await self.app(scope, receive, send)
            return
        seen, handed = inspectable(scope)
        # In place: what the app writes into its scope must still reach whoever made the scope.
        scope.update(handed)
        blame = _Blame(self.errors, self._side)
        with blame("server"):
            check_scope(seen)
        await _Watch(self.app, blame, make(scope), receive, send).run(scope)


class _Connection(Protocol):
    """The state of one connection; each method raises LintError."""

    #: the client has left, so the app owes it nothing
    gone: bool
    #: two receive() have waited at once: who gets what is then not specified
    overlapped: bool

    def received(self, message: Message) -> None: ...

    def sending(self, message: Message) -> None: ...

    def returned(self) -> None: ...


_CONNECTIONS: dict[str, Callable[[Scope], _Connection]] = {
    "http": HTTPConnection,
    "websocket": WebSocketConnection,
    "lifespan": LifespanConnection,
}


class _Blame:
    """Keeps one connection's offences of the sides that are checked, and lets go of the others."""

    def __init__(self, errors: list[LintError], side: _Side) -> None:
        self.blamed = False
        self._errors = errors
        self._side = side

    @contextmanager
    def __call__(self, side: Literal["app", "server"]) -> Generator[None]:
        try:
            yield
        except LintError as error:
            self.blamed = True
            if self._side in ("both", side):
                self._errors.append(error)
                raise


class _Watch:
    """``receive`` and ``send`` of one connection, checked."""

    def __init__(
        self, app: ASGIApp, blame: _Blame, connection: _Connection, receive: Receive, send: Send
    ) -> None:
        self._app: Callable[[Scope, Receive, Send], Awaitable[object]] = app
        self._blame = blame
        self._connection = connection
        self._receive = receive
        self._send = send
        self._returned = False
        self._receiving = 0

    async def run(self, scope: Scope) -> None:
        try:
            result = await self._app(scope, self.receive, self.send)
        finally:
            self._returned = True
        if self._blame.blamed:
            return  # what is missing at the end would be a consequence
        with self._blame("app"):
            kind = type(result).__name__
            require(result is None, "return-value", f"the app returned {kind}", "ASGI, Applications")
            self._connection.returned()

    async def receive(self) -> Message:
        self._check_running("receive")
        self._connection.overlapped |= self._receiving > 0
        self._receiving += 1
        try:
            message = await self._receive()
        finally:
            self._receiving -= 1
        with self._blame("server"):
            check_message(message)
            self._connection.received(message)
        return message

    async def send(self, message: Message) -> None:
        self._check_running("send")
        seen, handed = inspectable(message)
        with self._blame("app"):
            check_message(seen)
            self._connection.sending(seen)
        try:
            await self._send(handed)
        except OSError:
            self._connection.gone = True
            raise

    def _check_running(self, name: str) -> None:
        with self._blame("app"):
            problem = f"{name}() after the app returned"
            require(not self._returned, "after-return", problem, "ASGI, Extra Coroutines")
