"""What a handler is given: the request, and the reply that it makes."""

from collections.abc import Awaitable
from typing import Any, overload

import msgspec
from starlette.datastructures import URL, FormData, Headers, QueryParams, State
from starlette.exceptions import WebSocketException
from starlette.formparsers import MultiPartException
from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket, WebSocketState

from ramkit.kernel.asgi import Message, Receive, Scope, Send
from ramkit.kernel.headers import find
from ramkit.kernel.replies import Reply
from ramkit.router.core.cookies import cookies_of
from ramkit.router.errors import HTTPError
from ramkit.router.reply import Replying
from ramkit.router.socket import Socket

__all__ = ["Context", "Valid"]

_MISSING: Any = object()
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_JSON = b"application/json"

#: of a form; each part beyond them is a 400
_MAX_PARTS = 1000
#: WebSocket: normal closure, policy violation (RFC 6455 §7.4.1)
_DONE, _REFUSED = 1000, 1008


class Valid:
    """What ``validate`` made of the request; only what was asked for is there."""

    body: Any
    query: Any
    params: Any


class Context(Replying):
    """One request and its reply. Middlewares and the handler share it."""

    __slots__ = (
        "_read",
        "_request",
        "_valid",
        "_websocket",
        "max_body",
        "params",
        "receive",
        "scope",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, params: dict[str, Any], max_body: int
    ) -> None:
        # What Replying has, too: said here, because a call costs more than all of it.
        self.send = send
        self.began = False
        self._status = 0
        self._body = self._type = self._length = self._content = None
        self._headers = self.opened = None
        #: as ASGI has it, and as the innermost ASGI middleware left it
        self.scope, self.receive = scope, receive
        #: of the path, converted
        self.params = params
        #: bytes of a request's body that are read; more is a 413
        self.max_body = max_body
        self._request: Request | None = None
        self._websocket: WebSocket | None = None
        self._valid: Valid | None = None
        self._read = 0

    @property
    def request(self) -> Request:
        """Starlette's, for what is not here."""
        if self._request is None:
            self._request = Request(self.scope, self._bounded)
        return self._request

    @property
    def _connection(self) -> HTTPConnection:
        return self.websocket if self.scope["type"] == "websocket" else self.request

    @property
    def method(self) -> str:
        """In capitals, as it was sent; GET for a WebSocket."""
        method: str = self.scope.get("method", "GET")
        return method

    @property
    def path(self) -> str:
        """Decoded, with what was mounted above."""
        path: str = self.scope["path"]
        return path

    @property
    def route(self) -> str:
        """The template that matched, with the prefixes of mounts."""
        route: str = self.scope.get("ramkit.route", "")
        return route

    @property
    def url(self) -> URL:
        return URL(scope=self.scope)

    @property
    def query(self) -> QueryParams:
        return self._connection.query_params

    @property
    def headers(self) -> Headers:
        """The request's."""
        return Headers(scope=self.scope)

    @property
    def cookies(self) -> dict[str, str]:
        """Of one name the last counts."""
        return cookies_of(self.headers.getlist("cookie"))

    @property
    def state(self) -> State:
        """The request's own, beginning with what the lifespan gave."""
        return self._connection.state

    @property
    def user(self) -> Any:
        """Whom an authenticating middleware let in; None where there is none."""
        return self.scope.get("user")

    @property
    def session(self) -> Any:
        """Of a session middleware. Raises ``RuntimeError`` where there is none."""
        if "session" not in self.scope:
            raise RuntimeError("there is no session: add a SessionMiddleware")
        return self.scope["session"]

    @property
    def valid(self) -> Valid:
        """What ``validate`` made of body, query and params."""
        if self._valid is None:
            self._valid = Valid()
        return self._valid

    @property
    def websocket(self) -> WebSocket:
        """Starlette's; a frame of the wrong type closes it. Raises ``RuntimeError`` for an HTTP request."""
        if self.scope["type"] != "websocket":
            raise RuntimeError("this is no WebSocket")
        if self._websocket is None:
            self._websocket = Socket(self.scope, self.receive, self.send)
        return self._websocket

    async def body(self) -> bytes:
        """All of it. Raises ``HTTPError`` 413."""
        return await self.request.body()

    async def form(self) -> FormData:
        """Fields and files (``multipart/form-data`` or urlencoded), closed with the request. Raises
        ``HTTPError`` 413, and 400 for one that cannot be read."""
        try:
            form = await self.request.form(
                max_files=_MAX_PARTS, max_fields=_MAX_PARTS, max_part_size=self.max_body
            )
        except MultiPartException as error:
            raise HTTPError(400, error.message) from None
        self.closes(form)
        return form

    async def _read_json(self) -> Any:
        if not self.is_json():
            raise HTTPError(415, "JSON is wanted: Content-Type must be application/json.")
        try:
            return _decode(await self.body())
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise HTTPError(400, f"The body is no JSON: {error}") from None

    def is_json(self) -> bool:
        """Whether the request says that its body is JSON. No browser sends that from another site unasked."""
        kind = (find(self.scope["headers"], b"content-type") or b"").split(b";")[0].strip().lower()
        return kind == _JSON or (kind.startswith(b"application/") and kind.endswith(b"+json"))

    async def _bounded(self) -> Message:
        if not self._read:
            # One that says so is refused before the client is asked to go on (RFC 9110 §10.1.1).
            length = find(self.scope["headers"], b"content-length") or b""
            self._bound(int(length[:20]) if length.isdigit() else 0)
        message = await self.receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._bound(self._read)
        return message

    def _bound(self, size: int) -> None:
        if size > self.max_body:
            raise HTTPError(413, f"A body has at most {self.max_body} bytes here.")

    @overload
    def json(self) -> Awaitable[Any]: ...
    @overload
    def json(self, value: object) -> None: ...
    def json(self, value: Any = _MISSING) -> Awaitable[Any] | None:
        """``await ctx.json()`` reads the request's; ``ctx.json(value)`` replies: what msgspec encodes.

        Reading raises ``HTTPError``: 413, 415 where the request does not say that it is JSON, 400.
        """
        if value is _MISSING:
            return self._read_json()
        if self.began:
            self._unsent()
        self._body, self._type = _encode(value), _JSON
        self._content = self._length = None
        return None

    @property
    def silent(self) -> bool:
        """Whether the client has heard nothing yet."""
        socket = self._websocket
        return not self.began and (socket is None or socket.application_state is WebSocketState.CONNECTING)

    async def finish_socket(self) -> None:
        """A reply refuses a WebSocket's handshake; what was accepted and is still open is closed."""
        if self.began:
            return
        self.began = True
        state = self.websocket.application_state
        failed = self._status >= 400
        if state is WebSocketState.CONNECTING:
            pairs = [] if self._type is None else [(b"content-type", self._type)]
            refusal = Reply(self._status or 403, [*pairs, *(self._headers or ())], self._body or b"")
            await refusal(self.scope, self.receive, self.send)
        elif self._open():
            await self.websocket.close(_REFUSED if failed else _DONE)

    async def hang_up(self, error: WebSocketException) -> None:
        """Close a WebSocket, if it is not, with what the error says."""
        self.began = True
        if self._open():
            await self.websocket.close(error.code, error.reason)

    def _open(self) -> bool:
        """Whether neither side has closed it."""
        socket, closed = self.websocket, WebSocketState.DISCONNECTED
        return socket.application_state is not closed and socket.client_state is not closed

    def enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on inside of an ASGI middleware, with what it hands on."""
        if scope is not self.scope or receive is not self.receive:
            self._request = None
        self._websocket = None
        self.scope, self.receive, self.send = scope, receive, send
