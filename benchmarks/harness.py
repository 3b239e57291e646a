"""Workers that take turns, and what is made of their times."""

import json
import os
import statistics
import subprocess
from dataclasses import dataclass, field
from typing import Any

from benchmarks.environments import ROOT, python_of

#: microseconds a request, one number a round
Times = list[float]


class PeerFailed(Exception):
    """A worker said why it could not do what it was asked."""


class Worker:
    """A process that has one package and times it on demand."""

    def __init__(self, peer: str, loop: str, redis_url: str) -> None:
        self.peer = peer
        command = [python_of(peer), "-m", "benchmarks.worker", peer, loop, redis_url]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self.versions: dict[str, str] = self._read()["versions"]
        except BaseException:
            self.close()
            raise

    def time(self, subject: str, flight: int) -> float:
        """Microseconds a request over one round."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"name": subject, "flight": flight}) + "\n")
        self._process.stdin.flush()
        reply = self._read()
        if "error" in reply:
            raise PeerFailed(reply["error"])
        return float(reply["us"])

    def close(self) -> None:
        """End it; it holds nothing that wants an orderly end."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerFailed(f"ended with status {self._process.wait()}")
        return json.loads(line)


@dataclass
class Team:
    """Workers of one event loop. What could not be installed or failed is in ``missing``, with why."""

    loop: str
    workers: dict[str, Worker] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def start(self, peers: list[str], redis_url: str) -> None:
        for peer in peers:
            try:
                self.workers[peer] = Worker(peer, self.loop, redis_url)
            except Exception as error:
                self.missing[peer] = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def measure(self, rows: list[tuple[str, str]], flight: int, rounds: int) -> dict[tuple[str, str], Times]:
        """``rounds`` rounds over all rows (peer, subject), one row after the other in each."""
        rows = [row for row in rows if row[0] in self.workers]
        times: dict[tuple[str, str], Times] = {row: [] for row in rows}
        for number in range(rounds + 1):
            for row in list(times):
                try:
                    seen = self.workers[row[0]].time(row[1], flight)
                except PeerFailed as error:
                    self.missing[f"{row[0]}, {row[1]}"] = str(error)
                    del times[row]
                    continue
                if number:  # the first warms up
                    times[row].append(seen)
        return times


def paired(above: Times, below: Times) -> Times:
    """The ratio in each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def median(times: Times) -> float:
    return statistics.median(times)


def spread(times: Times, digits: int = 1) -> str:
    """``median (least-most)``."""
    return f"{median(times):.{digits}f} ({min(times):.{digits}f}-{max(times):.{digits}f})"
