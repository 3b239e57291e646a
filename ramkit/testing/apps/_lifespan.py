"""Lifespans, and a scope type that nobody knows."""

# ruff: noqa: ARG001  # apps take what ASGI hands them

from ramkit.kernel.asgi import Receive, Scope, Send
from ramkit.testing.apps._record import AppError, Awkward
from ramkit.testing.apps._responses import sending

__all__ = ["LIFESPANS"]


async def _with_state(scope: Scope, receive: Receive, send: Send) -> None:
    """What startup leaves in the state, a request finds in its copy."""
    if scope["type"] == "http":
        found: bytes = scope["state"]["greeting"]
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": found})
        return
    await receive()
    scope["state"]["greeting"] = b"hello from startup"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def _fails_to_stop(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed"})


async def _pong(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    await send({"type": "ramkit.pong", "ping": message["type"], "headers": None})


LIFESPANS: tuple[Awkward, ...] = (
    Awkward(name="lifespan-state", protocol="lifespan", app=_with_state, body=b"hello from startup",
            events=[{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]),
    Awkward(name="lifespan-raises", protocol="lifespan", status=None,
            app=sending(raises=AppError("no lifespan")), raises=AppError),
    Awkward(name="lifespan-fails", protocol="lifespan", app=_fails, status=None,
            events=[{"type": "lifespan.startup.failed", "message": "no database"}]),
    Awkward(name="lifespan-fails-to-stop", protocol="lifespan", app=_fails_to_stop, status=None,
            events=[{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.failed"}]),
    Awkward(name="unknown-scope-type", protocol="ramkit.unknown", app=_pong, status=None,
            events=[{"type": "ramkit.pong", "ping": "ramkit.ping", "headers": None}]),
)  # fmt: skip
