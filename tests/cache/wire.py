"""A client at the ASGI interface, and apps to put behind the cache."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ramkit.kernel.asgi import ASGIApp
from ramkit.kernel.context import RequestContext


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    messages: list[Any]
    context: RequestContext | None = None

    def all(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.headers if key == name.encode()]

    def __getitem__(self, name: str) -> str | None:
        found = self.all(name)
        return found[0] if found else None

    @property
    def x_cache(self) -> str | None:
        return self["x-cache"]


def scope_of(
    path: str,
    method: str = "GET",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    *,
    host: str = "h.test",
) -> dict[str, Any]:
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    raw, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", host.encode()), *((k.lower().encode(), v.encode()) for k, v in pairs)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


async def ask(
    app: ASGIApp, path: str, method: str = "GET", headers: Any = None, *, floor: Any = None, **scope: Any
) -> Answer:
    """One request. ``floor``: another answer's context, whose floor this request carries."""
    asked = scope_of(path, method, headers, host=scope.pop("host", "h.test")) | scope
    if floor is not None:
        RequestContext.of(asked).floor = floor.context.floor
    sent: list[Any] = []
    told = False

    async def receive() -> Any:
        nonlocal told
        if told:
            await asyncio.Event().wait()
        told = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(asked, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(start["status"], list(start["headers"]), body, sent, RequestContext.peek(asked))


@dataclass
class Origin:
    """An app that counts its renders; each body tells its number."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    status: int = 200
    length: bool = True
    chunks: int = 1
    renders: int = 0
    scopes: list[Any] = field(default_factory=list)
    before: Callable[[Any], Awaitable[None]] | None = None
    state: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.renders += 1
        self.scopes.append(scope)
        body = b"%s #%d" % (self.state.encode(), self.renders)
        if self.before is not None:
            await self.before(scope)
        headers = [*self.headers, *([(b"content-length", b"%d" % len(body))] if self.length else [])]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for _ in range(self.chunks - 1):
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": body})


def cacheable(value: str = "max-age=60", *more: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(b"cache-control", value.encode()), *((k.encode(), v.encode()) for k, v in more)]
