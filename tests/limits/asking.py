"""Requests and WebSockets at the ASGI interface, and an app behind limits."""

from dataclasses import dataclass, field
from typing import Any

from ramkit.testing.lint import ASGILint
from tests.cache.wire import ask, scope_of

__all__ = ["Hello", "Socket", "ask", "scope_of", "status_of"]


@dataclass
class Hello:
    """Counts how often it is asked."""

    asked: int = 0
    scopes: list[Any] = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        self.asked += 1
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})


async def status_of(app, path="/", **options):
    return (await ask(app, path, **options)).status


class Socket:
    """A client that says everything at once, and then leaves with 1001."""

    def __init__(self, *texts, extensions=(), spec="2.4", client=("203.0.113.7", 1)):
        self.scope = {
            "type": "websocket", "asgi": {"version": "3.0", "spec_version": spec}, "http_version": "1.1",
            "scheme": "ws", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"h.test")], "client": client, "server": ("127.0.0.1", 80),
            "subprotocols": [], "state": {}, "extensions": {name: {} for name in extensions},
        }  # fmt: skip
        self.coming = [
            {"type": "websocket.connect"},
            *({"type": "websocket.receive", "text": text} for text in texts),
            {"type": "websocket.disconnect", "code": 1001, "reason": ""},
        ]
        self.sent: list[Any] = []

    async def receive(self):
        return self.coming.pop(0)

    async def send(self, message):
        self.sent.append(message)

    async def meet(self, app):
        lint = ASGILint(app)
        await lint(self.scope, self.receive, self.send)
        lint.check()
        return self

    @property
    def kinds(self):
        return [message["type"].removeprefix("websocket.") for message in self.sent]
