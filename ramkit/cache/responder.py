"""What becomes of the response to one render: passed on, and stored if it may be."""

import asyncio
import logging
from enum import Enum
from typing import TYPE_CHECKING

from ramkit.cache.answer import Answer
from ramkit.cache.core.entry import SILENT, Entry
from ramkit.cache.core.serving import browser_control
from ramkit.cache.core.validating import can_be_validated, confirmed
from ramkit.cache.flight import Turn
from ramkit.cache.reads import WatchedScope
from ramkit.cache.recorder import Recorder
from ramkit.kernel.asgi import Message, RawHeaders, raw_headers

if TYPE_CHECKING:
    from ramkit.cache.exchange import Exchange

__all__ = ["Responder"]

_log = logging.getLogger("ramkit.cache")

#: Failures that a stale response may stand in for (RFC 5861 §4).
_FAILURES = frozenset({500, 502, 503, 504})


#: What a chunk takes beside its bytes, and how many are kept beyond what max_body pays for.
_CHUNK, _CHUNKS = 64, 4096


class Mode(Enum):
    """What happens to the app's messages."""

    WAITING = 0
    #: held back until the body is whole, because its ETag goes before it
    HELD = 1
    #: passed on while they are collected
    STREAMED = 2
    PASSED = 3
    #: the client has its answer already
    DROPPED = 4


class Responder:
    """``send`` for one render."""

    __slots__ = (
        "_answer", "_cache", "_exchange", "_expired", "_held", "_kept", "_mode", "_parts", "_recorder",
        "_size", "mismatched",
    )  # fmt: skip

    def __init__(self, exchange: "Exchange", scope: WatchedScope, turn: Turn, expired: Entry | None) -> None:
        self._exchange, self._cache, self._expired = exchange, exchange.cache, expired
        self._recorder: Recorder = exchange.recorder(exchange, scope, turn)
        self._answer = Answer(exchange)
        self._mode = Mode.WAITING
        self._held: Message = {}
        self._parts: list[bytes] = []
        self._size = self._kept = 0
        #: the app answered 304 to a validator that it was not asked with
        self.mismatched = False

    async def __call__(self, message: Message) -> None:
        kind, mode = message["type"], self._mode
        if kind == "http.response.start" and mode is Mode.WAITING:
            await self._start(message)
        elif kind == "http.response.body" and mode in (Mode.HELD, Mode.STREAMED):
            await self._collect(message)
        elif mode is not Mode.DROPPED:
            if mode is not Mode.WAITING:
                await self._give_up("not-kept")  # trailers, a file sent by its path
            await self._answer.send(message)

    async def finish(self) -> None:
        """The app has returned, or raised: what is not whole by now never will be."""
        await self._give_up(None)
        await self._answer.drain()

    async def failed(self) -> bool:
        """The app has raised: whether a stale response stood in."""
        expired, path = self._expired, self._exchange.target.path
        if self._mode is not Mode.WAITING:
            await self.finish()
        elif expired is not None and self._cache.pardon(expired, self._exchange.context.floor):
            _log.warning("%s failed; a stale response stands in", path, exc_info=True)
            await self._stand_in(expired, b"fwd=stale")
            return True
        else:
            self._recorder.refuse("status")
        return False

    def end(self) -> None:
        """Nothing is sent from here on."""
        self._answer.cancel()

    async def _start(self, message: Message) -> None:
        status, headers = message["status"], raw_headers(message)
        if self._expired is not None and await self._instead(self._expired, status, headers):
            return
        recorder = self._recorder
        reason = recorder.begin(status, headers, trailers=bool(message.get("trailers")))
        if reason is not None:
            self._mode = Mode.PASSED
            await self._answer.send({**message, "headers": self._head(b"detail=" + reason.encode())})
        elif status == 200 and recorder.facts.length is not None and b"etag" not in recorder.facts.single:
            self._mode, self._held = Mode.HELD, message
        else:
            self._mode = Mode.STREAMED
            self._answer.put({**message, "headers": self._head(b"stored")})

    async def _instead(self, expired: Entry, status: int, headers: RawHeaders) -> bool:
        """Answer from the expired entry, if the app said 304 to its validator, or failed."""
        if status == 304 and can_be_validated(expired):
            self._mode = Mode.DROPPED
            if not confirmed(expired, headers):
                self.mismatched = True
                return True
            entry = await self._recorder.validated(expired, headers)
            self._cache.observed("revalidated")
            await self._exchange.reply(
                entry, x_cache=b"REVALIDATED", cache_status=b"fwd=stale; fwd-status=304"
            )
            return True
        if status in _FAILURES and self._cache.pardon(expired, self._exchange.context.floor):
            await self._stand_in(expired, b"fwd=stale; fwd-status=%d" % status)
            return True
        return False

    async def _stand_in(self, expired: Entry, cache_status: bytes) -> None:
        self._mode = Mode.DROPPED
        await self._recorder.again(expired)
        self._cache.observed("stale")
        await self._exchange.reply(expired, x_cache=b"STALE", cache_status=cache_status)

    async def _collect(self, message: Message) -> None:
        chunk, more = bytes(message.get("body", b"")), bool(message.get("more_body", False))
        held, length = self._mode is Mode.HELD, self._recorder.facts.length
        if more and not chunk:
            return
        self._size += len(chunk)
        self._kept += len(chunk) + _CHUNK
        if self._kept > self._exchange.middleware.max_body + _CHUNKS * _CHUNK:
            await self._give_up("too-many-chunks")
            await self._answer.send(message)
            return
        if self._size > self._exchange.middleware.max_body:
            await self._give_up("too-large")
            await self._answer.send(message)
            return
        if length is not None and (self._size > length or (self._size < length and not more)):
            await self._give_up("wrong-length")
            await self._answer.send(message)
            return
        self._parts.append(chunk)
        if more and (not held or self._size < (length or 0)):
            if not held:
                self._answer.put(message)
                # What only sends would keep the loop to itself.
                await asyncio.sleep(0)
            return
        body = b"".join(self._parts)
        # Stored before the last byte is sent: whoever has the response finds it in the cache.
        await self._recorder.store(body)
        self._mode = Mode.PASSED
        if held:
            await self._answer.send({**self._held, "headers": self._head(b"stored")})
            message = {"type": "http.response.body", "body": body, "more_body": more}
        await self._answer.send(message)

    async def _give_up(self, reason: str | None) -> None:
        """It is not kept after all: what was held back goes out, and the app waits for its client again.
        Without a reason it was only broken off: the next one may be whole."""
        if self._mode not in (Mode.HELD, Mode.STREAMED):
            return
        held, self._mode = self._mode is Mode.HELD, Mode.PASSED
        if reason is not None:
            self._recorder.refuse(reason)
        if held:
            detail = b"detail=" + (reason or "incomplete").encode()
            await self._answer.send({**self._held, "headers": self._head(detail)})
            if self._parts:
                await self._answer.send(
                    {"type": "http.response.body", "body": b"".join(self._parts), "more_body": True}
                )
        self._parts = []

    def _head(self, cache_status: bytes) -> RawHeaders:
        recorder, headers = self._recorder, self._recorder.headers
        if recorder.storable is not None and recorder.storable.flags & SILENT:
            control = browser_control(self._exchange.target.rule, int(recorder.storable.age))
            headers = [*headers, control]
        self._cache.observed("miss")
        fwd = b"stale" if self._expired is not None else b"uri-miss"
        return [
            *headers,
            (b"x-cache", b"MISS"),
            (b"cache-status", b"ramkit; fwd=%b; %b" % (fwd, cache_status)),
        ]
