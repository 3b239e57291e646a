"""One worker process: serves the demo on sockets that its parent opened.

``python -m ramkit.demo.worker`` reads its configuration as one line of JSON from standard input, which
stays open: when it ends the parent is gone, however it went, and the worker goes as well.
"""

import asyncio
import json
import logging
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from ramkit.demo.service import create_app

__all__ = ["WorkerConfig", "main"]

#: Seconds that requests under way have to end when the worker is told to.
_GRACE = 3


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What all workers share, and the ``sockets`` (file descriptors) that this one listens on.

    ``folder``: for what they count, and for the log.
    """

    dsn: str
    replicas: Sequence[str]
    redis: str
    prefix: str
    secret: str
    folder: str
    sockets: Sequence[int] = ()

    def line(self) -> bytes:
        """For standard input."""
        return json.dumps(asdict(self)).encode() + b"\n"


class _Server(uvicorn.Server):
    """Ends what would stream for ever, and follows the parent's end."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.set()
        super().handle_exit(sig, frame)

    async def follow_parent(self, folder: str) -> None:
        """Returns when the parent is gone; the server ends then, and the folder goes with it."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        # The parent writes nothing more: it becomes readable when it is closed.
        loop.add_reader(sys.stdin.fileno(), gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(sys.stdin.fileno())
        self._stopping.set()
        self.should_exit = True
        shutil.rmtree(folder, ignore_errors=True)


async def _serve(config: WorkerConfig) -> None:
    stopping = asyncio.Event()
    app = create_app(
        config.dsn,
        config.replicas,
        config.redis,
        prefix=config.prefix,
        secret=bytes.fromhex(config.secret),
        folder=Path(config.folder),
        stopping=stopping,
    )
    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws="websockets-sansio",
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(settings, stopping)
    following = asyncio.create_task(server.follow_parent(config.folder))
    try:
        await server.serve([socket.socket(fileno=number) for number in config.sockets])
    finally:
        following.cancel()


def main() -> None:
    """Serve until told to end."""
    config = WorkerConfig(**json.loads(sys.stdin.buffer.readline()))
    logging.basicConfig(format="    worker %(process)d: %(message)s")
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(_serve(config))


if __name__ == "__main__":
    main()
