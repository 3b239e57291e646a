"""Streams, and clients that leave."""

# ruff: noqa: ARG001  # apps take what ASGI hands them

import asyncio
from contextlib import suppress

from ramkit.kernel.asgi import Receive, Scope, Send
from ramkit.testing.apps._record import AppError, Awkward

__all__ = ["STREAMS"]

_EVENTS = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"))
_BYTES = ((b"content-type", b"application/octet-stream"),)
#: a middleware may hold back some bytes of what is no event stream, but not 10 MB
_CHUNK = b"more" * 256
_LIMIT = 10_000


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(send: Send, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})


async def _piece(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _server_sent_events(scope: Scope, receive: Receive, send: Send) -> None:
    await _start(send, _EVENTS)
    for n in range(5):
        await _piece(send, b"data: %d\n\n" % n)
    await _piece(send, b"", more=False)


async def _endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends until a task of its own has heard that the client is gone, as frameworks do."""
    listener = asyncio.create_task(_disconnected(receive))
    try:
        await _start(send, _EVENTS)
        for _ in range(_LIMIT):
            if listener.done():
                return
            with suppress(OSError):
                await _piece(send, b"data: on and on\n\n")
            await asyncio.sleep(0)
        raise AppError(f"nobody stopped it after {_LIMIT} pieces")
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


async def _endless_deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Never receives: only the OSError from send, let through, ends it (spec_version 2.4)."""
    await _start(send, _BYTES)
    for _ in range(_LIMIT):
        await _piece(send, _CHUNK)
    raise AppError(f"nobody stopped it after {_LIMIT} pieces")


async def _gives_up(scope: Scope, receive: Receive, send: Send) -> None:
    """Catches the OSError and returns, its response unfinished."""
    await _start(send, _BYTES)
    with suppress(OSError):
        for _ in range(_LIMIT):
            await _piece(send, _CHUNK)
        raise AppError(f"nobody stopped it after {_LIMIT} pieces")


async def _finishes_anyway(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not care: sends all of a short response to a client that has left."""
    await _start(send, _BYTES)
    for _ in range(5):
        await _piece(send, _CHUNK)
    await _piece(send, b"", more=False)


async def _waits(scope: Scope, receive: Receive, send: Send) -> None:
    """Long polling: the client leaves before there is anything to say."""
    await _disconnected(receive)


async def _reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "http.request":
        if not message.get("more_body", False):
            await _start(send, _BYTES)
            await _piece(send, b"whole", more=False)
            return


STREAMS: tuple[Awkward, ...] = (
    Awkward(name="server-sent-events", app=_server_sent_events, headers=_EVENTS, live=True,
            body=b"".join(b"data: %d\n\n" % n for n in range(5))),
    Awkward(name="endless", app=_endless, headers=_EVENTS, live=True, leaves_after=51,
            body=b"data: on and on\n\n" * 3),
    Awkward(name="endless-older-server", app=_endless, headers=_EVENTS, live=True, leaves_after=51,
            body=b"data: on and on\n\n" * 3, forgiving=True),
    Awkward(name="endless-deaf", app=_endless_deaf, headers=_BYTES, leaves_after=2048,
            body=_CHUNK * 2),
    Awkward(name="client-leaves-mid-body", app=_gives_up, headers=_BYTES, leaves_after=2048,
            body=_CHUNK * 2),
    Awkward(name="client-gone-unnoticed", app=_finishes_anyway, headers=_BYTES, leaves_after=1024,
            body=_CHUNK, forgiving=True),
    Awkward(name="client-gone-at-once", app=_gives_up, status=None, leaves_after=0),
    Awkward(name="long-poll-abandoned", app=_waits, status=None, leaves_after=0),
    Awkward(name="upload-breaks-off", app=_reads_all, method="POST", sends=[b"a part", b"of it"], status=None,
            breaks_off=True),
)  # fmt: skip
