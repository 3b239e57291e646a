"""One request with its session: what is stored before the response starts, and after."""

import logging

from ramkit.auth.sessions.errors import SessionTooLarge
from ramkit.auth.sessions.keeping import Keeping, Late
from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send, raw_headers
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.headers import without
from ramkit.kernel.replies import Reply, problem

__all__ = ["Exchange"]

_log = logging.getLogger("ramkit.auth")

_STARTS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start", "websocket.close"}
)
_CACHING = frozenset({b"cache-control", b"expires"})
_VARY, _PRIVATE = (b"vary", b"Cookie"), (b"cache-control", b"private, no-cache")
_BAD = (SessionTooLarge, TypeError)


class Exchange:
    """Passes an app's messages on; before the first of a response it stores the session."""

    __slots__ = ("_error", "_keeping", "_receive", "_scope", "_send", "_started", "_stopped")

    def __init__(self, keeping: Keeping, scope: Scope, receive: Receive, send: Send) -> None:
        self._keeping, self._scope, self._receive, self._send = keeping, scope, receive, send
        self._started = self._stopped = False
        self._error: Exception | None = None

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive, self.send)
        except Unavailable as error:
            if self._started or not self._keeping.session.failed:
                raise
            await self._answer(error)
            return
        if self._started and not self._stopped and self._keeping.session.accessed:
            await self._keep_late()  # a stream, a background task or a WebSocket may have changed it
        if self._error is not None:
            raise self._error

    async def send(self, message: Message) -> None:
        if self._stopped:
            return  # it was answered already, otherwise than the app wanted
        if not self._started and message["type"] in _STARTS:
            started = await self._begin(message)
            if started is None:
                return
            message = started
        await self._send(message)

    async def _begin(self, message: Message) -> Message | None:
        """The first message of the response, once the session is stored: the client's next request finds
        it. None when it was not, and that was the answer."""
        able = message["type"] != "websocket.close" and not (
            message["type"] == "websocket.accept" and _version(self._scope) < (2, 1)
        )
        try:
            pending = self._keeping.pending()
            cookie = await self._keeping.keep(self._scope, cookie=able) if pending else None
        except Late:
            _log.error("a session was begun or renewed where no cookie can be sent: it was not stored")
            cookie = None
        except Unavailable as error:
            _log.warning("a session was not stored: %s", error)
            await self._answer(error)
            return None
        except _BAD as error:
            self._error = error
            await self._answer(error)
            return None
        self._started = True
        if not self._keeping.session.accessed or not able:
            return message
        return {**message, "headers": _headers(message, cookie, http=message["type"] != "websocket.accept")}

    async def _keep_late(self) -> None:
        """What was changed while the response went out, or in a background task, or in a WebSocket."""
        try:
            if self._keeping.pending():
                await self._keeping.keep(self._scope, cookie=False)
        except Late:
            _log.error(
                "a session was begun or renewed after its response had started, when no cookie could be "
                "sent: it was not stored"
            )
        except (Unavailable, *_BAD):
            _log.exception("what changed in a session after its response had started was not stored")

    async def _answer(self, error: Exception) -> None:
        self._started = self._stopped = True
        await _reply_to(error)(self._scope, self._receive, self._send)


def _reply_to(error: Exception) -> Reply:
    if isinstance(error, Unavailable):
        retry = str((error.headers or {}).get("retry-after", 1)).encode()
        return problem(
            503, detail="The session is not available at the moment.", headers=[(b"retry-after", retry)]
        )
    return problem(500)


def _version(scope: Scope) -> tuple[int, ...]:
    text: str = scope.get("asgi", {}).get("spec_version", "2.0")
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _headers(message: Message, cookie: bytes | None, *, http: bool) -> list[tuple[bytes, bytes]]:
    """The app's, and that the response is one client's own (RFC 9111 §4.1, §5.2.2.7)."""
    headers = raw_headers(message)
    if http:
        vary, said = b"", False
        for name, value in headers:
            if name == b"vary":
                vary += b", " + value
            elif name in _CACHING:
                said = True
        if not vary:
            headers.append(_VARY)
        elif not {name.strip().lower() for name in vary.split(b",")} & {b"cookie", b"*"}:
            headers = [*without(headers, b"vary"), (b"vary", vary[2:] + b", Cookie")]
        if not said:
            headers.append(_PRIVATE)
    if cookie:
        headers.append((b"set-cookie", cookie))
    return headers
