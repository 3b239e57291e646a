"""Syslog, to real sockets."""

import json
import os
import re
import socket
import threading

import pytest

from ramkit.logs import AccessLogMiddleware, LogLinesDropped, Sink
from ramkit.testing.client import drive, http_scope
from ramkit.testing.clock import ManualClock
from tests.logs.reading import answering, flushed

#: RFC 5424 §6, of what is sent here
MESSAGE = re.compile(rb"<(\d+)>1 (\S+) (\S+) (\S+) (\d+) - - (.*)", re.DOTALL)


@pytest.fixture
def short():
    """A path that is short enough for a Unix socket."""
    path = f"/tmp/ramkit-log-{os.getpid()}"
    yield path
    if os.path.exists(path):  # noqa: PTH110 - a string's
        os.unlink(path)  # noqa: PTH108 - a string's


def receiver(family, address, kind=socket.SOCK_DGRAM):
    found = socket.socket(family, kind)
    found.settimeout(10)
    found.bind(address)
    return found


async def test_a_unix_socket(short):
    with receiver(socket.AF_UNIX, short) as syslog:
        sink = Sink(f"syslog://{short}?facility=local0&app=shop", clock=ManualClock())
        await drive(AccessLogMiddleware(answering(), sink=sink), http_scope(path="/x"))
        priority, time, host, app, process, text = MESSAGE.fullmatch(syslog.recv(65536)).groups()
    assert (priority, time, app) == (b"134", b"2026-01-01T00:00:00.000Z", b"shop")
    assert (host.decode(), int(process)) == (socket.gethostname(), os.getpid())
    assert json.loads(text)["path"] == "/x"
    assert not text.endswith(b"\n")
    sink.close()


def test_a_unix_socket_that_is_made_anew(short):
    seen = []
    sink = Sink(f"syslog://{short}", observers=[seen.append])
    sink.put(b"before\n")
    assert not sink.flush(0.05)
    assert {each.reason for each in seen} == {"ENOENT"}
    with receiver(socket.AF_UNIX, short) as syslog:
        flushed(sink)
        assert MESSAGE.fullmatch(syslog.recv(65536))[6] == b"before"
    os.unlink(short)  # noqa: PTH108 - a string's
    sink.put(b"meanwhile\n")
    assert not sink.flush(0.05)
    assert {each.reason for each in seen} <= {"ENOENT", "ECONNREFUSED"}
    with receiver(socket.AF_UNIX, short) as syslog:
        flushed(sink)
        assert MESSAGE.fullmatch(syslog.recv(65536))[6] == b"meanwhile"
    sink.close()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_udp(family, host):
    with receiver(family, (host, 0)) as syslog:
        port = syslog.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        sink = Sink(f"syslog://{name}:{port}")
        sink.put(b"one\n")
        sink.put(b"two\n")
        flushed(sink)
        got = [MESSAGE.fullmatch(syslog.recv(65536)) for _ in range(2)]
    assert [(each[1], each[4], each[6]) for each in got] == [
        (b"14", b"ramkit", b"one"),
        (b"14", b"ramkit", b"two"),
    ]
    sink.close()


def test_a_line_that_no_datagram_can_hold_is_dropped_and_counted():
    seen = []
    with receiver(socket.AF_INET, ("127.0.0.1", 0)) as syslog:
        url = f"syslog://127.0.0.1:{syslog.getsockname()[1]}"
        sink = Sink(url, observers=[seen.append])
        sink.put(b"x" * 70_000 + b"\n")
        flushed(sink)
        sink.put(b"next\n")
        flushed(sink)
        notice = json.loads(MESSAGE.fullmatch(syslog.recv(65536))[6])
        assert MESSAGE.fullmatch(syslog.recv(65536))[6] == b"next"
    assert notice["dropped"] == 1
    assert seen == [LogLinesDropped(url, 1)]
    sink.close()


def frames(data):
    """RFC 6587 §3.4.1: octet counting."""
    while data:
        length, _, rest = data.partition(b" ")
        yield rest[: int(length)]
        data = rest[int(length) :]


def test_tcp():
    with receiver(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_STREAM) as server:
        server.listen()
        sink = Sink(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}")
        lines = [b'{"n": %d, "long": "%s"}\n' % (number, b"x" * number * 30) for number in range(200)]
        got = []

        def accept():
            connection, _ = server.accept()
            with connection:
                data = b""
                while piece := connection.recv(65536):
                    data += piece
                got.extend(frames(data))

        thread = threading.Thread(target=accept)
        thread.start()
        for line in lines:
            sink.put(line)
        sink.close()
        thread.join(10)
    assert [MESSAGE.fullmatch(each)[6] + b"\n" for each in got] == lines


def test_tcp_connects_again_with_whole_messages():
    seen = []
    with receiver(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_STREAM) as server:
        server.listen()
        sink = Sink(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}", observers=[seen.append])
        sink.put(b"first\n")
        flushed(sink)
        connection, _ = server.accept()
        assert [MESSAGE.fullmatch(each)[6] for each in frames(connection.recv(65536))] == [b"first"]
        connection.close()
        while not seen:  # syslog does not confirm: the line that finds out may be lost
            sink.put(b"lost?\n")
            sink.flush(0.05)
        sink.put(b"again\n")
        sink.close()
        connection, _ = server.accept()
        with connection:
            data = b""
            while piece := connection.recv(65536):
                data += piece
    got = [MESSAGE.fullmatch(each)[6] for each in frames(data)]
    assert got[-1] == b"again"
    assert set(got[:-1]) == {b"lost?"}
