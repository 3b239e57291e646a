"""The queue, its bound, its thread, and files."""

import asyncio
import errno
import fcntl
import gc
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from pathlib import Path

import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.logs import LogLinesDropped, LogWriteFailed, Sink, SinkHandler
from ramkit.logs.backends.files import StreamOutlet
from ramkit.logs.policy import File, Stream, Syslog, target_of
from ramkit.testing.clock import ManualClock
from tests.logs.reading import Kept, flushed


def test_lines_keep_their_order():
    kept = Kept()
    sink = Sink(kept)
    lines = [b"%d\n" % number for number in range(20_000)]
    assert all(map(sink.put, lines))
    flushed(sink)
    assert kept.lines == lines


def test_lines_of_many_threads_all_arrive():
    kept = Kept()
    sink = Sink(kept)

    def put(name):
        for number in range(1000):
            sink.put(b"%d %d\n" % (name, number))

    threads = [threading.Thread(target=put, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flushed(sink)
    assert sorted(kept.lines) == sorted(
        b"%d %d\n" % (name, number) for name in range(8) for number in range(1000)
    )
    assert sink.put(b"x" * 8 * 1024 * 1024)  # nothing is left in the count of bytes


def test_beyond_the_bound_lines_are_dropped_and_counted():
    kept, seen = Kept(), []
    sink = Sink(kept, max_bytes=1000, observers=[seen.append], clock=ManualClock())
    kept.gate.clear()
    assert [sink.put(b"x" * 99 + b"\n") for _ in range(15)] == [True] * 10 + [False] * 5
    assert seen == [LogLinesDropped("Kept", 1)] * 5
    kept.gate.set()
    flushed(sink)
    assert sink.put(b"{}\n")
    flushed(sink)
    notices = [json.loads(line) for line in kept.lines if b"dropped" in line]
    assert sum(each["dropped"] for each in notices) == 5
    assert notices[0]["time"] == "2026-01-01T00:00:00.000Z"
    assert len(kept.lines) == 11 + len(notices)


def test_an_observer_that_logs_to_the_same_sink_does_not_hang():
    kept = Kept()
    sink = Sink(kept, max_bytes=10, observers=[lambda event: sink.put(b"told\n")])
    assert not sink.put(b"x" * 20)
    flushed(sink)
    assert b"told\n" in kept.lines


@pytest.mark.parametrize("raises", [False, True])
def test_an_observer_that_logs_what_was_dropped_does_not_go_on_for_ever(raises):
    kept, told = Kept(), []
    logger = logging.getLogger("ramkit")

    def observer(event):
        told.append(event)
        logger.warning("x" * 100)
        if raises:
            raise LookupError

    sink = Sink(kept, max_bytes=10, observers=[observer])
    handler = SinkHandler(sink)
    logger.addHandler(handler)
    try:
        assert not sink.put(b"x" * 20)
        assert not sink.put(b"x" * 20)
    finally:
        logger.removeHandler(handler)
    assert told == [LogLinesDropped("Kept", 1)] * 2


def test_sinks_that_nobody_has_any_more_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("ramkit.logs.sink._IDLE", 0.01)
    before = set(Path("/proc/self/fd").iterdir())
    left = []
    for number in range(50):
        sink = Sink(f"file://{tmp_path}/{number}")
        sink.put(b"x\n")
        left.append((weakref.ref(sink), sink._thread))
    del sink
    for _, thread in left:
        thread.join(10)
        assert not thread.is_alive()
    left = [sink for sink, _ in left]
    gc.collect()
    assert not any(sink() for sink in left)
    assert set(Path("/proc/self/fd").iterdir()) <= before
    assert all((tmp_path / f"{number}").read_text() == "x\n" for number in range(50))


def test_after_a_while_without_lines_another_thread_goes_on(monkeypatch):
    monkeypatch.setattr("ramkit.logs.sink._IDLE", 0.0)
    kept = Kept()
    sink = Sink(kept)
    for number in range(2000):
        sink.put(b"%d\n" % number)
        if number % 100 == 0:
            flushed(sink)
    flushed(sink)
    assert kept.lines == [b"%d\n" % number for number in range(2000)]


@pytest.mark.parametrize("error", [OSError, RuntimeError])
async def test_an_outlet_that_does_not_close_stops_nothing(error):
    kept = Kept()

    def close():
        raise error

    kept.close = close
    sink = Sink(kept)
    for line in (b"one\n", b"two\n"):
        sink.put(line)
        async with asyncio.timeout(10):
            await sink.aclose()
    assert kept.lines == [b"one\n", b"two\n"]


def test_an_outlet_that_exits_is_one_that_fails():
    kept, seen = Kept(), []
    sink = Sink(kept, observers=[seen.append])
    kept.refuses = SystemExit()
    sink.put(b"one\n")
    assert not sink.flush(0.05)
    kept.refuses = None
    flushed(sink)
    assert kept.lines == [b"one\n"]
    assert set(seen) == {LogWriteFailed("Kept", "SystemExit")}


def test_a_pipe_that_does_not_block_is_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lines = [b"%07d\n" % number for number in range(100_000)]
    found = []
    thread = threading.Thread(target=lambda: found.append(_all_of(reader)))
    waiting = deque(lines)
    thread.start()
    StreamOutlet(writer).write(waiting)
    os.close(writer)
    thread.join()
    assert found == [b"".join(lines)]
    assert not waiting


def test_a_pipe_that_does_not_block_and_is_not_read_is_one_that_fails(monkeypatch):
    monkeypatch.setattr("ramkit.logs.backends.files._PATIENCE", 0.01)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    waiting = deque([b"%07d\n" % number for number in range(100_000)])
    with pytest.raises(BlockingIOError):
        StreamOutlet(writer).write(waiting)
    os.close(writer)
    assert len(_all_of(reader)) + sum(map(len, waiting)) == 800_000
    assert len(waiting[0]) == 8


def _all_of(reader):
    with os.fdopen(reader, "rb") as file:
        return file.read()


def test_a_signal_in_the_middle_of_a_line_may_log():
    """The handler runs between any two instructions of ``put``."""
    kept = Kept()
    sink = Sink(kept)
    done = 0

    def handler(number, frame):
        nonlocal done
        done += 1
        sink.put(b"signal\n")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        puts = 0
        while done < 100:
            puts += sink.put(b"x\n")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    flushed(sink)
    assert len(kept.lines) == puts + done


def test_a_signal_while_the_thread_is_made_makes_no_second_one(monkeypatch):
    kept, made = Kept(), []
    sink = Sink(kept)

    class Thread(threading.Thread):
        def __init__(self, **options):
            super().__init__(**options)
            made.append(self)
            if len(made) == 1:
                sink.put(b"signal\n")

    monkeypatch.setattr("ramkit.logs.sink.threading.Thread", Thread)
    sink.put(b"x\n")
    flushed(sink)
    assert sorted(kept.lines) == [b"signal\n", b"x\n"]
    assert [thread.ident is None for thread in made] == [True, False]


def test_an_outlet_that_fails_is_tried_again(caplog):
    kept, seen = Kept(), []
    sink = Sink(kept, observers=[seen.append])
    kept.refuses = OSError(errno.ENOSPC, "full")
    sink.put(b"one\n")
    assert not sink.flush(0.05)
    kept.refuses = RuntimeError("bug")
    sink.put(b"two\n")
    assert not sink.flush(0.05)
    kept.refuses = None
    flushed(sink)
    assert kept.lines == [b"one\n", b"two\n"]
    assert {LogWriteFailed("Kept", "ENOSPC"), LogWriteFailed("Kept", "RuntimeError")} == set(seen)
    assert len([each for each in caplog.records if "Kept failed" in each.getMessage()]) == 1


async def test_closing_is_bounded_when_the_outlet_blocks():
    kept = Kept()
    sink = Sink(kept, shutdown_timeout=0.05)
    kept.gate.clear()
    sink.put(b"x\n")
    kept.entered.wait(10)
    await sink.aclose()
    sink.close()
    assert kept.lines == []
    kept.gate.set()
    flushed(sink)
    assert kept.lines == [b"x\n"]


async def test_closing_gives_one_that_fails_one_more_chance():
    kept = Kept()
    kept.refuses = OSError()
    sink = Sink(kept, shutdown_timeout=10)
    sink.put(b"x\n")
    async with asyncio.timeout(5):
        await sink.aclose()
        await sink.aclose()
    kept.refuses = None
    await sink.aclose()
    assert kept.lines == [b"x\n"]


async def test_it_starts_again():
    class Restarted(Kept):
        """Named apart, so that its thread is."""

    kept = Restarted()
    sink = Sink(kept)
    for number in range(3):
        await sink.aclose()
        sink.put(b"%d\n" % number)
    assert "ramkit.logs Restarted" in {each.name for each in threading.enumerate()}
    sink.close()
    assert kept.lines == [b"0\n", b"1\n", b"2\n"]
    assert "ramkit.logs Restarted" not in {each.name for each in threading.enumerate()}


# -- processes ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_writes_its_own_lines_once(tmp_path):
    path = tmp_path / "log"
    sink = Sink(f"file://{path}")
    sink.put(b"open\n")
    flushed(sink)
    blocked = Kept()
    waiting = Sink(blocked)
    blocked.gate.clear()
    waiting.put(b"parent's\n")
    with sink._lock:  # as if another thread were in the middle of it

        def child():
            sink.put(b"child's\n")
            waiting.put(b"x\n")
            blocked.gate.set()
            flushed(waiting)
            flushed(sink)
            sink.put(b"seen %s\n" % b",".join(line.strip() for line in blocked.lines))
            sink.close()

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
    process.join(20)
    assert process.exitcode == 0
    sink.put(b"parent's\n")
    flushed(sink)
    blocked.gate.set()
    flushed(waiting)
    assert sorted(path.read_bytes().splitlines()) == [b"child's", b"open", b"parent's", b"seen x"]
    assert blocked.lines == [b"parent's\n"]


def run(code, **options):
    return subprocess.Popen(
        [sys.executable, "-c", f"from ramkit.logs import Sink\n{code}"], stdout=subprocess.PIPE, **options
    )


def test_a_process_without_lifespan_writes_all_when_it_ends():
    process = run("sink = Sink()\nfor number in range(3000): sink.put(b'%d\\n' % number)")
    out, _ = process.communicate(timeout=30)
    assert out == b"".join(b"%d\n" % number for number in range(3000))


def test_a_process_whose_output_nobody_reads_ends_all_the_same():
    code = "sink = Sink(shutdown_timeout=0.1)\nfor _ in range(5000): sink.put(b'x' * 99 + b'\\n')"
    process = run(code)
    assert process.wait(30) == 0
    process.stdout.close()


def test_many_processes_share_a_pipe():
    """Lines that come in batches of many pages, of several processes, stay whole."""
    read, write = os.pipe()
    codes = [
        f"sink = Sink('stderr')\nfor n in range(2000): sink.put(b'{name}' * (n % 300 + 1) + b'\\n')"
        for name in "abc"
    ]
    processes = [run(code, stderr=write) for code in codes]
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        lines = pipe.read().splitlines()
    for process in processes:
        process.communicate(timeout=30)
    assert len(lines) == 6000
    assert sum(len(set(line)) == 1 for line in lines) == 6000


# -- descriptors and files ---------------------------------------------------------------------------


def test_what_is_written_in_part_is_completed(monkeypatch):
    monkeypatch.setattr("ramkit.logs.backends.files._PATIENCE", 0.0)
    read, write = os.pipe()
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(write, False)
        outlet = StreamOutlet(write)
        lines = deque([b"a" * 3000 + b"\n", b"b" * 9000 + b"\n", b"c\n"])
        whole, got = b"".join(lines), b""
        while lines:
            try:
                outlet.write(lines)
            except BlockingIOError:
                got += os.read(read, 1000)
        while len(got) < len(whole):
            got += os.read(read, 4096)
        assert got == whole
    finally:
        os.close(read)
        os.close(write)


def test_a_file_is_opened_anew_when_it_was_moved_or_removed(tmp_path):
    path = tmp_path / "log"
    sink = Sink(f"file://{path}")

    def put(line):
        sink.put(line)
        flushed(sink)

    put(b"one\n")
    path.rename(tmp_path / "log.1")
    put(b"two\n")
    path.unlink()
    put(b"three\n")
    path.rename(tmp_path / "log.2")
    path.write_bytes(b"another's\n")
    put(b"four\n")
    assert (tmp_path / "log.1").read_bytes() == b"one\n"
    assert (tmp_path / "log.2").read_bytes() == b"three\n"
    assert path.read_bytes() == b"another's\nfour\n"
    os.truncate(path, 0)  # copytruncate
    put(b"five\n")
    assert path.read_bytes() == b"five\n"


def test_a_directory_that_is_missing_for_a_while(tmp_path):
    seen = []
    sink = Sink(f"file://{tmp_path}/later/log", observers=[seen.append])
    sink.put(b"x\n")
    assert not sink.flush(0.05)
    assert {each.reason for each in seen} == {"ENOENT"}
    (tmp_path / "later").mkdir()
    flushed(sink)
    assert (tmp_path / "later/log").read_bytes() == b"x\n"


def test_a_full_disk():
    seen = []
    sink = Sink("file:///dev/full", observers=[seen.append], max_bytes=100)
    for _ in range(30):
        sink.put(b"123456789\n")
    assert not sink.flush(0.05)
    assert LogWriteFailed("file:///dev/full", "ENOSPC") in seen
    assert sum(isinstance(each, LogLinesDropped) for each in seen) == 20
    sink.close()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("stdout", Stream(descriptor=1)),
        ("stderr", Stream(descriptor=2)),
        ("file:///var/log/a%20b.log", File(path="/var/log/a b.log")),
        ("syslog:///dev/log", Syslog(path="/dev/log")),
        ("syslog://logs", Syslog(host="logs", port=514)),
        (
            "syslog://[::1]:5140?facility=local3&app=shop",
            Syslog(host="::1", port=5140, facility="local3", app="shop"),
        ),
        ("syslog+tcp://logs", Syslog(host="logs", port=601, tcp=True)),
        ("syslog+tcp://logs:6514/", Syslog(host="logs", port=6514, tcp=True)),
    ],
)
def test_targets(url, target):
    assert target_of(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "", "stdin", "/var/log/x", "file:x", "file://x/y", "file:///", "file:///x?y=1", "syslog:", "syslog:///",
        "syslog+tcp:///dev/log", "syslog://h/x", "syslog://h:x", "syslog://h:99999", "syslog://a@h", "udp://h",
        "syslog://h?facility=nine", "syslog://h?app=a%20b", "syslog://h?app=" + "x" * 49, "syslog://h?color=red",
        "syslog://h?facility", "syslog://[::1", "http://h", "syslog://h#x",
    ],
)  # fmt: skip
def test_targets_that_are_none(url):
    with pytest.raises(ConfigurationError) as raised:
        Sink(url)
    assert raised.value.argument == "sink"


@pytest.mark.parametrize(
    ("argument", "value"), [("max_bytes", 0), ("shutdown_timeout", -1), ("dates", "x"), ("observers", [1])]
)
def test_mistakes(argument, value):
    with pytest.raises(ConfigurationError) as raised:
        Sink(Kept(), **{argument: value})
    assert raised.value.argument == argument
