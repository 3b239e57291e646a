"""Bounded requests in flight."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.observers import Observer, notify, observers_of
from ramkit.kernel.replies import problem
from ramkit.limits.events import ConcurrencyLimit
from ramkit.limits.policy import Exempt, exemption, whole

__all__ = ["ConcurrencyLimitMiddleware"]


class ConcurrencyLimitMiddleware:
    """At most ``limit`` requests in flight in this process; further ones wait their turn, or get 503.

    ``queue``: how many may wait, ``timeout``: seconds each may. First come, first served, as in HAProxy
    (``maxconn``, ``timeout queue``): nobody overtakes, and nobody waits longer than the timeout. A request
    is in flight until the app is done with it, so a streaming response counts until it ends. ``exempt``:
    paths, or a function of the scope, that are neither counted nor held up, such as health checks.
    ``websockets``: True counts them, for as long as they are open. ``retry_after``: seconds that who was
    refused is told to wait.

    A client that leaves while it waits gives up its place; one whose body is still on its way is noticed
    when its turn comes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int,
        queue: int = 0,
        timeout: float = 1.0,
        exempt: Exempt = ("/health", "/health/*", "/healthz", "/livez", "/readyz"),
        websockets: bool = False,
        retry_after: int = 1,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        for name, value, least in (("limit", limit, 1), ("queue", queue, 0), ("retry_after", retry_after, 0)):
            if not whole(value) or value < least:
                raise ConfigurationError(name, f"{value!r} is no whole number of at least {least}")
        if not 0 < timeout < math.inf:
            raise ConfigurationError("timeout", f"seconds, more than 0, not {timeout!r}")
        self.app = app
        self._free, self._queue, self._timeout = limit, queue, timeout
        self._types = ("http", "websocket") if websockets else ("http",)
        self._is_exempt = exemption(exempt)
        self._monotonic = (clock if clock is not None else SystemClock()).monotonic
        self._observers = observers_of(observers)
        #: the longest wait first; whoever leaves, from wherever, takes one step
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._refusal = problem(
            503,
            detail="The server has as much to do as it can; try again later.",
            headers=[(b"retry-after", b"%d" % retry_after)],
        )

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn now."""
        return len(self._waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in self._types or (self._is_exempt is not None and self._is_exempt(scope)):
            await self.app(scope, receive, send)
            return
        if self._free:
            self._free -= 1
            try:
                await self.app(scope, receive, send)
            finally:
                self._release()
        elif len(self._waiting) >= self._queue:
            self._tell("full", 0.0)
            await self._refusal(scope, receive, send)
        else:
            await self._wait(scope, receive, send)

    async def _wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, client = self._monotonic(), _Client(receive)
        try:
            result = await self._turn(client)
            self._tell(result, self._monotonic() - began)
            if result == "admitted":
                try:
                    await self.app(scope, client.receive, send)
                finally:
                    self._release()
            elif result == "timeout":
                await self._refusal(scope, client.receive, send)
        finally:
            await client.aclose()

    async def _turn(self, client: "_Client") -> str:
        """Wait for a place; when this returns ``admitted`` it is the caller's, to be given back."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        left = client.watch()
        try:
            await asyncio.wait((turn, left), timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._leave(turn)
            raise
        if left.done():
            self._leave(turn)
            return "left"
        if turn.done():
            return "admitted"
        self._leave(turn)
        return "timeout"

    def _leave(self, turn: "asyncio.Future[None]") -> None:
        """Leave the queue; a place that was handed over at the same time goes to the next."""
        if turn.done():
            self._release()
        else:
            del self._waiting[turn]

    def _release(self) -> None:
        """Hand the place to who waits longest, if anybody does."""
        if self._waiting:
            self._waiting.popitem(last=False)[0].set_result(None)
        else:
            self._free += 1

    def _tell(self, result: str, waited: float) -> None:
        if self._observers:
            notify(self._observers, ConcurrencyLimit(result, waited))


class _Client:
    """Listens while the request waits, for whether the client leaves; what else it says is kept for the app.

    Of a body that comes in pieces only the first is taken, so nothing piles up here.
    """

    __slots__ = ("_kept", "_next", "_receive", "_watching")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []
        #: the message that is awaited, as a task: what it brings must not be lost when the turn comes
        self._next: asyncio.Task[Message] | None = None
        self._watching: asyncio.Task[None] | None = None

    def watch(self) -> "asyncio.Future[None]":
        """Done when the client has left."""
        self._watching = asyncio.get_running_loop().create_task(self._listen())
        return self._watching

    async def receive(self) -> Message:
        await self._end_watching()
        if self._kept:
            return self._kept.pop(0)
        if self._next is not None:
            coming, self._next = self._next, None
            return await coming
        return await self._receive()

    async def aclose(self) -> None:
        await self._end_watching()
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            coming = self._next = loop.create_task(_awaited(self._receive))
            message = await asyncio.shield(coming)
            self._next = None
            self._kept.append(message)
            if message["type"].endswith(".disconnect"):
                return
            if message.get("more_body", False):
                await loop.create_future()

    async def _end_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
            if not watching.cancelled():
                watching.exception()  # a receive that failed: the client is gone, whatever the reason


async def _awaited(receive: Receive) -> Message:
    return await receive()
