"""Two worker processes behind one port.

The parent opens the sockets and keeps them, so that a worker that is replaced leaves the port open: one
socket that all workers accept from, and one for each worker alone, for who wants that very one.
"""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from ramkit.demo.errors import DemoError
from ramkit.demo.worker import WorkerConfig

__all__ = ["Workers", "address", "listen", "loopback"]

T = TypeVar("T")

_FIRST_PORT, _TRIES = 8000, 50
#: Seconds that a worker has to end by itself before it is killed.
_PATIENCE = 6.0
#: Seconds before a worker that died is replaced: twice as long each time, up to the second figure.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
#: A worker that lived so many seconds is a good one: its end starts the backoff anew.
_GOOD = 10.0


def loopback() -> str:
    """127.0.0.1, or ::1 on a machine that has only that."""
    for host in ("127.0.0.1", "::1"):
        with suppress(OSError):
            listen(host, 0).close()
            return host
    raise DemoError("this machine has no loopback address")


def listen(host: str, port: int | None) -> socket.socket:
    """A listening socket; without ``port`` the first that is free from 8000. Raises ``OSError``."""
    if port is None:
        for candidate in range(_FIRST_PORT, _FIRST_PORT + _TRIES):
            try:
                return listen(host, candidate)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
        return listen(host, 0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(512)
    except BaseException:
        opened.close()
        raise
    opened.settimeout(0)
    return opened


def address(opened: socket.socket) -> str:
    """Host and port as they are in a URL."""
    host, port = opened.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Workers:
    """Starts the workers, replaces those that die, ends them all on the way out.

    ``note`` is told what a user should know. Raises ``DemoError`` when a worker dies before it serves.
    """

    def __init__(
        self, config: WorkerConfig, public: socket.socket, *, note: Callable[[str], None], count: int = 2
    ) -> None:
        host = public.getsockname()[0]
        self._config, self._public, self._note = config, public, note
        self._private = [listen(host, 0) for _ in range(count)]
        self._keepers: list[asyncio.Task[None]] = []
        self._running: set[asyncio.subprocess.Process] = set()
        self._ready = False

    @property
    def addresses(self) -> list[str]:
        """Where each worker can be had alone."""
        return [address(each) for each in self._private]

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._keep(own)) for own in self._private]
        try:
            await self.watch(asyncio.gather(*map(_answers, self.addresses)))
        except BaseException:
            await self._end()
            raise
        self._ready = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def watch(self, work: "Coroutine[Any, Any, T] | asyncio.Future[T]") -> T:
        """What ``work`` returns; it is cancelled when the workers cannot be kept running."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()
            return await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _keep(self, own: socket.socket) -> None:
        """Run one worker, and another one when it is gone."""
        loop = asyncio.get_running_loop()
        backoff = _BACKOFF
        while True:
            begun = loop.time()
            process = await self._start(own)
            status = await process.wait()
            self._running.discard(process)
            if not self._ready:
                raise DemoError(f"a worker ended before it served (status {status})")
            self._note(f"worker {process.pid} is gone (status {status}); another one takes its place")
            backoff = _BACKOFF if loop.time() - begun > _GOOD else min(2 * backoff, _LONGEST_BACKOFF)
            await asyncio.sleep(backoff)

    async def _start(self, own: socket.socket) -> asyncio.subprocess.Process:
        sockets = (self._public.fileno(), own.fileno())
        # A session of its own: Ctrl-C is for the parent, which then ends the workers in order.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ramkit.demo.worker",
            stdin=asyncio.subprocess.PIPE, pass_fds=sockets, start_new_session=True,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": self._config.folder},
        )  # fmt: skip
        self._running.add(process)
        if process.stdin is not None:
            process.stdin.write(replace(self._config, sockets=sockets).line())
        return process

    async def _end(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*map(_end, self._running))
        for own in self._private:
            own.close()


async def _answers(where: str) -> None:
    """Returns when the worker that listens there answers. Until then the connection waits in the socket."""
    host, _, port = where.rpartition(":")
    while True:
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            writer.write(b"GET /livez HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n\r\n")
            if (await reader.readline()).startswith(b"HTTP/"):
                return
        except ConnectionError:
            # It died over it: whoever keeps it knows what to do.
            await asyncio.sleep(_BACKOFF)
        finally:
            writer.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL for one that does not mind it."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
