"""The app behind the sessions, and its requests. Standard library only: peers' environments import it."""

from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.driver import BODY, RESPONSE_HEADERS, URLS, App, Subject, scope_of

#: what each session holds
SESSION: dict[str, Any] = {
    "user": 4711,
    "name": "Grace Hopper",
    "roles": ["editor", "reader"],
    "cart": [{"article": number, "pieces": 2} for number in range(5)],
    "csrf": "l3Zb7vXrW9mQ2sJt6uYxK1oPaHdNcEfG",
}


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """Reads from the session; in a request with ``?fill`` it writes first."""
    session = scope["session"]
    if scope["query_string"] == b"fill":
        session.update(SESSION)
    if session.get("user") != SESSION["user"]:
        raise RuntimeError("the session is not there")
    await send({"type": "http.response.start", "status": 200, "headers": list(RESPONSE_HEADERS)})
    await send({"type": "http.response.body", "body": BODY})


async def ask(app: App, scope: Any) -> list[Any]:
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return messages


class Sessions:
    """As many sessions as there are URLs, each request with the cookie of its own."""

    def __init__(self, app: App, cookie: bytes) -> None:
        self._app, self._head, self._cookies = app, cookie + b"=", dict[str, bytes]()

    async def begun(self, ask: Callable[[App, Any], Awaitable[list[Any]]]) -> Subject:
        """Make the sessions; the subject that reads them."""
        for number in range(URLS):
            scope = scope_of(b"/cities/%d" % number)
            scope["query_string"] = b"fill"
            start, *_ = await ask(self._app, scope)
            (line,) = [value for name, value in start["headers"] if name.lower() == b"set-cookie"]
            self._cookies[scope["path"]] = line.partition(b";")[0]
            if not line.startswith(self._head):
                raise RuntimeError(f"an odd cookie: {line!r}")
        return Subject(app=self._read, from_redis=True)

    async def _read(self, scope: Any, receive: Any, send: Any) -> None:
        scope["headers"].append((b"cookie", b"theme=dark; " + self._cookies[scope["path"]]))
        await self._app(scope, receive, send)
