"""What is counted of a request, and when."""

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from ramkit.kernel.errors import ConfigurationError
from ramkit.metrics import MetricsMiddleware
from ramkit.testing.client import drive, http_scope
from ramkit.testing.clock import ManualClock
from tests.metrics.reading import samples

LABELS = ("GET", "/it", "200")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def answering(*bodies, status=200, headers=(), clock=None, takes=0.0, reads=True):
    async def app(scope, receive, send):
        scope["ramkit.route"] = "/it"
        while reads and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        if clock is not None:
            clock.advance(takes)
        for body in bodies:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    return app


async def test_time_goes_into_the_buckets_of_the_issue():
    registry, clock = CollectorRegistry(), ManualClock()
    app = MetricsMiddleware(answering(clock=clock, takes=0.3), registry=registry, clock=clock)
    await drive(app, http_scope())
    buckets = samples(registry, "http_request_duration_seconds_bucket")
    assert {labels[-1]: count for labels, count in buckets.items()} == {
        "0.01": 0, "0.05": 0, "0.1": 0, "0.5": 1, "1.0": 1, "2.0": 1, "5.0": 1, "+Inf": 1,
    }  # fmt: skip
    assert samples(registry, "http_request_duration_seconds_sum") == {LABELS: pytest.approx(0.3)}


async def test_bytes_are_those_that_passed():
    registry = CollectorRegistry()
    app = MetricsMiddleware(answering(b"x" * 1000, b"y" * 234), registry=registry)
    pieces = [
        {"type": "http.request", "body": b"a" * 500, "more_body": True},
        {"type": "http.request", "body": b"b" * 55},
    ]
    await drive(app, http_scope(headers=[(b"content-length", b"9")]), pieces)
    await drive(app, http_scope("HEAD"))
    assert samples(registry, "http_request_bytes_total") == {LABELS: 555}
    assert samples(registry, "http_response_bytes_total") == {LABELS: 1234}


async def test_what_could_not_be_sent_is_not_counted():
    registry = CollectorRegistry()
    app = MetricsMiddleware(answering(b"x" * 10, b"y" * 10), registry=registry)
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        if len(sent) == 2:
            raise OSError("gone")
        sent.append(message)

    with pytest.raises(OSError, match="gone"):
        await app(http_scope(), receive, send)
    assert samples(registry, "http_response_bytes_total") == {LABELS: 10}
    assert samples(registry, "http_requests_total") == {LABELS: 1}


@pytest.mark.parametrize("extension", ["path", "count"])
async def test_files_that_the_server_reads_count(extension, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 77)
    more = {"path": str(file)} if extension == "path" else {"file": 3, "count": 77}

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        kind = "pathsend" if extension == "path" else "zerocopysend"
        await send({"type": f"http.response.{kind}", **more})

    registry = CollectorRegistry()
    messages = []
    await MetricsMiddleware(app, registry=registry)(http_scope(), None, _into(messages))
    assert list(samples(registry, "http_response_bytes_total").values()) == [77]


def _into(messages):
    async def send(message):
        messages.append(message)

    return send


@pytest.mark.parametrize("kind", [b"text/event-stream; charset=utf-8", b"Text/Event-Stream"])
async def test_event_streams_are_apart(kind):
    registry, clock = CollectorRegistry(), ManualClock()
    stream = answering(
        b"data: x\n\n",
        headers=[(b"Content-Type", kind)],
        clock=clock,
        takes=100,
    )
    await drive(MetricsMiddleware(stream, registry=registry, clock=clock), http_scope())
    assert samples(registry, "event_stream_duration_seconds_sum") == {LABELS: 100}
    assert samples(registry, "http_request_duration_seconds_count") == {}
    assert samples(registry, "http_requests_total") == {LABELS: 1}


async def test_open_connections():
    registry, entered, leave = CollectorRegistry(), asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        entered.set()
        await leave.wait()

    task = asyncio.create_task(MetricsMiddleware(app, registry=registry)(http_scope(), None, _into([])))
    await entered.wait()
    assert samples(registry, "active_connections") == {("http",): 1, ("websocket",): 0}
    leave.set()
    await task
    assert samples(registry, "active_connections") == {("http",): 0, ("websocket",): 0}
    # the server answers what the app did not
    assert list(samples(registry, "http_requests_total")) == [("GET", "unmatched", "500")]


async def test_a_handler_that_raises_is_a_500():
    async def app(scope, receive, send):
        raise LookupError

    registry = CollectorRegistry()
    with pytest.raises(LookupError):
        await drive(MetricsMiddleware(app, registry=registry), http_scope())
    assert list(samples(registry, "http_requests_total")) == [("GET", "unmatched", "500")]


async def test_who_left_before_the_answer_is_a_499():
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    registry = CollectorRegistry()
    task = asyncio.create_task(drive(MetricsMiddleware(app, registry=registry), http_scope()))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert list(samples(registry, "http_requests_total")) == [("GET", "unmatched", "499")]
    assert samples(registry, "active_connections")["http",] == 0


def broken(scope):
    raise LookupError


@pytest.mark.parametrize("route", [broken, lambda scope: [], lambda scope: 5, lambda scope: scope["nothing"]])
async def test_a_route_function_that_fails_takes_no_request_with_it(route, caplog):
    registry = CollectorRegistry()
    app = MetricsMiddleware(answering(), registry=registry, route=route)
    for _ in range(3):
        assert (await drive(app, http_scope()))[0]["status"] == 200
    await drive(app, http_scope(type="websocket", scheme="ws"), [{"type": "websocket.connect"}])
    assert samples(registry, "http_requests_total") == {LABELS: 3}
    assert samples(registry, "websocket_duration_seconds_count") == {("/it", "refused"): 1}
    assert len(caplog.records) <= 1


async def test_a_route_functions_labels_are_cut_and_can_be_said():
    registry = CollectorRegistry()
    app = MetricsMiddleware(answering(), registry=registry, route=lambda scope: scope["path"])
    scope = http_scope()
    for path in ("/" + "x" * 100_000, "/\ud800\n"):
        scope["path"] = path
        await drive(app, scope)
    assert {labels[1] for labels in samples(registry, "http_requests_total")} == {"/" + "x" * 255, "/?\n"}
    assert b"# EOF" in generate_latest(registry)


async def test_statuses_that_are_none_take_no_request_with_them():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": scope["status"], "headers": []})
        await send({"type": "http.response.body"})

    registry = CollectorRegistry()
    wrapped = MetricsMiddleware(app, registry=registry, max_label_sets=1)
    for status in (0, 1000, -1, "200", None):
        sent = []
        await wrapped(http_scope(status=status), None, _into(sent))
        assert sent[0]["status"] == status
    assert samples(registry, "active_connections")["http",] == 0


def test_what_cannot_be_counted_takes_no_request_with_it(tmp_path):
    """The folder goes, or is another user's; then the process forks, as gunicorn's do with ``--preload``."""
    code = """
import asyncio, os, shutil
from prometheus_client import REGISTRY
from ramkit.metrics import MetricsMiddleware
from ramkit.testing.client import drive, http_scope
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})
wrapped = MetricsMiddleware(app)
shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"])
def ask():
    for _ in range(2):
        print(asyncio.run(drive(wrapped, http_scope()))[0]["status"], flush=True)
ask()
print(REGISTRY.get_sample_value("active_connections", {"type": "http"}), flush=True)
if (child := os.fork()) == 0:
    ask()
    os._exit(0)
os.waitpid(child, 0)
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=30, check=True
    )
    assert done.stdout.split() == ["204", "204", "0.0", "204", "204"]
    assert done.stderr.count("requests cannot be counted") <= 2


async def test_a_file_that_is_gone_when_it_was_sent(tmp_path):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "gone")})

    registry = CollectorRegistry()
    await MetricsMiddleware(app, registry=registry)(http_scope(), None, _into([]))
    assert samples(registry, "http_requests_total") == {("GET", "unmatched", "200"): 1}


async def test_a_thousand_cancelled_requests_leave_nothing_open():
    async def app(scope, receive, send):
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    registry = CollectorRegistry()
    wrapped = MetricsMiddleware(app, registry=registry)
    scopes = [http_scope(), http_scope(path="/begun"), http_scope(type="websocket")]
    tasks = [asyncio.create_task(wrapped(scopes[n % 3].copy(), None, _into([]))) for n in range(1000)]
    for turn in range(2):
        for task in tasks[turn::2]:
            task.cancel()
        await asyncio.sleep(0)
    assert all(
        isinstance(each, BaseException) for each in await asyncio.gather(*tasks, return_exceptions=True)
    )
    assert samples(registry, "active_connections") == {("http",): 0, ("websocket",): 0}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", True),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"ff-{TRACE}-b7ad6b7169203331-01", False),
        (TRACE, False),
    ],
)
async def test_exemplars_carry_the_trace_id(header, found):
    registry = CollectorRegistry()
    scope = http_scope(headers=[(b"host", b"x"), (b"traceparent", header.encode())])
    await drive(MetricsMiddleware(answering(), registry=registry), scope)
    assert (f'trace_id="{TRACE}"' in generate_latest(registry).decode()) is found
    without = CollectorRegistry()
    await drive(MetricsMiddleware(answering(), registry=without, exemplars=False), scope)
    assert "trace_id" not in generate_latest(without).decode()


async def test_two_apps_of_one_registry_count_together():
    registry = CollectorRegistry()
    for _ in range(2):
        await drive(MetricsMiddleware(answering(), registry=registry), http_scope())
    assert samples(registry, "http_requests_total") == {LABELS: 2}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("buckets", []),
        ("buckets", [1, 1]),
        ("buckets", [1, float("inf")]),
        ("max_label_sets", 0),
        ("route", "x"),
    ],
)
def test_mistakes(argument, value):
    with pytest.raises(ConfigurationError) as raised:
        MetricsMiddleware(answering(), registry=CollectorRegistry(), **{argument: value})
    assert raised.value.argument == argument
