"""ASGI types, as Starlette names them, and the header list that ASGI messages carry."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ASGIApp", "Message", "RawHeaders", "Receive", "Scope", "Send", "file_bytes", "raw_headers"]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


def raw_headers(message: Message) -> RawHeaders:
    """A fresh list of a message's header pairs: the key may be missing, its value any iterable.

    Names come in lower case, as ASGI demands and many apps do not care: nobody may overlook a
    ``Set-Cookie`` because of its capitals.
    """
    pairs: Iterable[Iterable[Any]] = message.get("headers", ())
    return [
        (name.lower(), value)
        if type(name) is type(value) is bytes  # copying what is bytes already takes longer than all the rest
        else (bytes(name).lower(), bytes(value))
        for name, value in pairs
    ]


def file_bytes(message: Message) -> int:
    """Of what the server reads itself (ASGI extensions Path Send and Zero Copy Send); 0 where the file is
    gone by now, as one that was made for the response may be."""
    if "path" in message:
        try:
            return Path(message["path"]).stat().st_size
        except OSError:
            return 0
    count: int | None = message.get("count")
    return count or 0
