"""Starlette's WebSocket, where a frame that nobody expected is the client's mistake."""

import json
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.exceptions import WebSocketException
from starlette.websockets import WebSocket

__all__ = ["Socket"]

T = TypeVar("T")

#: RFC 6455 §7.4.1: data of a type, or with content, that cannot be accepted
_UNSUPPORTED, _INVALID = 1003, 1007


class Socket(WebSocket):
    """Raises ``WebSocketException`` for text where bytes are expected or the reverse, and for what is no
    JSON. A handler that lets it through closes with its code."""

    async def receive_text(self) -> str:
        return await _frame(super().receive_text())

    async def receive_bytes(self) -> bytes:
        return await _frame(super().receive_bytes())

    async def receive_json(self, mode: str = "text") -> Any:
        data = await (self.receive_bytes() if mode == "binary" else self.receive_text())
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise WebSocketException(_INVALID, "JSON is expected") from None


async def _frame(receiving: Awaitable[T]) -> T:
    try:
        found: T | None = await receiving
    except KeyError:
        found = None
    if found is None:
        raise WebSocketException(_UNSUPPORTED, "a frame of the other type is expected")
    return found
