"""An app behind uvicorn, in a script or in a loop that runs already."""

import asyncio
import socket
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ramkit.kernel.asgi import ASGIApp

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Listener"]

_NOT_STARTED = "the app did not start; the server's log says why"


class Listener:
    """One time of listening."""

    def __init__(self, app: ASGIApp, host: str, port: int, options: dict[str, Any]) -> None:
        import uvicorn

        options.setdefault("ws", "websockets-sansio")
        self._server = uvicorn.Server(uvicorn.Config(app, **options))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=2048)
        self._task: asyncio.Task[None] | None = None
        self.serving = True

    def listen(self) -> Awaitable[int] | None:
        """Serves to the end where no loop runs; else gives the port, once it listens."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            try:
                self._server.run(sockets=[self._socket])
            finally:
                self._end()
            return None
        return self._start()

    async def _start(self) -> int:
        port: int = self._socket.getsockname()[1]
        ready = asyncio.Event()
        _hear(self._server, ready)
        self._task = asyncio.create_task(self._serve())
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self._server.started:
            await self._task
            raise RuntimeError(_NOT_STARTED)
        return port

    async def _serve(self) -> None:
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._end()

    def _end(self) -> None:
        self.serving = False
        self._socket.close()

    async def close(self) -> None:
        """From another thread or from a request of a script's it only tells the server."""
        self._server.should_exit = True
        task = self._task
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({task})


def _hear(server: "uvicorn.Server", ready: asyncio.Event) -> None:
    """Signals are for whoever runs the loop; that it has started is for us."""
    startup = server.startup

    async def heard(sockets: list[socket.socket] | None = None) -> None:
        try:
            await startup(sockets)
        except SystemExit:  # which would end the loop with all that runs on it
            raise RuntimeError(_NOT_STARTED) from None
        ready.set()

    @contextmanager
    def capture_signals() -> Generator[None]:
        yield

    server.startup, server.capture_signals = heard, capture_signals  # type: ignore[method-assign]  # of this server alone
