"""The client's side of one render."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ramkit.kernel.asgi import Message

if TYPE_CHECKING:
    from ramkit.cache.exchange import Exchange

__all__ = ["Answer"]


class Answer:
    """Hands a response to its client: preconditions are answered, and with ``put`` nobody who waits for
    the render waits for its client. What is put is bounded by whoever puts it."""

    __slots__ = ("_exchange", "_messages", "_muted", "_task")

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self._messages: deque[Message] = deque()
        self._muted = False
        self._task: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        """Returns when the client has taken it, and all before it."""
        await self.drain()
        if self._muted:
            # An app may do nothing but send: others want to run as they would while a client takes it.
            await asyncio.sleep(0)
        for each in self._instead_of(message):
            await self._exchange.send(each)

    def put(self, message: Message) -> None:
        """Send as soon as the client takes it; dropped when the client has gone."""
        self._messages.extend(self._instead_of(message))
        if self._task is None or (self._task.done() and not self._gone(self._task)):
            self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Returns when the client has taken everything; raises what sending raised."""
        if self._task is not None:
            await self._task

    def cancel(self) -> None:
        """Forget what was not sent."""
        if self._task is not None:
            self._task.cancel()

    def _instead_of(self, message: Message) -> list[Message]:
        """The message, or what the request's preconditions make of it."""
        if self._muted:
            return []
        if message["type"] != "http.response.start":
            return [message]
        instead = self._exchange.precondition(message["status"], message["headers"])
        self._muted = instead is not None
        return instead if instead is not None else [message]

    async def _run(self) -> None:
        while self._messages:
            await self._exchange.send(self._messages.popleft())

    @staticmethod
    def _gone(task: "asyncio.Task[None]") -> bool:
        return task.cancelled() or task.exception() is not None
