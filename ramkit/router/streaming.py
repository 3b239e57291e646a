"""Responses that last: pieces as they come, and server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import msgspec

from ramkit.kernel.asgi import Receive, Send

__all__ = ["COMMENT", "Event", "ended", "events", "pump"]

#: an event of one line that every client ignores (WHATWG HTML §9.2.6)
COMMENT = b":\n\n"


class Event(NamedTuple):
    """A server-sent event. ``data``: text, or what becomes JSON. ``retry``: milliseconds."""

    data: Any
    event: str | None = None
    id: str | None = None
    retry: int | None = None


Piece: TypeAlias = bytes | str


async def events(source: AsyncIterable[Any]) -> AsyncGenerator[bytes]:
    """Each as the lines of an event (WHATWG HTML §9.2.6): an ``Event``, or its data alone."""
    try:
        async for each in source:
            yield _event(each if isinstance(each, Event) else Event(each))
    finally:
        await ended(source)


def _event(event: Event) -> bytes:
    data = event.data if isinstance(event.data, str) else msgspec.json.encode(event.data).decode()
    lines: list[str] = []
    for name, value in (("event", event.event), ("id", event.id)):
        if value is not None:
            if any(character in value for character in "\r\n\0"):
                raise ValueError(f"{name}: {value!r} is more than one line")
            lines.append(f"{name}: {value}")
    if event.retry is not None:
        lines.append(f"retry: {event.retry:d}")
    # A CR ends a line just as an LF does, so one in the data would begin a field.
    lines += [f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return "\n".join([*lines, "", ""]).encode()


async def pump(
    pieces: AsyncIterable[Piece], receive: Receive, send: Send, *, heartbeat: float | None = None
) -> bool:
    """Sends the pieces as body messages. Whether all were; when the client leaves, the source is closed.

    ``heartbeat``: after so many seconds without a piece a comment is sent, by which proxies know that the
    connection is alive, and we that the client is. The source runs in one task to its end.
    """
    sending = _Sending(send)
    work = [asyncio.create_task(sending.run(pieces)), asyncio.create_task(_left(receive))]
    if heartbeat is not None:
        work.append(asyncio.create_task(sending.beat(heartbeat)))
    try:
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)
    for task in work:
        # A server may tell of a client that left by an OSError, too (ASGI, HTTP 2.4).
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, OSError):
            raise error
    source = work[0]
    return source.done() and not source.cancelled() and source.exception() is None


class _Sending:
    """One who sends at a time, and none between the last piece and the end."""

    __slots__ = ("_lock", "_pieces", "_send")

    def __init__(self, send: Send) -> None:
        self._send, self._lock, self._pieces = send, asyncio.Lock(), 0

    async def run(self, pieces: AsyncIterable[Piece]) -> None:
        try:
            async for piece in pieces:
                self._pieces += 1
                await self._body(piece if isinstance(piece, bytes) else piece.encode())
        finally:
            await ended(pieces)

    async def beat(self, interval: float) -> None:
        while True:
            before = self._pieces
            await asyncio.sleep(interval)
            if self._pieces == before:
                await self._body(COMMENT)

    async def _body(self, data: bytes) -> None:
        async with self._lock:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})


async def _left(receive: Receive) -> None:
    """Ends when the client has left; what is unread of its request counts for nothing."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def ended(source: AsyncIterable[Any] | AsyncIterator[Any]) -> None:
    """A generator that was left in the middle ends now, not when it is collected."""
    close = getattr(source, "aclose", None)
    if close is not None:
        with suppress(RuntimeError):  # a generator that is running is closed by whoever runs it
            await close()
