"""The request's ids in what the app logs itself."""

import asyncio
import io
import json
import logging
import queue
import subprocess
import sys
from logging.handlers import QueueHandler, QueueListener

import msgspec
import pytest
import structlog
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ramkit.logs import (
    AccessLogMiddleware,
    JSONFormatter,
    RequestIdFilter,
    Sink,
    SinkHandler,
    add_request_id,
)
from ramkit.testing.client import ASGIClient, drive, http_scope
from tests.logs.reading import Kept, answering, flushed, logged


@pytest.fixture
def logger():
    found = logging.Logger("shop")  # noqa: LOG001 - of no tree: nothing of it outlives the test
    found.setLevel(logging.DEBUG)
    return found


def logging_app(log):
    async def app(scope, receive, send):
        log()
        await answering()(scope, receive, send)

    return app


async def test_each_record_has_the_ids_of_its_request(logger):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(logging.Formatter("%(request_id)s %(trace_id)s %(span_id)s %(message)s"))
    logger.addHandler(handler)

    async def app(scope, receive, send):
        for _ in range(3):
            logger.info("%s", scope["path"])
            await asyncio.sleep(0)
        await answering()(scope, receive, send)

    kept = Kept()
    sink = Sink(kept)
    wrapped = AccessLogMiddleware(app, sink=sink)
    await asyncio.gather(*(drive(wrapped, http_scope(path=f"/{number}")) for number in range(5)))
    logger.info("outside")
    flushed(sink)
    wanted = {line["path"]: [line["request_id"], line["trace_id"], line["span_id"]] for line in kept.read()}
    *inside, outside = stream.getvalue().splitlines()
    assert len(inside) == 15
    for text in inside:
        *ids, path = text.split()
        assert ids == wanted[path]
    assert outside == "None None None outside"


async def test_through_a_queue_the_ids_come_along(logger):
    records = queue.SimpleQueue()
    queued = QueueHandler(records)
    queued.addFilter(RequestIdFilter())
    logger.addHandler(queued)
    line = await logged(logging_app(lambda: logger.info("x")))
    kept = Kept()
    sink = Sink(kept)
    handler = SinkHandler(sink)
    handler.addFilter(RequestIdFilter())
    listener = QueueListener(records, handler)
    listener.start()
    listener.stop()
    flushed(sink)
    assert kept.read()[0]["request_id"] == line["request_id"]


async def test_also_in_the_thread_of_a_plain_function(logger):
    kept = Kept()
    sink = Sink(kept)
    logger.addHandler(SinkHandler(sink))

    def endpoint(request):
        logger.info("in a thread")
        return PlainTextResponse("x")

    app = Starlette(routes=[Route("/", endpoint)])
    async with ASGIClient(AccessLogMiddleware(app, sink=sink)) as client:
        response = await client.get("/")
    record, access = kept.read()
    assert record["message"] == "in a thread"
    assert record["request_id"] == access["request_id"] == response.headers["x-request-id"]
    assert (record["trace_id"], record["span_id"]) == (access["trace_id"], access["span_id"])


def test_records_as_json(logger):
    kept = Kept()
    sink = Sink(kept)
    logger.addHandler(SinkHandler(sink))
    try:
        raise LookupError("nö")
    except LookupError:
        logger.exception("it %s\n", "failed", extra={"order": 7, "odd": 1j, "request_id": "given"})
    logger.debug("\x9b\ud800", stack_info=True)
    flushed(sink)
    first, second = kept.read()
    assert first.pop("exception").endswith("LookupError: nö")
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "ERROR", "logger": "shop", "message": "it failed\n",
        "order": 7, "odd": "1j", "request_id": "given",
    }  # fmt: skip
    assert second["message"] == "\x9b\\ud800"
    assert "test_records_as_json" in second["stack"]
    assert all(line.isascii() and line.count(b"\n") == 1 for line in kept.lines)
    assert all(map(msgspec.json.decode, kept.lines))  # which takes no lone surrogate


def test_extras_change_nothing_that_the_record_says(logger):
    said = {"time": "never", "level": "DEBUG", "logger": "root", "exception": "none", "stack": "x", "a": 1}
    try:
        raise LookupError("\ud800")
    except LookupError:
        record = logger.makeRecord("shop", 40, "", 0, "x", (), sys.exc_info(), extra=said)
    line = msgspec.json.decode(JSONFormatter().format(record))
    assert (line["level"], line["logger"], line["stack"], line["a"]) == ("ERROR", "shop", "x", 1)
    assert line["time"] != "never"
    assert line["exception"].endswith("LookupError: \\ud800")


def test_what_cannot_be_written_as_json_is_written_all_the_same(logger, capsys):
    kept = Kept()
    sink = Sink(kept)
    logger.addHandler(SinkHandler(sink))
    circle = []
    circle.append(circle)

    class Broken:
        def __repr__(self):
            raise LookupError

    for odd in (circle, {(1, 2): 3}, Broken(), float("nan")):
        logger.info("kept", extra={"odd": odd})
    flushed(sink)
    assert [line.get("odd") for line in kept.read()] == ["[[...]]", {"(1, 2)": 3}, "<Broken>", None]
    assert capsys.readouterr().err == ""
    logger.info("%d", "no number")  # as all of logging's handlers have it
    assert "--- Logging error ---" in capsys.readouterr().err


def test_dates_of_records():
    record = logging.makeLogRecord({"msg": "x", "created": 1767225599.999})
    form = JSONFormatter(dates="YYYY-MM-DD HH:mm:ss Z")
    assert json.loads(form.format(record))["time"] == "2025-12-31 23:59:59 Z"
    assert json.loads(JSONFormatter().format(record))["time"] == "2025-12-31T23:59:59.999Z"


async def test_structlog():
    out = structlog.testing.LogCapture()
    log = structlog.wrap_logger(None, processors=[add_request_id, out])
    kept = Kept()
    sink = Sink(kept)
    await drive(AccessLogMiddleware(logging_app(lambda: log.info("hello")), sink=sink), http_scope())
    log.info("outside")
    flushed(sink)
    (access,) = kept.read()
    inside, outside = out.entries
    assert {name: inside[name] for name in ("request_id", "trace_id", "span_id")} == {
        name: access[name] for name in ("request_id", "trace_id", "span_id")
    }
    assert outside == {"event": "outside", "log_level": "info"}


async def test_structlog_keeps_what_is_bound_already():
    out = structlog.testing.LogCapture()
    log = structlog.wrap_logger(None, processors=[add_request_id, out])
    await logged(logging_app(lambda: log.info("hello", request_id="of a job")))
    assert out.entries[0]["request_id"] == "of a job"
    assert len(out.entries[0]["trace_id"]) == 32


def span(trace_id, span_id):
    return trace.use_span(
        trace.NonRecordingSpan(trace.SpanContext(trace_id, span_id, is_remote=False)), end_on_exit=False
    )


async def test_opentelemetrys_span_is_the_trace(logger):
    kept = Kept()
    sink = Sink(kept)
    logger.addHandler(SinkHandler(sink))

    def log():
        logger.info("of the server's span")
        with span(0xABC, 0x2):
            logger.info("of a span within")

    app = AccessLogMiddleware(logging_app(log), sink=sink)
    headers = [(b"traceparent", b"00-12345678901234567890123456789012-1234567890123456-01")]
    with span(0xABC, 0x1):
        await drive(app, http_scope(headers=headers))
    logger.info("outside")
    flushed(sink)
    lines = kept.read()
    assert [line.get("trace_id") for line in lines] == [f"{0xABC:032x}"] * 3 + [None]
    assert [line.get("span_id") for line in lines] == [f"{each:016x}" for each in (1, 2, 1)] + [None]


def test_all_works_without_opentelemetry_and_structlog():
    code = """
import sys
sys.modules["opentelemetry"] = sys.modules["structlog"] = None
import asyncio, logging
from ramkit.logs import AccessLogMiddleware, RequestIdFilter, Sink, SinkHandler
from ramkit.testing.client import drive, http_scope
async def app(scope, receive, send):
    logging.warning("hello")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
sink = Sink()
logging.getLogger().addHandler(SinkHandler(sink))
asyncio.run(drive(AccessLogMiddleware(app, sink=sink), http_scope()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    record, access = map(json.loads, done.stdout.splitlines())
    assert record["request_id"] == access["request_id"]
    assert record["trace_id"] == access["trace_id"]
