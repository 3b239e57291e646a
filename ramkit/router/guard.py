"""What is not ours may fail before it has answered."""

from collections.abc import Callable

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send, raw_headers
from ramkit.kernel.replies import problem

__all__ = ["Guard", "watched"]

_STARTS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start"}
)


def watched(send: Send, begins: Callable[[], None]) -> Send:
    """A ``send`` that tells when an answer begins."""

    async def watching(message: Message) -> None:
        if message["type"] in _STARTS:
            begins()
            if "headers" in message:
                # Any iterable is legal; what is around it may look more than once.
                message = {**message, "headers": raw_headers(message)}
        await send(message)

    return watching


class Guard:
    """Answers 500 for an app that raises before it answers; what it raised is raised on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started = False

        def begins() -> None:
            nonlocal started
            started = True

        try:
            await self.app(scope, receive, watched(send, begins))
        except Exception:
            if not started:
                await problem(500)(scope, receive, send)
            raise
