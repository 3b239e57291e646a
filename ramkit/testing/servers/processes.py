"""Starting servers through the guard (see ``_guard``), on ports and in folders of their own."""

import atexit
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ramkit.testing.servers.finding import ServerUnavailable

__all__ = ["Guard", "Process", "User", "free_port", "guard", "loopback", "netloc", "on_free_port", "until"]

T = TypeVar("T")

#: Below what Linux, macOS and the BSDs give to outgoing connections: a client that reconnects to a stopped
#: server's port could otherwise be given that very port, and be connected to itself.
_PORTS = range(10_000, 32_000)
#: How often a port is tried that somebody else takes between being found free and being bound.
_PORT_TRIES = 10
_START_TIMEOUT = 60.0
#: Seconds between looks at a server that is starting.
_PAUSE = 0.005

User = tuple[int, int]


class Process:
    """A server that the guard started."""

    def __init__(self, guard: "Guard", pid: int, log: Path) -> None:
        self._guard, self.pid, self._log = guard, pid, log

    def status(self, timeout: float = 0.0) -> int | None:
        """The exit status, waited for ``timeout`` seconds; ``None`` while it runs."""
        status: int | None = self._guard.ask("status", pid=self.pid, timeout=timeout)["status"]
        return status

    def signal(self, number: signal.Signals, *, tree: bool = False) -> None:
        """Send a signal to it, and to its descendants if ``tree``."""
        self._guard.ask("signal", pid=self.pid, signal=int(number), tree=tree)

    def end(self) -> None:
        """End it, also when it is stopped; it is killed when it takes longer than five seconds."""
        self._guard.ask("end", pid=self.pid)

    def log(self) -> str:
        """The last of what it printed."""
        with suppress(OSError):
            return self._log.read_text(errors="replace")[-2000:].strip()
        return ""


class Guard:
    """The process that ends this one's servers and removes their files; ``home`` is where these are."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._turn = threading.RLock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("_guard.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(keep=("TMPDIR",)),
            start_new_session=True,
        )
        self._asked = 0
        self.home = Path(self._read(0)["home"])
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still serves this very process (a fork has to have its own)."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """One request and its answer. Raises ``ServerUnavailable`` when it cannot be done."""
        stdin = self._process.stdin
        with self._turn:
            self._asked += 1
            try:
                if stdin is None or stdin.closed:
                    raise BrokenPipeError
                stdin.write(json.dumps({"do": do, "number": self._asked, **request}).encode() + b"\n")
                stdin.flush()
            except BrokenPipeError:
                raise ServerUnavailable("the process that guards the servers was ended") from None
            return self._read(self._asked)

    def folder(self, kind: str, user: User | None = None) -> Path:
        """A fresh folder for one server, which ``user`` owns."""
        made = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self.home))
        if user is not None:
            os.chown(made, *user)
        return made

    def start(
        self,
        argv: Sequence[str | Path],
        folder: Path,
        *,
        user: User | None = None,
        ending: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start ``argv`` in ``folder``; ``ending`` is the signal that tells it to end."""
        log = folder / "log"
        uid, gid = user or (None, None)
        started = self.ask(
            "start",
            argv=[str(each) for each in argv],
            cwd=str(folder),
            env={**_environment(), "HOME": str(folder), **(environment or {})},
            log=str(log),
            uid=uid,
            gid=gid,
            ending=int(ending),
        )
        return Process(self, started["pid"], log)

    def run(
        self, argv: Sequence[str | Path], folder: Path, *, user: User | None = None, timeout: float = 60
    ) -> None:
        """Run ``argv`` to its end. Raises ``ServerUnavailable`` with what it printed when it fails."""
        process = self.start(argv, folder, user=user)
        status = process.status(timeout)
        process.end()
        if status != 0:
            raise ServerUnavailable(f"{Path(argv[0]).name} failed (status {status}): {process.log()}")

    def close(self) -> None:
        """End all servers and remove all folders; returns when that is done."""
        if self._owner != os.getpid() or self._process.stdin is None or self._process.stdout is None:
            return
        with self._turn:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()

    def _read(self, number: int) -> dict[str, Any]:
        stdout = self._process.stdout
        answer: dict[str, Any] = {"number": -1}
        # Whoever waited for an earlier answer may have been interrupted, by Ctrl-C for one.
        while answer["number"] != number:
            line = stdout.readline() if stdout is not None else b""
            if not line:
                raise ServerUnavailable("the process that guards the servers was ended")
            answer = json.loads(line)
        if "error" in answer:
            raise ServerUnavailable(answer["error"])
        return answer


_guards: list[Guard] = []
_making = threading.Lock()


def guard() -> Guard:
    """This process's guard, started when it is first asked for. Raises ``ServerUnavailable``."""
    if os.name != "posix":
        raise ServerUnavailable(f"servers cannot be started on {sys.platform}: give their URLs instead")
    with _making:
        if not _guards or not _guards[-1].alive:
            _guards.append(Guard())
        return _guards[-1]


def remove(folder: Path) -> None:
    """Remove a server's folder."""
    shutil.rmtree(folder, ignore_errors=True)


def loopback() -> str:
    """127.0.0.1, or ::1 on a machine that has only that. Raises ``ServerUnavailable``."""
    for host in ("127.0.0.1", "::1"):
        if _bindable(host, 0):
            return host
    raise ServerUnavailable("this machine has no loopback address that can be bound")


def netloc(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def free_port(host: str) -> int:
    """A port that nobody listens on, at this moment."""
    for _ in range(1000):
        port = random.choice(_PORTS)  # noqa: S311 not a secret
        if _bindable(host, port):
            return port
    raise ServerUnavailable(f"no free port between {_PORTS.start} and {_PORTS.stop} on {host}")


def on_free_port(host: str, start: Callable[[int], T]) -> T:
    """What ``start`` returns for a port that it could bind; it raises ``PortTaken`` for another try."""
    for _ in range(_PORT_TRIES - 1):
        with suppress(PortTaken):
            return start(free_port(host))
    return start(free_port(host))


class PortTaken(ServerUnavailable):
    """A server could not bind its port."""


def until(ready: Callable[[], bool], process: Process, what: str, timeout: float = _START_TIMEOUT) -> None:
    """Wait until ``ready()``, at most ``timeout`` seconds, as long as ``process`` runs.

    Raises ``PortTaken`` when it ended because its port was taken, otherwise ``ServerUnavailable``.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        status = process.status(_PAUSE)
        if status is not None:
            log = process.log()
            kind = PortTaken if "in use" in log.lower() else ServerUnavailable
            raise kind(f"{what} ended with status {status} when it was started: {log}")
        if time.monotonic() > deadline:
            raise ServerUnavailable(f"{what} was not ready after {timeout:g} s: {process.log()}")


def _bindable(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return True
    return False


def _environment(keep: Sequence[str] = ()) -> dict[str, str]:
    """Little enough that nothing of the user's (PGDATA, LC_ALL, LD_PRELOAD) changes a server."""
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **kept}
