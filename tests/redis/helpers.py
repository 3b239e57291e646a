"""What the tests of this room share."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from ramkit.redis import Log, Redis


async def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for something that another process or task brings about, within a generous bound."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


class Closing(AsyncExitStack):
    """Remembers what a test made, and closes it."""

    def __call__(self, made: Any) -> Any:
        self.push_async_callback(made.aclose)
        return made


class Folded:
    """A fold that remembers everything."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.epochs: list[int] = []
        self.resets: list[tuple[int, int, bytes | None]] = []

    def reset(self, incarnation: int, epoch: int, snapshot: bytes | None) -> None:
        self.resets.append((incarnation, epoch, snapshot))
        self.messages = snapshot.split(b",") if snapshot else []
        self.epochs = []

    def apply(self, epoch: int, message: bytes) -> None:
        assert not self.epochs or epoch > self.epochs[-1]
        self.epochs.append(epoch)
        self.messages.append(message)

    def snapshot(self) -> bytes:
        return b",".join(self.messages)


class Follower:
    """A process of its own, as far as Redis can tell: a client, a log, what it folded."""

    def __init__(self, url: Any, closing: Closing, *, name: str = "test", **options: Any) -> None:
        self.redis = closing(Redis(url, deadline=5.0, cooldown=0.05))
        self.fold = Folded()
        self.log: Log = closing(Log(self.redis, name, self.fold, **options))


def spawn(code: str, *args: str) -> "subprocess.Popen[str]":
    """Another process that runs ``code``; its standard streams are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
