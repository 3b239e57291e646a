"""Resources that start lazily on the running loop, and follow lifespan when there is one."""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from typing import Protocol

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LoopBound", "Resource", "follow_lifespan"]

_log = logging.getLogger("ramkit")

#: Seconds that tasks which others started while they were cancelled (to give back a lease, say) have to end.
_GRACE = 1.0

#: What the server hears when the resources are closed.
_ENDS = frozenset({"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"})


class Resource(Protocol):
    """Something that is opened and closed. Both may be called at any time and more than once; a
    resource that was closed starts again when it is used."""

    async def start(self) -> None:
        """Open what would otherwise be opened by the first use."""
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...


async def follow_lifespan(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *resources: Resource
) -> None:
    """Runs the app's lifespan with these resources around it.

    They start before the app hears of its startup, in order, and are closed in reverse order, each
    once, before the server hears that shutdown is complete, or that startup or shutdown failed. One that
    does not start makes the startup fail. An error in closing is logged. An app that does not support
    lifespan raises here as it would alone; the resources are lazy then.
    """
    await _Lifespan(app, resources).run(scope, receive, send)


class _StartFailed(Exception):
    """Ends the app's lifespan, whose failure the server has heard of."""


class _Lifespan:
    __slots__ = ("_app", "_closing", "_failed", "_receive", "_resources", "_send")

    def __init__(self, app: ASGIApp, resources: tuple[Resource, ...]) -> None:
        self._app, self._resources = app, resources
        self._closing = AsyncExitStack()
        self._failed = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        async with self._closing:
            with suppress(_StartFailed):
                await self._app(scope, self._hear, self._tell)

    async def _hear(self) -> Message:
        message = await self._receive()
        if message["type"] == "lifespan.startup":
            for resource in self._resources:
                self._closing.push_async_callback(_close, resource)
                try:
                    await resource.start()
                except Exception as error:
                    _log.exception("%r did not start", resource)
                    await self._tell(
                        {"type": "lifespan.startup.failed", "message": f"{type(resource).__name__}: {error}"}
                    )
                    self._failed = True
                    raise _StartFailed from error
        return message

    async def _tell(self, message: Message) -> None:
        if self._failed:
            return  # an app that caught _StartFailed has nothing to add
        if message["type"] in _ENDS:
            await self._closing.aclose()
        await self._send(message)


async def _close(resource: Resource) -> None:
    try:
        await resource.aclose()
    except Exception:
        _log.exception("%r did not close", resource)


class LoopBound:
    """Background tasks, and a base for what starts lazily, on whatever loop runs now.

    A subclass calls ``attach()`` at the beginning of each use and opens what it needs when that
    returns True. It overrides ``forget()`` to drop, without touching it, what belonged to a loop that
    is gone, and ``aclose()`` to call this one and then close what it still has. On one loop at a time.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Future[object]] = set()

    def attach(self) -> bool:
        """Belong to the running loop. True if that is news: at first, after ``aclose``, on another loop."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return False
        if self._loop is not None:
            self._tasks = set()
            self.forget()
        self._loop = loop
        return True

    def forget(self) -> None:
        """Drop what belonged to the former loop."""

    def spawn(self, work: Awaitable[object]) -> None:
        """Run something in the background: referenced until it ends, an exception logged."""
        self.attach()
        task: asyncio.Future[object] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_failure)

    async def aclose(self) -> None:
        """Cancel the background tasks and wait for their end. Usable again afterwards."""
        if self._loop is asyncio.get_running_loop():
            for grace in (0.0, _GRACE, 0.0):
                await _end(self._tasks - {asyncio.current_task()}, grace)
        elif self._loop is not None:
            self.forget()
        self._loop, self._tasks = None, set()


async def _end(tasks: "set[asyncio.Future[object]]", grace: float) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)


def _log_failure(task: "asyncio.Future[object]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("background task %r failed", task, exc_info=error)
