"""uvicorn's HTTP protocol, with what a gateway needs beyond it.

Request trailers are dropped: uvicorn takes them for header fields, which RFC 9110 §6.5.1 forbids. A head is
bounded in size and time: uvicorn with httptools reads one of any size, for ever. And interim responses
(§15.2) can be sent: a scope offers the extension ``ramkit.response.interim``. The message of that name has
``status``, 102 to 199, and ``headers``; it may be sent, more than once, before ``http.response.start``.
"""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ramkit.gateway.exchange import INTERIM
from ramkit.kernel.asgi import Message, RawHeaders, Send
from ramkit.kernel.headers import well_formed

__all__ = ["Protocol"]

_PROBLEM = b'{"type": "about:blank", "title": "Request Header Fields Too Large", "status": 431}'
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_PROBLEM), _PROBLEM)
)


class Protocol(HttpToolsProtocol):
    """For ``uvicorn.Config(http=Protocol)``."""

    #: bytes of a request's head
    max_head = 65536
    #: seconds that a head may take, and the first one of a connection may be waited for
    head_timeout = 30.0
    _in_head = False
    _unparsed = 0
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def _begin_head(self) -> None:
        self._in_head = True
        if self._due is None:
            self._due = self.loop.call_later(self.head_timeout, self.transport.close)

    def _end_head(self) -> None:
        self._in_head = False
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._unparsed += len(data)
            if self._unparsed > self.max_head and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        # What came before the error, in the same read, must not begin a request.
        cycle: Any = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            cycle.disconnected = True
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._unparsed = 0
        self._begin_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._end_head()
        # It makes the request's cycle, whose task begins after this.
        super().on_headers_complete()
        cycle: Any = self.cycle
        # The cycle is the last request's if this one becomes a WebSocket.
        if cycle is not None and cycle.scope is self.scope and cycle.scope["http_version"] == "1.1":
            cycle.scope["extensions"] = {INTERIM: {}}
            cycle.send = partial(_send, cycle, cycle.send)


async def _send(cycle: Any, send: Send, message: Message) -> None:
    if message["type"] != INTERIM:
        await send(message)
    elif not (cycle.response_started or cycle.disconnected):
        cycle.transport.write(_head(message["status"], message["headers"]))


def _head(status: int, headers: RawHeaders) -> bytes:
    if not 102 <= status < 200 or not well_formed(headers):
        raise RuntimeError(f"no interim response: {status} {headers}")
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {status} {phrase}\r\n".encode()]
    lines += [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([*lines, b"\r\n"])
