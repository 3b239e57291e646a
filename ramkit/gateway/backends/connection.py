"""One HTTP/1.1 connection to a server (RFC 9112); its grammar is llhttp's, by httptools, without leniency."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from ramkit.gateway.errors import BadRequest, BadResponse, ConnectFailed, UpstreamReset
from ramkit.gateway.port import Head, Request
from ramkit.kernel.asgi import RawHeaders

__all__ = ["HTTPConnection"]

#: Interim responses before one request's final one.
_MAX_INTERIM = 16
#: without a body, whatever their fields say (RFC 9112 §6.3)
_BODILESS = frozenset({204, 304})


class HTTPConnection(asyncio.Protocol):
    """Fulfils ``Connection``. ``give_back`` is called with it when it can take another exchange."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        give_back: "Callable[[HTTPConnection], None]",
        address: tuple[str, str, int],
        max_head: int,
        buffer: int,
    ) -> None:
        self.address, self.idle_since, self.reused = address, 0.0, False
        self._loop, self._give_back = loop, give_back
        self._max_head, self._buffer = max_head, buffer
        self._parser: httptools.HttpResponseParser | None = None
        self._transport = cast(asyncio.Transport, None)
        self.open = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._full = False
        self._timer: asyncio.TimerHandle | None = None
        self._asked = False
        self._reset()

    def _reset(self) -> None:
        """For the next exchange."""
        self.trailers: RawHeaders = []
        self._heads: deque[Head] = deque()
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._error: Exception | None = None
        #: Of the request: bytes still to be sent, None if its framing is chunked; whether its end was sent.
        self._left: int | None = 0
        self._sent = False
        #: Of the response: its final head is there; it is complete; it ends when the server closes.
        self._headed = self._complete = self._until_close = False
        self._keep = False
        self._interim = 0
        self._headers: RawHeaders = []
        #: Bytes read since the parser last had something to say, and of fields of this head or trailer.
        self._unread = self._fields = 0

    # -- the exchange ------------------------------------------------------------------------------

    async def send(self, request: Request) -> None:
        if not self.open:
            raise ConnectFailed("closed before the request was sent")
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        self._asked, self._is_head = True, request.method == b"HEAD"
        self._left, self._sent = request.length, not request.more
        parts = [request.method, b" ", request.target, b" HTTP/1.1\r\n"]
        for name, value in request.headers:
            parts += (name, b": ", value, b"\r\n")
        if request.length is None:
            parts.append(b"transfer-encoding: chunked\r\n\r\n")
        elif request.length or request.more or request.method not in _WITHOUT_BODY:
            parts.append(b"content-length: %d\r\n\r\n" % request.length)
        else:
            parts.append(b"\r\n")
        if request.body or request.length is None:
            parts += self._framed(request.body, more=request.more)
        elif request.length and not request.more:
            raise self._short()
        self._transport.write(b"".join(parts))
        if self._full:
            await self._drain()

    async def write(self, body: bytes, *, more: bool) -> None:
        if self._error is not None:
            raise self._error
        if not self.open:
            raise UpstreamReset("closed while the request was sent")
        framed = self._framed(body, more=more)
        self._sent = not more
        if framed:
            self._transport.write(b"".join(framed))
        if self._full:
            await self._drain()

    def _framed(self, body: bytes, *, more: bool) -> tuple[bytes, ...]:
        """As it goes out (RFC 9112 §6.2, §7.1): never more or less than was announced."""
        if self._left is None:
            end = b"" if more else b"0\r\n\r\n"
            return (b"%x\r\n" % len(body), body, b"\r\n", end) if body else (end,)
        self._left -= len(body)
        if self._left < 0 or (self._left and not more):
            raise self._short()
        return (body,)

    def _short(self) -> BadRequest:
        error = BadRequest("the body is not as long as its Content-Length says")
        self.done(error)
        return error

    async def _drain(self) -> None:
        self._drained = self._loop.create_future()
        try:
            await self._drained
        finally:
            self._drained = None
        if self._error is not None:
            raise self._error

    async def head(self) -> Head:
        while self._error is None:
            if self._heads:
                return self._heads.popleft()
            await self._wait()
        raise self._error

    async def read(self) -> bytes:
        while self._error is None:
            if self._chunks:
                chunks, self._chunks, self._size = self._chunks, [], 0
                if self._paused:
                    self._paused = False
                    self._transport.resume_reading()
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if self._complete:
                return b""
            await self._wait()
        raise self._error

    @property
    def ended(self) -> bool:
        return self._complete and not self._chunks and self._error is None

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def limit(self, seconds: float | None, error: Exception) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None and not self._complete:
            self._timer = self._loop.call_later(seconds, self.done, error)

    def done(self, error: Exception | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reusable = self.open and self._complete and self._sent and self._keep and not self._chunks
        if error is None and reusable and self._error is None and not self._full:
            self._asked = False
            self._reset()
            self._give_back(self)
            return
        self._fail(error or UpstreamReset("the exchange was given up"))
        self.open = False
        # Not close(), which would first send what is buffered, to a server that may never read it.
        self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self.open = False
        self._transport.close()

    def fileno(self) -> int:
        """The socket's."""
        return cast(int, self._transport.get_extra_info("socket").fileno())

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._wake()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # -- what the loop tells -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or not self._asked or self._complete:
            self._broken("bytes that belong to no response")
            return
        self._unread += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._broken(str(error.__context__ or error))
            return
        if self._unread > self._max_head:
            self._broken("a head, trailer or chunk extension that is too large")

    def _broken(self, problem: str) -> None:
        self.open = False
        # What follows a complete response belongs to none (RFC 9112 §6.3): the response stands, and ends
        # the connection, so that nobody takes the rest for an answer.
        if not self._complete:
            self._fail(BadResponse(problem))
        self._transport.abort()

    def eof_received(self) -> None:
        if self._until_close and not self._complete:
            self._end(keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if not self._complete:
            self._fail(UpstreamReset(str(exc or "closed by the server")))
        elif self._drained is not None:
            self._fail(UpstreamReset("closed while the request was sent"))

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # -- what the parser tells ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._headed:
            raise BadResponse("bytes after the end of the response")
        self._headers, self._fields = [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += len(name) + len(value) + 4
        if self._fields > self._max_head:
            raise BadResponse("a head or trailer that is too large")
        (self.trailers if self._headed else self._headers).append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = cast(httptools.HttpResponseParser, self._parser)
        status = parser.get_status_code()
        # RFC 9110 §2.5, §15; 101 answers an Upgrade, which is never sent from here
        version = parser.get_http_version()
        if version not in ("1.1", "1.0") or not 100 <= status < 600 or status == 101:
            raise BadResponse(f"status {status} of HTTP/{version}")
        self._heads.append(Head(status, self._headers))
        self._unread = self._fields = 0
        if status < 200:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise BadResponse("too many interim responses")
            self._wake()
            return
        self._headed = True
        codings = [value.lower() for name, value in self._headers if name == b"transfer-encoding"]
        if any(coding in line for line in codings for coding in _COMPRESSIONS):
            raise BadResponse(f"transfer codings that nobody asked for: {codings}")
        if self._is_head or status in _BODILESS:
            # llhttp knows no requests and would wait for a body: this parser has served.
            self._end(keep=_persists(version, self._headers))
            self._parser = None
            return
        chunked = bool(codings) and codings[-1].rpartition(b",")[2].strip() == b"chunked"
        self._until_close = not chunked and all(name != b"content-length" for name, _ in self._headers)
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._complete:
            raise BadResponse("a body where there can be none")
        self._unread = 0
        self._chunks.append(body)
        self._size += len(body)
        if self._size > self._buffer and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._headed and not self._complete:
            self._end(keep=cast(httptools.HttpResponseParser, self._parser).should_keep_alive())

    def _end(self, *, keep: bool) -> None:
        self._complete, self._keep, self._unread = True, keep, 0
        self._wake()


#: Transfer codings change the body and need TE (RFC 9112 §7.4), which is never sent for these. Others than
#: these and ``chunked`` are not known: the body is read to the connection's end (§6.3).
_COMPRESSIONS = (b"gzip", b"deflate", b"compress")
#: methods for which no Content-Length of 0 is due (RFC 9110 §8.6)
_WITHOUT_BODY = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"})


def _persists(version: str, headers: RawHeaders) -> bool:
    """RFC 9112 §9.3."""
    options = {
        option.strip().lower()
        for name, value in headers
        if name == b"connection"
        for option in value.split(b",")
    }
    return version == "1.1" and b"close" not in options
