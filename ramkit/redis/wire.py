"""A connection whose replies are handed on in the turn of the loop in which their bytes arrive."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.exceptions import InvalidResponse

from ramkit.redis.driver import FAILURES, Connection

__all__ = ["Wire"]

_INCOMPLETE = object()


class Wire(asyncio.Protocol):
    """Takes over the transport of one of redis-py's connections, which has connected and logged in.

    redis-py reads through a stream, whose reader is a task: that costs a turn of the loop for each
    reply, and a turn is a good part of what a reply takes. It has no public way to its transport.
    ``replied(reply)`` gets each reply, error replies as exceptions; ``lost(error)`` hears once that there
    will be no more, unless it was closed here.
    """

    def __init__(
        self, connection: Connection, replied: Callable[[Any], None], lost: Callable[[Exception], None]
    ) -> None:
        private = cast(Any, connection)
        self._connection = private
        self._replied, self._lost = replied, lost
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=private._parser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._transport: asyncio.Transport = private._writer.transport
        self._transport.set_protocol(self)
        self._closed = False
        #: done when nothing can be sent or heard any longer
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def ahead(self) -> bool:
        """Whether there are bytes of a reply beyond those that were handed on."""
        return self._reader.has_data()

    def send(self, data: bytes) -> None:
        """Queue some bytes; bounded by what one batch is."""
        self._transport.write(data)

    def close(self) -> None:
        """Without waiting for the server, and without a word to ``lost``."""
        if not self._closed:
            self._closed = True
            self._transport.abort()
            self._connection._close()
            if not self.gone.done():
                self.gone.set_result(None)

    # -- asyncio.Protocol --

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while not self._closed and (reply := self._reader.gets(False)) is not _INCOMPLETE:  # noqa: FBT003 - never decode
                self._replied(reply)
        except FAILURES as error:  # bytes that are no reply
            self._fail(error)

    def eof_received(self) -> None:
        self._fail(ConnectionError("closed by the server"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("closed"))

    def _fail(self, error: Exception) -> None:
        if not self._closed:
            self.close()
            self._lost(error)
