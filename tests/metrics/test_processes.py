"""Files of dead processes go, what they counted stays."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from ramkit.kernel.errors import ConfigurationError
from ramkit.metrics import Processes

GONE = 2**22 + 1  # beyond the largest process id
LONG_AGO = time.time() - 3600


def written(folder: Path, kind: str, pid: int | str, values: dict[str, float], *, at: float = 0.0) -> Path:
    path = folder / f"{kind}_{pid}.db"
    file = MmapedDict(str(path))
    for label, value in values.items():
        name = "things_total" if kind == "counter" else "level"
        file.write_value(mmap_key(name.removesuffix("_total"), name, ["of"], [label], "Help."), value, at)
    file.close()
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def read(folder: Path, name: str = "things_total") -> dict[str, float]:
    return {
        ",".join(sample.labels.values()): sample.value
        for metric in Processes(folder).collect()
        for sample in metric.samples
        if sample.name == name
    }


def databases(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.db")}


def test_counters_of_the_dead_stay_and_their_files_go(tmp_path: Path) -> None:
    for pid in range(GONE, GONE + 5):
        written(tmp_path, "counter", pid, {"a": 1, "b": 10})
        assert read(tmp_path) == {"a": pid - GONE + 1, "b": (pid - GONE + 1) * 10}
        assert databases(tmp_path) == {"counter_dead.db"}


@pytest.mark.parametrize(
    ("mode", "left"),
    [
        ("sum", {"a": 12}), ("min", {"a": 5}), ("max", {"a": 7}), ("mostrecent", {"a": 7}),
        ("livesum", {}), ("livemax", {}), ("all", {}), ("liveall", {}), ("livemostrecent", {}),
    ],
)  # fmt: skip
def test_gauges(tmp_path: Path, mode: str, left: dict[str, float]) -> None:
    for at, (pid, value) in enumerate([(GONE, 5), (GONE + 1, 7)], 1):
        written(tmp_path, f"gauge_{mode}", pid, {"a": value}, at=at)
    assert read(tmp_path, "level") == left
    assert databases(tmp_path) == ({f"gauge_{mode}_dead.db"} if left else set())


def test_a_process_that_writes_keeps_its_file(tmp_path: Path) -> None:
    path = written(tmp_path, "counter", os.getpid(), {"a": 1})
    file = MmapedDict(str(path))
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert read(tmp_path) == {"a": 1}
    assert databases(tmp_path) == {path.name}
    file.close()


def test_one_that_only_has_the_number_of_a_dead_one_does_not(tmp_path: Path) -> None:
    written(tmp_path, "counter", os.getppid(), {"a": 1})
    assert read(tmp_path) == {"a": 1}
    assert databases(tmp_path) == {"counter_dead.db"}


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    written(tmp_path, "counter", child.pid, {"a": 1}).touch()  # of just now
    assert read(tmp_path) == {"a": 1}
    assert databases(tmp_path) == {"counter_dead.db"}
    child.wait()


def test_one_that_was_killed_while_it_made_its_file(tmp_path: Path) -> None:
    (tmp_path / f"counter_{GONE}.db").touch()
    (tmp_path / f"histogram_{GONE}.db").write_bytes(bytes(1 << 16))
    written(tmp_path, "counter", GONE + 1, {"a": 1})
    assert read(tmp_path) == {"a": 1}
    assert not databases(tmp_path) & {f"counter_{GONE}.db", f"histogram_{GONE}.db"}


class Killed(BaseException):
    pass


class Steps:
    """Counts what changes the folder; is killed at one of them."""

    def __init__(self, last: int) -> None:
        self.taken, self.last = 0, last

    def before(self, change):
        def changed(*args, **options):
            self.taken += 1
            if self.taken == self.last:
                raise Killed
            return change(*args, **options)

        return changed


def test_killed_at_any_step_nothing_is_lost_or_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for last in range(1, 100):
        folder, steps = tmp_path / str(last), Steps(last)
        folder.mkdir()
        written(folder, "counter", GONE, {"a": 1})
        read(folder)
        written(folder, "counter", GONE, {"a": 10})
        written(folder, "counter", GONE + 1, {"a": 100})
        with monkeypatch.context() as patch, suppress(Killed):
            for name in ("replace", "unlink", "write_text"):
                patch.setattr(Path, name, steps.before(getattr(Path, name)))
            read(folder)
        assert read(folder) == {"a": 111}, f"killed at step {last}"
        assert databases(folder) == {"counter_dead.db"}
        assert not (folder / "folding.json").exists()
        if steps.taken < last:
            break
    assert 7 <= steps.taken < last


def test_process_metrics_of_each(tmp_path: Path) -> None:
    file = MmapedDict(str(written(tmp_path, "counter", os.getpid(), {"a": 1})))
    metrics = {metric.name: metric for metric in Processes(tmp_path).collect()}
    [cpu] = metrics["process_cpu_seconds"].samples
    assert cpu.labels == {"pid": str(os.getpid())}
    assert cpu.value > 0
    assert "process_resident_memory_bytes" in metrics
    file.close()


def test_gauges_begin_at_zero_in_a_process_with_the_number_of_a_dead_one(tmp_path: Path) -> None:
    """In a process of its own: prometheus-client looks at its environment when it is imported."""
    code = """
import os, sys
from pathlib import Path
from prometheus_client.mmap_dict import MmapedDict, mmap_key
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
name, about = "active_connections", "Requests and WebSockets that are open."
key = mmap_key(name, name, ["type"], ["http"], about)
file = MmapedDict(str(folder / f"gauge_livesum_{os.getpid()}.db"))
file.write_value(key, 5.0, 0.0)
file.close()
from ramkit.metrics import MetricsMiddleware, Processes
MetricsMiddleware(None)
print([s.value for m in Processes(folder).collect() if m.name == "active_connections" for s in m.samples])
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [0.0, 0.0]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder"):
        Processes(tmp_path / "none")


def test_a_file_that_goes_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gunicorn's ``child_exit`` removes the gauges of its worker itself."""
    written(tmp_path, "counter", GONE, {"a": 1})
    names = [f"gauge_livesum_{os.getpid()}.db", f"gauge_sum_{GONE}.db"]
    glob = Path.glob

    def stale(path: Path, pattern: str) -> Iterator[Path]:
        yield from glob(path, pattern)
        yield from (path / name for name in names)

    monkeypatch.setattr(Path, "glob", stale)
    assert read(tmp_path) == {"a": 1}
    assert read(tmp_path) == {"a": 1}


def test_a_file_of_the_dead_that_is_no_text(tmp_path: Path) -> None:
    written(tmp_path, "counter", GONE, {"a": 1})
    path = written(tmp_path, "counter", GONE + 1, {"b": 1})
    path.write_bytes(path.read_bytes().replace(b"Help", b"\xff\xff\xff\xff"))
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert read(tmp_path) == {"a": 1}
    assert databases(tmp_path) == {"counter_dead.db"}
