"""The ids of the request that something is logged for: in stdlib logging and in structlog."""

import json
import logging
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from ramkit.kernel.context import RequestContext
from ramkit.logs.core.line import Stamp
from ramkit.logs.policy import Dates
from ramkit.logs.sink import Sink

__all__ = ["JSONFormatter", "RequestIdFilter", "SinkHandler", "add_request_id", "span_reader"]

#: what every record has; the rest is what was given as ``extra``
_KNOWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "request_id", "trace_id", "span_id"}


@cache
def span_reader() -> Callable[[], tuple[str, str] | None]:
    """What reads the ids of OpenTelemetry's active span; where it is not installed there is none."""
    try:
        from ramkit.logs.opentelemetry import active_span
    except ImportError:
        return lambda: None
    return active_span


def current_ids() -> dict[str, str | None]:
    """``request_id``, ``trace_id`` and ``span_id`` of the request that this task or thread works for."""
    context, span = RequestContext.current(), span_reader()()
    if context is None:
        request_id, (trace_id, span_id) = None, span or (None, None)
    else:
        request_id, (trace_id, span_id) = context.request_id, span or (context.trace_id, context.span_id)
    return {"request_id": request_id, "trace_id": trace_id, "span_id": span_id}


class RequestIdFilter(logging.Filter):
    """Gives each record ``request_id``, ``trace_id`` and ``span_id``, None outside of requests; those that it
    has already stay.

    It belongs on handlers, where the records of all loggers pass, and on a ``QueueHandler`` rather than
    behind it: ``handler.addFilter(RequestIdFilter())`` and ``Formatter("%(request_id)s %(message)s")``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in current_ids().items():
            vars(record).setdefault(name, value)
        return True


def add_request_id(
    _logger: Any, _method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor for structlog, as ``RequestIdFilter``; what is None is left out."""
    for name, value in current_ids().items():
        if value is not None:
            event_dict.setdefault(name, value)
    return event_dict


class JSONFormatter(logging.Formatter):
    """One line of JSON a record: time, level, logger, message, ids of the request, exception, and what was
    given as ``extra`` by other names. ``dates``: as those of the access log."""

    def __init__(self, *, dates: Dates = "rfc3339") -> None:
        super().__init__()
        self._stamp = Stamp(dates)

    def format(self, record: logging.LogRecord) -> str:
        ids = current_ids()
        said: dict[str, Any] = {
            "time": self._stamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _text(record.getMessage()),
            **{name: vars(record).get(name, value) for name, value in ids.items()},
        }
        if record.exc_info:
            said["exception"] = _text(self.formatException(record.exc_info))
        if record.stack_info:
            said["stack"] = _text(self.formatStack(record.stack_info))
        for name, value in vars(record).items():
            if name not in _KNOWN and name not in said:  # what came from outside changes no time or level
                said[name] = _plain(value)
        # in ASCII: no control character gets through
        return json.dumps({name: value for name, value in said.items() if value is not None})


def _text(text: str) -> str:
    """With escapes for lone surrogates: most readers of JSON refuse a line that has one."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    """What JSON can say of it; dates, structs and the like as msgspec writes them, else their ``repr``."""
    try:
        return json.loads(msgspec.json.encode(value, enc_hook=repr))
    except Exception:  # a cycle, odd keys, a repr that fails: the record is worth more
        with suppress(Exception):
            return repr(value)
    return f"<{type(value).__name__}>"


class SinkHandler(logging.Handler):
    """Puts an app's own records into a ``Sink``, by default as ``JSONFormatter`` writes them.

    With the sink of the access log they share its queue, its bound and its thread.
    """

    def __init__(self, sink: Sink, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._sink = sink
        self.formatter = JSONFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.put(self.format(record).encode() + b"\n")
        except Exception:
            self.handleError(record)
