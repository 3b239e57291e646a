"""The access log."""

import logging
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from random import getrandbits

from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send, file_bytes, raw_headers
from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import find, find_all, without
from ramkit.kernel.lifespan import follow_lifespan
from ramkit.kernel.observers import Observer
from ramkit.kernel.principal import principal_name
from ramkit.kernel.routes import template
from ramkit.kernel.trace import TRACEPARENT, parent_of
from ramkit.logs.core.line import Line, Stamp, encode, is_request_id
from ramkit.logs.core.redaction import SECRETS, Redaction, shown
from ramkit.logs.correlation import span_reader
from ramkit.logs.policy import Dates
from ramkit.logs.sink import Sink

__all__ = ["AccessLogMiddleware"]

_logger = logging.getLogger("ramkit")

_REQUEST_ID = b"x-request-id"
_AGENT = b"user-agent"
_CACHES = frozenset({b"cache-status", b"x-cache"})
_BODIES = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
#: nobody was there to be answered, as nginx says it
_CLIENT_LEFT = 499
#: RFC 6455 §7.1.5: the connection broke
_ABNORMAL = 1006


class AccessLogMiddleware:
    """Logs each request and WebSocket as one line of JSON when it is over. The outermost one.

    ``sink``: a ``Sink``, or what one is made of. ``trusted_proxies``: whose ``X-Request-ID`` is taken and who
    says where the client is; else the id is made, and the peer is the client. The id goes out as
    ``X-Request-ID``. ``dates``: how times are written. ``redact``: patterns of the names of query parameters
    and headers whose values are hidden. ``request_headers``, ``response_headers``: names of those that are
    logged; never in clear are Authorization, Proxy-Authorization, Cookie and Set-Cookie. ``route``: a
    function of the scope, called when the request is over, that gives its template, or None to look for it
    here. ``observers``: of the sink, if it is made here.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        sink: str | Sink = "stdout",
        trusted_proxies: TrustedProxies | None = None,
        dates: Dates = "rfc3339",
        redact: Collection[str] = SECRETS,
        request_headers: Iterable[str] = (),
        response_headers: Iterable[str] = (),
        route: Callable[[Scope], str | None] | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if route is not None and not callable(route):
            raise ConfigurationError("route", f"{route!r} is not callable")
        self.app = app
        clock = clock or SystemClock()
        self.time, self.now = clock.time, clock.monotonic
        if isinstance(sink, str):
            sink = Sink(sink, dates=dates, clock=clock, observers=observers)
        elif observers:
            raise ConfigurationError("observers", "belong to the sink that was made elsewhere")
        self.sink, self.stamp, self.redaction = sink, Stamp(dates), Redaction(redact)
        self.proxies = trusted_proxies or TrustedProxies()
        self.request_headers = _names("request_headers", request_headers)
        self.response_headers = _names("response_headers", response_headers)
        self.noted = self.request_headers | {_REQUEST_ID, TRACEPARENT}
        self.answered = self.response_headers | _CACHES | {_REQUEST_ID}
        self.route, self.span = route, span_reader()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, self.sink)
            return
        if kind == "http":
            exchange = _Exchange(self, scope, receive, send)
        elif kind == "websocket":
            exchange = _Socket(self, scope, receive, send)
        else:
            await self.app(scope, receive, send)
            return
        try:
            with exchange.context.active():
                await self.app(scope, exchange.receive, exchange.send)
        except Exception as error:
            exchange.end("failed", 500, error)
            raise
        except BaseException:
            exchange.end("cancelled", _CLIENT_LEFT)
            raise
        exchange.end("incomplete", 500)


class _Exchange:
    """What is seen of one request."""

    __slots__ = (
        "_complete", "_ends", "_left", "_log", "_noted", "_path", "_receive", "_root", "_scope", "_send",
        "_started", "cache", "close_code", "context", "first_byte", "headers", "received", "sent", "status",
    )  # fmt: skip

    def __init__(self, log: AccessLogMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = log.now()
        self._log, self._scope, self._receive, self._send = log, scope, receive, send
        # routers may change these
        self._root: str = scope.get("root_path", "")
        self._path: str = scope["path"]
        self._noted: RawHeaders = [pair for pair in scope["headers"] if pair[0] in log.noted]
        self.status = self.received = self.sent = 0
        self.first_byte: float | None = None
        self.cache: bytes | None = None
        self.close_code: int | None = None
        self.headers: RawHeaders = []
        #: all is being sent; it was sent; the client left before
        self._ends = self._complete = self._left = False
        self.context = RequestContext.of(scope)
        if self.context.request_id is None:
            self._name(self.context)

    def _name(self, context: RequestContext) -> None:
        made = f"{getrandbits(128):032x}"  # unique, which need not mean secret
        context.request_id = made
        span = self._log.span()
        if noted := self._noted:
            given = find_all(noted, _REQUEST_ID)
            if len(given) == 1 and is_request_id(given[0]) and self._log.proxies.trusts_peer(self._scope):
                context.request_id = given[0].decode()
            span = span or parent_of(noted)
        context.trace_id, context.span_id = span or (made, made[16:])

    async def receive(self) -> Message:
        message = await self._receive()
        if body := message.get("body"):
            self.received += len(body)
        elif message["type"] == "http.disconnect" and not self._ends:
            self._left = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            message = self._head(message)
        elif kind in _BODIES:
            self._ends = not message.get("more_body", False)
        try:
            await self._send(message)
        except OSError:  # how servers say it from spec_version 2.4 on
            self._left = True
            raise
        if kind == "http.response.start":
            self.status = message["status"]
            self.first_byte = self._log.now()
        elif kind in _BODIES:
            self._complete = self._ends
            self.sent += len(message["body"]) if "body" in message else file_bytes(message)

    def _head(self, message: Message) -> Message:
        """With the request's id; what is logged of it is noted."""
        headers, log = raw_headers(message), self._log
        for pair in [pair for pair in headers if pair[0] in log.answered]:
            name = pair[0]
            if name in _CACHES and self.cache is None:
                self.cache = pair[1]
            if name in log.response_headers:
                self.headers.append(pair)
            if name == _REQUEST_ID:
                headers = without(headers, _REQUEST_ID)
        headers.append((_REQUEST_ID, (self.context.request_id or "").encode()))
        return {**message, "headers": headers}

    def end(self, outcome: str, status: int, error: Exception | None = None) -> None:
        """Log it. Whatever is wrong with that, the request has nothing of it."""
        if self._left:
            outcome, status = "disconnected", _CLIENT_LEFT
        elif self._complete and outcome == "incomplete":
            outcome = "complete"
        self.status = self.status or status
        try:
            self._log.sink.put(encode(self._line(outcome, error)))
        except Exception:
            _logger.exception("a request could not be logged")

    def _line(self, outcome: str, error: Exception | None) -> Line:
        log, scope, context = self._log, self._scope, self.context
        query: bytes = scope.get("query_string", b"")
        client = log.proxies.client_address(scope)
        # Not by keyword: that takes five times as long.
        line = Line(
            log.stamp(log.time()),
            scope["type"],
            context.request_id,
            context.trace_id,
            context.span_id,
            None if client is None else _text(client),
            shown(scope["method"]) if "method" in scope else None,
            shown(self._path),
            log.redaction.query(query) if query else None,
            template(scope, self._root) if log.route is None else self._route(log.route),
            self.status,
            self.received,
            0 if scope.get("method") == "HEAD" else self.sent,  # the server sends no body then
            _ms(log.now() - self._started),
            outcome,
            scope.get("http_version"),
        )
        self._add(line)
        if error is not None:
            line.error = type(error).__name__
        return line

    def _route(self, route: Callable[[Scope], str | None]) -> str:
        try:
            said = route(self._scope)
        except Exception:
            _logger.exception("route= raised")
            said = None
        return shown(said) if type(said) is str else template(self._scope, self._root)

    def _add(self, line: Line) -> None:
        """What not each request has."""
        log, context = self._log, self.context
        if (agent := find(self._scope["headers"], _AGENT)) is not None:
            line.user_agent = shown(agent.decode("latin-1"))
        if self.first_byte is not None:
            line.first_byte_ms = _ms(self.first_byte - self._started)
        if context.waits:
            line.waits_ms = {name: _ms(seconds) for name, seconds in context.waits.items()}
        if self.cache is not None:
            line.cache = shown(self.cache.decode("latin-1"))
        if context.principal is not None or "user" in self._scope:
            line.principal = _principal(self._scope)
        if log.request_headers:
            line.request_headers = log.redaction.headers(self._noted, log.request_headers) or None
        if self.headers:
            line.response_headers = log.redaction.headers(self.headers, log.response_headers)
        line.close_code = self.close_code


class _Socket(_Exchange):
    """A WebSocket; its status is that of the handshake."""

    __slots__ = ()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.receive":
            self.received += _size(message)
        elif message["type"] == "websocket.disconnect" and not self._complete:
            if self.status:
                self._closed(message.get("code", 1005))
            else:  # it did not wait for the handshake
                self._left = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("websocket.accept", "websocket.http.response.start"):
            message = self._head(message)
        try:
            await self._send(message)
        except OSError:
            self._left = True
            raise
        if kind == "websocket.send":
            self.sent += _size(message)
        elif kind == "websocket.accept":
            self.status = 101
            self.first_byte = self._log.now()
        elif kind == "websocket.close":
            self._closed(message.get("code", 1000))
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        elif kind == "websocket.http.response.body":
            self.sent += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)

    def _closed(self, code: int) -> None:
        if self._left:
            return
        if not self.status:  # ASGI: closing instead of accepting is a 403
            self.status = 403
        else:
            self.close_code = code
        self._left = code == _ABNORMAL
        self._complete = not self._left


#: writing an address takes as long as all of its line
_text = lru_cache(maxsize=4096)(str)


def _principal(scope: Scope) -> str | None:
    try:
        found = principal_name(scope)
    except Exception:  # one without a name, or whose name cannot be had any more
        return None
    return None if found is None else shown(found[1])


def _size(message: Message) -> int:
    text: str | None = message.get("text")
    return len(text.encode(errors="replace")) if text is not None else len(message.get("bytes") or b"")


def _ms(seconds: float) -> float:
    return int(seconds * 1e6) / 1000


def _names(argument: str, names: Iterable[str]) -> frozenset[bytes]:
    if isinstance(names, str):
        raise ConfigurationError(argument, f"{names!r} is one string: give a list of them")
    return frozenset(name.lower().encode("latin-1") for name in names)
