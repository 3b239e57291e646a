"""Where tests have lines go, and what they make of them."""

import json
import threading
from collections import deque
from typing import Any

from ramkit.kernel.asgi import ASGIApp, Message, Scope
from ramkit.logs import AccessLogMiddleware, Sink
from ramkit.testing.client import drive, http_scope


class Kept:
    """An outlet that keeps lines. It raises ``refuses`` if that is set; until ``gate`` is set it waits."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.refuses: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.closed = 0

    def write(self, lines: deque[bytes]) -> int:
        self.entered.set()
        self.gate.wait()
        if self.refuses is not None:
            raise self.refuses
        while lines:
            self.lines.append(lines.popleft())
        return 0

    def close(self) -> None:
        self.closed += 1

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


def flushed(sink: Sink) -> None:
    if not sink.flush(10):
        raise AssertionError("lines wait for longer than 10 s")


def answering(*bodies: bytes, status: int = 200, headers: Any = ()) -> ASGIApp:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for body in bodies:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    return app


async def logged(
    app: ASGIApp, scope: Scope | None = None, messages: list[Message] | None = None, **options: Any
) -> dict[str, Any]:
    """The one line of one request."""
    kept = Kept()
    sink = Sink(kept)
    wrapped = AccessLogMiddleware(app, sink=sink, **options)
    try:
        await drive(wrapped, http_scope() if scope is None else scope, messages)
    finally:
        await sink.aclose()
    (line,) = kept.read()
    return line
