"""The guard: a small process that starts servers for another one, and ends them when that one is gone.

Run as a script with nothing but the standard library. It reads requests, one JSON object a line, from
its standard input and answers each with a line. When the input ends, or its parent is another one than
at first, it ends every server and removes its folder: so nothing stays behind, however the parent ended.
Servers are its children, so that a pid it signals is never another process's. Should the guard itself be
killed, Linux kills the servers, and the folder, whose lock is then free, is removed by the next guard.
"""

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

PREFIX = "ramkit-servers-"
_LOCK = "lock"
_PR_SET_PDEATHSIG = 1
#: Seconds between looks at the parent; its end is usually noticed at once, by the end of the input.
_LOOK = 1.0
#: Seconds that a server has to end by itself before it is killed.
_PATIENCE = 5.0

Request = dict[str, Any]


def folder(*, shared: bool) -> tuple[Path, int]:
    """A fresh folder and the lock that says it is in use; ``shared`` means that other users reach into it."""
    for parent in [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]:  # noqa: S108 mkdtemp is used
        if not shared or _suits(parent):
            break
    else:
        raise OSError("no temporary folder that every user can reach and run programs from")
    _sweep(parent)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    if shared:
        made.chmod(0o711)
    # Renamed when it is locked: a sweep takes a lock that it can have for one whose owner died.
    fresh = made / f"{_LOCK}.new"
    lock = os.open(fresh, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    fresh.rename(made / _LOCK)
    return made, lock


def _suits(parent: Path) -> bool:
    if not parent.is_dir() or os.statvfs(parent).f_flag & getattr(os, "ST_NOEXEC", 0):
        return False
    resolved = parent.resolve()
    return all(each.stat().st_mode & stat.S_IXOTH for each in (resolved, *resolved.parents))


def _sweep(parent: Path) -> None:
    """Remove what guards that were killed left: folders of this user whose lock nobody holds."""
    for each in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if each.is_symlink() or each.stat().st_uid != os.geteuid():
                continue
            lock = os.open(each / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(each, ignore_errors=True)
            finally:
                os.close(lock)


def tree(pid: int) -> list[int]:
    """``pid`` and its descendants: PostgreSQL's have process groups of their own."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def _parents() -> list[tuple[int, int]]:
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        listed = subprocess.run(
            ["/bin/ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        pairs = map(str.split, listed.stdout.splitlines())
        return [(int(pid), int(parent)) for pid, parent in pairs]
    found: list[tuple[int, int]] = []
    for each in proc.iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                # The name, in parentheses, may hold anything; state and parent follow it.
                found.append((int(each.name), int((each / "stat").read_text().rpartition(")")[2].split()[1])))
    return found


class Guard:
    def __init__(self) -> None:
        self._folder, self._lock = folder(shared=os.geteuid() == 0)
        self._servers: dict[int, tuple[subprocess.Popen[bytes], int]] = {}
        #: Those that were not ended by request, though they may have ended by themselves.
        self._running: set[int] = set()

    def greet(self) -> Request:
        return {"home": str(self._folder)}

    def start(self, request: Request) -> Request:
        ending: int = request["ending"]
        libc = ctypes.CDLL(None)

        def prepare() -> None:
            os.setsid()
            if request["uid"] is not None:
                os.setgroups([])
                os.setgid(request["gid"])
                os.setuid(request["uid"])
            if sys.platform == "linux":
                # After setuid, which clears it.
                libc.prctl(_PR_SET_PDEATHSIG, ending)

        with Path(request["log"]).open("ab") as log:
            server = subprocess.Popen(
                request["argv"],
                cwd=request["cwd"],
                env=request["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=prepare,  # noqa: PLW1509 the guard has one thread
            )
        self._servers[server.pid] = (server, ending)
        self._running.add(server.pid)
        return {"pid": server.pid}

    def status(self, request: Request) -> Request:
        """The exit status of a server, waited for ``timeout`` seconds; null while it runs."""
        server, _ = self._servers[request["pid"]]
        with suppress(subprocess.TimeoutExpired):
            server.wait(request["timeout"])
        return {"status": server.returncode}

    def signal(self, request: Request) -> Request:
        """Signal a server, and its descendants when ``tree`` is true."""
        server, _ = self._servers[request["pid"]]
        if server.poll() is None:
            for each in tree(server.pid) if request["tree"] else [server.pid]:
                with suppress(ProcessLookupError):
                    os.kill(each, request["signal"])
        return {}

    def end(self, request: Request) -> Request:
        self._end([request["pid"]])
        return {}

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _nothing)
        self._end(list(self._running))
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, pids: list[int]) -> None:
        ending = [self._servers[pid] for pid in pids if pid in self._running]
        self._running.difference_update(pids)
        families = [tree(server.pid) if server.poll() is None else [] for server, _ in ending]
        for (server, how), family in zip(ending, families, strict=True):
            if server.poll() is None:
                server.send_signal(how)
            for each in family:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)
        deadline = time.monotonic() + _PATIENCE
        for server, _ in ending:
            with suppress(subprocess.TimeoutExpired):
                server.wait(max(0.0, deadline - time.monotonic()))
            # Whoever is still in its group, above all nginx's workers, goes with it.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _nothing(*_: object) -> None:
    """Unlike SIG_IGN, this is not inherited by the servers."""


def _serve(guard: Guard) -> None:
    parent, pending = os.getppid(), b""
    while os.getppid() == parent:
        if not select.select([0], [], [], _LOOK)[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            _answer(guard, json.loads(line))


def _answer(guard: Guard, request: Request) -> None:
    try:
        answer = getattr(guard, request["do"])(request)
    except (OSError, subprocess.SubprocessError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    _write({**answer, "number": request["number"]})


def _write(answer: Request) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def main() -> None:
    signal.signal(signal.SIGINT, _nothing)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        guard = Guard()
    except OSError as error:
        _write({"error": str(error), "number": 0})
        return
    try:
        _write({**guard.greet(), "number": 0})
        _serve(guard)
    finally:
        guard.close()


if __name__ == "__main__":
    main()
