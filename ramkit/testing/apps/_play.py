"""A small server in memory, that plays an awkward app's client as well."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Scope, raw_headers
from ramkit.testing.apps._record import Awkward

__all__ = ["ClientGone", "Played", "play"]

_PATIENCE = 20.0  # seconds; only what hangs ever meets it
_TURNS = 200  # of the event loop, for tasks to end after the app has returned


class ClientGone(OSError):
    """What send raises once the client has left, as ASGI HTTP 2.4 asks of servers."""


@dataclass(kw_only=True)
class Played:
    """What came of it. ``tasks``: the names of those that the app left behind (then cancelled).

    ``messages``: all that arrived, as they arrived; nothing arrives at a client that has left.
    """

    messages: list[Message] = field(default_factory=list[Message])
    error: Exception | None = None
    tasks: list[str] = field(default_factory=list[str])
    method: str = "GET"

    @property
    def status(self) -> int | None:
        """The response's, or None if none has started."""
        return next((m["status"] for m in self.messages if m["type"].endswith("response.start")), None)

    @property
    def headers(self) -> RawHeaders:
        """The response's, in order."""
        return [p for m in self.messages if m["type"].endswith("response.start") for p in raw_headers(m)]

    @property
    def body(self) -> bytes:
        """What a client reads: nothing in answer to HEAD."""
        if self.method == "HEAD":
            return b""
        bodies = (m.get("body", b"") for m in self.messages if m["type"].endswith("response.body"))
        return b"".join(bytes(body) for body in bodies)

    @property
    def trailers(self) -> RawHeaders:
        """The response's, in order."""
        return [p for m in self.messages if m["type"] == "http.response.trailers" for p in raw_headers(m)]

    @property
    def events(self) -> list[Message]:
        """The messages that are no part of a response."""
        return [m for m in self.messages if ".response." not in m["type"]]


async def play(app: ASGIApp, awkward: Awkward, *, arrived: Callable[[Message], None] | None = None) -> Played:
    """Calls ``app`` as a server would for ``awkward``'s client, on the path ``/<name>``.

    ``arrived`` is called with each message as it reaches the client. An exception of the app's is in
    ``error``, but for the server's own `ClientGone`. Raises AssertionError when the app does not end.
    """
    played = Played(method=awkward.method)
    before = asyncio.all_tasks()
    server = _SERVERS.get(awkward.protocol, _Other)(app, awkward, played, arrived)
    try:
        async with asyncio.timeout(_PATIENCE):
            await server.run(_scope(awkward))
    except TimeoutError as error:
        raise AssertionError(f"{awkward}: the app has not ended") from error
    except ClientGone:
        pass
    except Exception as error:  # as a server: whatever it is
        played.error = error
    played.tasks = await _leftovers(before)
    return played


async def _leftovers(before: "set[asyncio.Task[Any]]") -> list[str]:
    left = asyncio.all_tasks() - before
    for _ in range(_TURNS):
        if not left:
            break
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - before
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return sorted(task.get_name() for task in left)


def _scope(awkward: Awkward) -> Scope:
    if awkward.protocol not in ("http", "websocket"):
        return {"type": awkward.protocol, "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    scope: Scope = {
        "type": awkward.protocol,
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "path": f"/{awkward}",
        "raw_path": f"/{awkward}".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"gallery.test"), (b"te", b"trailers")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    if awkward.protocol == "websocket":
        extensions: dict[str, Any] = {"websocket.http.response": {}}
        return {**scope, "scheme": "ws", "subprotocols": [], "extensions": extensions}
    if awkward.sends:
        scope["headers"].append((b"transfer-encoding", b"chunked"))
    return {**scope, "scheme": "http", "method": awkward.method, "extensions": {"http.response.trailers": {}}}


class _Server:
    """One connection's receive and send."""

    def __init__(
        self, app: ASGIApp, awkward: Awkward, played: Played, arrived: Callable[[Message], None] | None
    ) -> None:
        self.app = app
        self.awkward = awkward
        self.played = played
        self.arrived = arrived
        #: the client has left, or has all it asked for
        self.over = asyncio.Event()

    async def run(self, scope: Scope) -> None:
        await self.app(scope, self.receive, self.send)

    async def receive(self) -> Message:
        raise NotImplementedError

    async def send(self, message: Message) -> None:
        if isinstance(message.get("headers"), Iterable):
            message = {**message, "headers": raw_headers(message)}  # they may be good for one look only
        self.played.messages.append(message)
        if self.arrived is not None:
            self.arrived(message)
        # A real server writes and lets others run.
        await asyncio.sleep(0)


class _HTTP(_Server):
    """A request, its response, and a client that may leave."""

    def __init__(
        self, app: ASGIApp, awkward: Awkward, played: Played, arrived: Callable[[Message], None] | None
    ) -> None:
        super().__init__(app, awkward, played, arrived)
        self._chunks = deque(awkward.sends or [b""])
        self._gone = awkward.leaves_after == 0
        self._received = 0
        self._trailers = False
        if self._gone:
            self.over.set()

    async def receive(self) -> Message:
        if self._chunks:
            chunk = self._chunks.popleft()
            more = bool(self._chunks) or self.awkward.breaks_off
            return {"type": "http.request", "body": chunk, "more_body": more}
        if self.awkward.breaks_off:
            self._leave()
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._gone:
            if self.awkward.forgiving:
                return
            raise ClientGone("the client has left")
        await super().send(message)
        kind: str = message["type"]
        if kind == "http.response.start":
            self._trailers = message.get("trailers", False)
        elif kind == "http.response.trailers" and not message.get("more_trailers", False):
            self.over.set()
        elif kind == "http.response.body":
            self._on_body(message)

    def _on_body(self, message: Message) -> None:
        self._received += len(message.get("body", b""))
        leaves_after = self.awkward.leaves_after
        if leaves_after is not None and self._received >= leaves_after:
            self._leave()
        if not message.get("more_body", False) and not self._trailers:
            self.over.set()

    def _leave(self) -> None:
        self._gone = True
        self.over.set()


class _WebSocket(_Server):
    """A handshake, the client's frames, and its going."""

    def __init__(
        self, app: ASGIApp, awkward: Awkward, played: Played, arrived: Callable[[Message], None] | None
    ) -> None:
        super().__init__(app, awkward, played, arrived)
        self._connected = False
        self._answered = asyncio.Event()
        self._frames = deque(awkward.sends)
        self._code = 1000

    async def receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        await self._answered.wait()
        if self._frames and not self.over.is_set():
            frame = self._frames.popleft()
            return {"type": "websocket.receive", "text" if isinstance(frame, str) else "bytes": frame}
        return {"type": "websocket.disconnect", "code": self._code, "reason": ""}

    async def send(self, message: Message) -> None:
        await super().send(message)
        if message["type"] == "websocket.close":
            self._code = message.get("code", 1000)
            self.over.set()
        self._answered.set()


class _Lifespan(_Server):
    """Startup, an http request if a body is expected, and shutdown."""

    def __init__(
        self, app: ASGIApp, awkward: Awkward, played: Played, arrived: Callable[[Message], None] | None
    ) -> None:
        super().__init__(app, awkward, played, arrived)
        self._state: dict[str, Any] = {}
        self._started = False

    async def run(self, scope: Scope) -> None:
        self._state = scope["state"]
        await super().run(scope)

    async def receive(self) -> Message:
        if not self._started:
            self._started = True
            return {"type": "lifespan.startup"}
        await self.over.wait()
        return {"type": "lifespan.shutdown"}

    async def send(self, message: Message) -> None:
        await super().send(message)
        if message["type"] == "lifespan.startup.complete":
            if self.awkward.status is not None:
                await self._request()
            self.over.set()

    async def _request(self) -> None:
        request = Awkward(name=self.awkward.name, app=self.app)
        scope = {**_scope(request), "state": dict(self._state)}
        await _HTTP(self.app, request, self.played, self.arrived).run(scope)


class _Other(_Server):
    """A scope type of nobody's: one event in."""

    async def receive(self) -> Message:
        return {"type": "ramkit.ping"}


_SERVERS: dict[str, type[_Server]] = {"http": _HTTP, "websocket": _WebSocket, "lifespan": _Lifespan}
