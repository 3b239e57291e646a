"""What is not ours may fail before it has answered."""

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send, raw_headers
from ramkit.kernel.replies import problem

__all__ = ["Guard"]

_STARTS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start"}
)


class Guard:
    """Answers 500 for an app that raises before it answers; what it raised is raised on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            if message["type"] in _STARTS:
                started = True
                if "headers" in message:
                    # Any iterable is legal; what is around it may look more than once.
                    message = {**message, "headers": raw_headers(message)}
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if not started:
                await problem(500)(scope, receive, send)
            raise
