"""What requests do, counted."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, values

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send, file_bytes, raw_headers
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.routes import UNMATCHED, template
from ramkit.kernel.trace import parent_of
from ramkit.metrics.catalogue import REQUESTS
from ramkit.metrics.core import METHODS, OTHER, OVERFLOW, label, status_class
from ramkit.metrics.instruments import DURATIONS, STREAMS, checked, counter, gauge, histogram, increment

__all__ = ["MetricsMiddleware"]

_log = logging.getLogger("ramkit")

_LABELS = ("method", "route", "status")
#: nobody was there to be answered, as nginx says it
_CLIENT_LEFT = 499
_PLAIN = (list, tuple)
_CONTENT_TYPE = b"content-type"
_NAME = len(_CONTENT_TYPE)
_STREAM = b"text/event-stream"


class MetricsMiddleware:
    """Counts requests, their time and their bytes, by method, route template and status. The outermost one.

    ``registry``: prometheus-client's own by default. ``buckets``: of ``http_request_duration_seconds``, in
    seconds. ``route``: a function of the scope, called when the request is over, that gives its template, or
    None to look for it here. ``max_label_sets``: of method, route and status; what comes after them is
    counted with the route ``overflow`` and the status's class. ``exemplars``: durations carry the trace id of
    the request's ``traceparent``; in multiprocess mode prometheus-client has none.

    Who asks for what no route matches, or with a method that it does not have, gets the route ``unmatched``;
    methods beyond RFC 9110's are ``_OTHER``. A request whose handler raises is a 500, one that was cancelled
    before it was answered a 499. Whatever is wrong with counting is logged once, and no request fails by it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: CollectorRegistry = REGISTRY,
        buckets: Sequence[float] = DURATIONS,
        route: Callable[[Scope], str | None] | None = None,
        max_label_sets: int = 1000,
        exemplars: bool = True,
        clock: Clock | None = None,
    ) -> None:
        if max_label_sets < 1:
            raise ConfigurationError("max_label_sets", f"{max_label_sets} is no bound")
        if route is not None and not callable(route):
            raise ConfigurationError("route", f"{route!r} is not callable")
        self.app = app
        self._now = (clock or SystemClock()).monotonic
        self._route = route
        self._most = max_label_sets
        self._shared = bool(getattr(values.ValueClass, "_multiprocess", False))
        self._exemplars = exemplars and not self._shared
        self._instruments = _Instruments(registry, checked("buckets", buckets))
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._overflowed: dict[str, _Series] = {}
        self._sockets: dict[tuple[str, str], Any] = {}
        self._http = self._instruments.active.labels("http")
        self._websocket = self._instruments.active.labels("websocket")
        self._opens = {"http": increment(self._http), "websocket": increment(self._websocket)}
        self._said: set[str] = set()
        self._begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in self._opens or not self._opened(kind):
            if kind == "lifespan":
                self._begin()
            await self.app(scope, receive, send)
            return
        if kind == "websocket":
            await self._converse(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        root: str = scope.get("root_path", "")
        started = self._now()
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.status = exchange.status or 500
            raise
        except BaseException:  # cancelled: counted, and raised on
            exchange.status = exchange.status or _CLIENT_LEFT
            raise
        finally:
            try:
                took = self._now() - started
                self._opens["http"](-1)
                self._count(scope, root, exchange, took)
            except Exception:
                self._complain()

    def _begin(self) -> None:
        """A process that got the number of a dead one finds its gauges."""
        if self._shared:
            try:
                self._http.set(0)
                self._websocket.set(0)
            except Exception:
                self._complain()

    def _opened(self, kind: str) -> bool:
        """False where that cannot be counted, as files of its own are refused to a process; the rest is not
        counted either then, so that what is open stays right."""
        try:
            self._opens[kind](1)
        except Exception:
            self._complain()
            return False
        return True

    def _complain(self, what: str = "requests cannot be counted") -> None:
        """Once: what fails for one request mostly does for the next."""
        if what not in self._said:
            self._said.add(what)
            _log.exception(what)

    def _count(self, scope: Scope, root: str, exchange: "_Exchange", took: float) -> None:
        method, status = scope["method"], exchange.status or 500
        route = UNMATCHED if status == 405 else self._template(scope, root)
        series = self._series.get((method, route, status))
        if series is None:
            series = self._found(method, route, status)
        series.requests(1)
        if exchange.streams:
            series.stream(took)
        elif self._exemplars and (parent := parent_of(scope["headers"])) is not None:
            series.duration(took, {"trace_id": parent[0]})
        else:
            series.duration(took)
        if exchange.received:
            series.received(exchange.received)
        if exchange.sent and method != "HEAD":  # of an answer to HEAD the server sends no body
            series.sent(exchange.sent)

    def _template(self, scope: Scope, root: str) -> str:
        if self._route is not None:
            try:
                said = self._route(scope)
            except Exception:
                self._complain("route= raised")
            else:
                if type(said) is str:
                    return label(said)
        return template(scope, root)

    def _found(self, method: str, route: str, status: int) -> "_Series":
        """The series of labels that were not seen yet, within the bound."""
        if method not in METHODS:
            method = OTHER
        key = (method, route, status)
        known = self._series.get(key)
        if known is not None:
            return known
        if len(self._series) + len(self._sockets) < self._most:
            known = self._series[key] = self._instruments.series(method, route, str(status))
            return known
        family = status_class(status)
        series = self._overflowed.get(family)
        if series is None:
            series = self._overflowed[family] = self._instruments.series(OTHER, OVERFLOW, family)
        return series

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        root: str = scope.get("root_path", "")
        accepted = False

        async def told(message: Message) -> None:
            nonlocal accepted
            await send(message)
            accepted = accepted or message["type"] == "websocket.accept"

        started = self._now()
        try:
            await self.app(scope, receive, told)
        finally:
            try:
                took = self._now() - started
                self._opens["websocket"](-1)
                outcome = "accepted" if accepted else "refused"
                self._socket(self._template(scope, root), outcome).observe(took)
            except Exception:
                self._complain()

    def _socket(self, route: str, outcome: str) -> Any:
        known = self._sockets.get((route, outcome))
        if known is None:
            if len(self._series) + len(self._sockets) >= self._most:
                return self._instruments.websockets.labels(OVERFLOW, outcome)
            known = self._sockets[route, outcome] = self._instruments.websockets.labels(route, outcome)
        return known


class _Instruments:
    """What one registry holds of requests."""

    def __init__(self, registry: CollectorRegistry, buckets: tuple[float, ...]) -> None:
        about = {each.name: (each.name, each.help, each.labels) for each in REQUESTS}
        self.requests = counter(registry, *about["http_requests_total"])
        self.duration = histogram(registry, *about["http_request_duration_seconds"], buckets)
        self.streams = histogram(registry, *about["event_stream_duration_seconds"], STREAMS)
        self.websockets = histogram(registry, *about["websocket_duration_seconds"], STREAMS)
        self.received = counter(registry, *about["http_request_bytes_total"])
        self.sent = counter(registry, *about["http_response_bytes_total"])
        self.active = gauge(registry, *about["active_connections"], "livesum")

    def series(self, *labels: str) -> "_Series":
        return _Series(self, labels)


class _Series:
    """The children of one label set; an event stream's only for those that stream."""

    __slots__ = ("_instruments", "_stream", "duration", "labels", "received", "requests", "sent")

    def __init__(self, instruments: _Instruments, labels: tuple[str, ...]) -> None:
        self._instruments, self.labels = instruments, labels
        self._stream: Any = None
        self.requests = increment(instruments.requests.labels(*labels))
        # what never happens makes no series: these stand in until they are first called
        self.duration: Callable[..., None] = self._first_duration
        self.received: Callable[[float], None] = self._first_received
        self.sent: Callable[[float], None] = self._first_sent

    def stream(self, took: float) -> None:
        if self._stream is None:
            self._stream = self._instruments.streams.labels(*self.labels)
        self._stream.observe(took)

    def _first_duration(self, took: float, exemplar: dict[str, str] | None = None) -> None:
        self.duration = self._instruments.duration.labels(*self.labels).observe
        self.duration(took, exemplar)

    def _first_received(self, amount: float) -> None:
        self.received = increment(self._instruments.received.labels(*self.labels))
        self.received(amount)

    def _first_sent(self, amount: float) -> None:
        self.sent = increment(self._instruments.sent.labels(*self.labels))
        self.sent(amount)


class _Exchange:
    """One request: its status and its bytes in both directions."""

    __slots__ = ("_receive", "_send", "received", "sent", "status", "streams")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.status = self.received = self.sent = 0
        self.streams = False

    async def receive(self) -> Message:
        message = await self._receive()
        if body := message.get("body"):
            self.received += len(body)
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            await self._send(message)
            self.sent += len(message.get("body", b""))
        elif kind == "http.response.start":
            streams = _streams(message.get("headers", ()))
            if streams is None:  # what can be looked at only once is passed on as a list
                message = {**message, "headers": raw_headers(message)}
                streams = _streams(message["headers"])
            self.streams = bool(streams)
            await self._send(message)
            self.status = message["status"]
        else:
            await self._send(message)
            if kind in ("http.response.pathsend", "http.response.zerocopysend"):
                self.sent += file_bytes(message)


def _streams(headers: Any) -> bool | None:
    """Whether these are an event stream's; None if they are not plain lists of pairs of bytes."""
    if headers.__class__ not in _PLAIN:
        return None
    for pair in headers:
        if pair.__class__ not in _PLAIN:
            return None
        name, value = pair
        if len(name) == _NAME and (name == _CONTENT_TYPE or bytes(name).lower() == _CONTENT_TYPE):
            return bytes(value[: len(_STREAM)]).lower() == _STREAM
    return False
