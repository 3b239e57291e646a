"""Metrics of several processes, by prometheus-client's files: its multiprocess mode, with the dead buried.

A process that ends leaves its files, one a kind of metric. Their counters, histograms and summaries are added
to files that stand for all dead together before they go, so that sums never fall; so are gauges of the modes
sum, min, max and mostrecent. Other gauges end with their process.
"""

import fcntl
import json
import logging
import os
import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Processes"]

_log = logging.getLogger("ramkit.metrics")
#: in the place of a process id: all that are dead
_DEAD = "dead"
#: seconds in which a process maps the file that it has made
_GRACE = 10.0

#: prometheus-client's, which has no types
_Values: Any = MmapedDict
_Collector: Any = MultiProcessCollector

Value = tuple[float, float]
_MERGES: dict[str, Callable[[Value, Value], Value]] = {
    "counter": lambda a, b: (a[0] + b[0], 0.0),
    "histogram": lambda a, b: (a[0] + b[0], 0.0),
    "summary": lambda a, b: (a[0] + b[0], 0.0),
    "gauge_sum": lambda a, b: (a[0] + b[0], 0.0),
    "gauge_min": min,
    "gauge_max": max,
    "gauge_mostrecent": lambda a, b: max(a, b, key=lambda each: each[1]),
}


class Processes:
    """A collector over ``PROMETHEUS_MULTIPROC_DIR``. ``folder``: that directory.

    Each collecting first folds the files of the dead. Processes that collect take turns by a lock in the
    folder, and what one leaves half done when it is killed the next one ends.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError("folder", f"{folder} is no directory")
        self._folder = folder.resolve()

    def collect(self) -> Iterator[Metric]:
        with self._locked():
            living = self._fold()
            files = [str(path) for path in self._folder.glob("*.db") if _has_values(path)]
            metrics: list[Metric] = list(_Collector.merge(files))
        yield from metrics
        yield from _process_metrics(living)

    def restricted_registry(self, names: Iterable[str]) -> Any:
        """As registries have it, which encoders take a collector for."""
        wanted = set(names)
        return [metric for metric in self.collect() if metric.name in wanted]

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fold(self) -> list[int]:
        """Fold the files of the dead; gives the ids of the living."""
        self._finish()
        living: dict[int, bool] = {}
        dead: dict[str, list[Path]] = {}
        for path in sorted(self._folder.glob("*_*.db")):
            kind, _, number = path.stem.rpartition("_")
            if not number.isdecimal():
                continue
            pid = int(number)
            if _uses(pid, path):
                living[pid] = True
            else:
                dead.setdefault(kind, []).append(path)
        if dead:
            self._bury(dead)
        return sorted(living)

    def _bury(self, dead: dict[str, list[Path]]) -> None:
        """Write what will be, say so in one step, then do it: killed at any point, nothing counts twice."""
        for kind, paths in dead.items():
            merge = _MERGES.get(kind)
            if merge is None:
                continue
            total = self._folder / f"{kind}_{_DEAD}.db"
            new = self._folder / f"{kind}_{_DEAD}.new"
            new.unlink(missing_ok=True)
            _write(new, _merged(merge, [*([total] if total.exists() else []), *paths]))
        said = {
            "kinds": [kind for kind in dead if kind in _MERGES],
            "files": [path.name for paths in dead.values() for path in paths],
        }
        draft = self._folder / "folding.new"
        draft.write_text(json.dumps(said))
        draft.replace(self._folder / "folding.json")
        self._finish()

    def _finish(self) -> None:
        """Do what was said, if there is something."""
        try:
            said = json.loads((self._folder / "folding.json").read_text())
        except FileNotFoundError:
            return
        for kind in said["kinds"]:
            new = self._folder / f"{kind}_{_DEAD}.new"
            if new.exists():
                new.replace(new.with_suffix(".db"))
        for name in said["files"]:
            (self._folder / name).unlink(missing_ok=True)
        (self._folder / "folding.json").unlink()


def _has_values(path: Path) -> bool:
    """Not of a file that is gone by now: servers remove their workers' gauges themselves."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _merged(merge: Callable[[Value, Value], Value], paths: Iterable[Path]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for path in paths:
        try:
            for key, value, timestamp, _ in _Values.read_all_values_from_file(str(path)):
                seen = (value, timestamp)
                found[key] = merge(found[key], seen) if key in found else seen
        except FileNotFoundError:  # a gauge's, which servers remove themselves
            continue
        except (struct.error, RuntimeError, UnicodeDecodeError) as error:  # a process that died as it began
            _log.warning("%s is cut short: %s", path, error)
    return found


def _write(path: Path, values: dict[str, Value]) -> None:
    file = _Values(str(path))
    for key, (value, timestamp) in values.items():
        file.write_value(key, value, timestamp)
    file.close()


def _uses(pid: int, path: Path) -> bool:
    """Whether the process writes to this file. One that only has the number of a dead one does not."""
    maps = Path(f"/proc/{pid}/maps")
    if not Path("/proc/self/maps").exists():
        return _lives(pid)
    try:
        mapped = maps.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:  # another user's: it cannot be seen what it does
        return True
    if str(path) in mapped:
        return True
    # not mapped yet? A zombie has no maps at all
    try:
        return bool(mapped) and time.time() - path.stat().st_mtime < _GRACE
    except FileNotFoundError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _process_metrics(pids: Iterable[int]) -> Iterable[Metric]:
    """prometheus-client's process metrics, of each process by itself, with its id as a label."""
    found: dict[str, Metric] = {}
    for pid in pids:
        for metric in ProcessCollector(pid=partial(int, pid), registry=CollectorRegistry()).collect():
            total = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            for sample in metric.samples:
                total.add_sample(sample.name, {**sample.labels, "pid": str(pid)}, sample.value)
    return found.values()
