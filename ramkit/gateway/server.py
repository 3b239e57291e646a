"""uvicorn's HTTP protocol, with what a gateway needs beyond it.

- Request trailers are dropped: uvicorn takes them for header fields, which RFC 9110 §6.5.1 forbids.
- Heads are bounded in size and time, trailers in size: uvicorn with httptools reads any, for ever.
- What is in front of a parsing error in the same read begins no request.
- What cannot be read while an earlier request is being answered ends the connection, without a word in the
  middle of that response, and so does an upgrade there. When the connection ends, that request hears of it.
- A response's head and the first piece of its body go out in one write, if they are sent in one turn.
- Interim responses (§15.2) can be sent: a scope offers the extension ``ramkit.response.interim``. The message
  of that name has ``status``, 102 to 199, and ``headers``; it may be sent, more than once, before
  ``http.response.start``.
"""

import asyncio
from collections.abc import Awaitable
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

    #: bytes of a head, and of the trailers
    max_head = 65536
    #: seconds that a head may take, and the first one of a connection may be waited for
    head_timeout = 30.0
    _in_head = _in_message = _moved = False
    _unparsed = 0
    _due: asyncio.TimerHandle | None = None
    #: the cycle of the request that is being answered, or was last; ``cycle`` may be one that waits
    _running: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._in_head = True
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_head = False
        self._watch_head()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """A timer runs while a head is incomplete; most are complete when they arrive and need none."""
        if self._in_head:
            if self._due is None:
                self._due = self.loop.call_later(self.head_timeout, self.transport.close)
        elif self._due is not None:
            self._due.cancel()
            self._due = None

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _answering(self) -> bool:
        """Whether the next response on this connection is that of an earlier request, or has begun."""
        running = self._running
        return (
            running is not None
            and not running.response_complete
            and (running.scope is not self.scope or running.response_started)
        )

    def data_received(self, data: bytes) -> None:
        self._moved = False
        super().data_received(data)
        if self._moved:
            self._unparsed = 0
        elif self._in_message:
            self._unparsed += len(data)
            if self._unparsed > self.max_head and not self.transport.is_closing():
                if self._in_head and not self._answering():
                    self.transport.write(_TOO_LARGE)
                self.transport.close()
        self._watch_head()

    def send_400_response(self, msg: str) -> None:
        cycle: Any = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            cycle.disconnected = True
        if self._answering():
            self.transport.close()
        else:
            super().send_400_response(msg)

    def handle_websocket_upgrade(self) -> None:
        if self._answering():
            self.transport.close()
        else:
            super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        self._in_head = self._in_message = self._moved = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._moved = False, True
        # It makes the request's cycle, whose task begins after this.
        super().on_headers_complete()
        cycle: Any = self.cycle
        # The cycle is the last request's if this one becomes a WebSocket.
        if cycle is None or cycle.scope is not self.scope:
            return
        self.headers = []  # where the trailers go, and nobody looks; the scope has its own list
        cycle.transport = writer = _Writer(self.loop, self.transport)
        if cycle.scope["http_version"] == "1.1":
            cycle.scope["extensions"] = {INTERIM: {}}
            cycle.send = partial(_send, cycle, writer, cycle.send)

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()


class _Writer:
    """The transport as a cycle sees it: its first write, the response's head, waits for the second one, but
    not beyond this turn of the loop."""

    __slots__ = ("_began", "_held", "_loop", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop, self._transport = loop, transport
        self._began, self._held = False, b""

    def write(self, data: bytes) -> None:
        if not self._began:
            self._began, self._held = True, data
            self._loop.call_soon(self.flush)
        elif self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        else:
            self._transport.write(data)

    def interim(self, data: bytes) -> None:
        """Before the head."""
        self._transport.write(data)

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def _send(cycle: Any, writer: _Writer, send: Send, message: Message) -> Awaitable[None]:
    if message["type"] != INTERIM:
        return send(message)
    if not (cycle.response_started or cycle.disconnected):
        writer.interim(_head(message["status"], message["headers"]))
    return asyncio.sleep(0)


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
