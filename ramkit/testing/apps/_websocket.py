"""WebSockets."""

# ruff: noqa: ARG001  # apps take what ASGI hands them

from ramkit.kernel.asgi import Receive, Scope, Send
from ramkit.testing.apps._record import AppError, Awkward

__all__ = ["WEBSOCKETS"]

_DENIED = ((b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer"))


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept", "headers": iter([(b"x-app", b"1")])})
    while (message := await receive())["type"] == "websocket.receive":
        reply = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
        await send({"type": "websocket.send", **reply})


async def _pushes(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    for n in range(3):
        await send({"type": "websocket.send", "text": str(n), "bytes": None})
    await send({"type": "websocket.close", "code": 4001, "reason": "enough"})


async def _refuses(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def _denies(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": list(_DENIED)})
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you?"})


async def _raises(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    raise AppError("in a conversation")


WEBSOCKETS: tuple[Awkward, ...] = (
    Awkward(name="websocket-echo", protocol="websocket", app=_echo, status=None,
            sends=["text", b"\x00bytes", ""],
            events=[{"type": "websocket.accept"}, {"type": "websocket.send", "text": "text"},
                    {"type": "websocket.send", "bytes": b"\x00bytes"},
                    {"type": "websocket.send", "text": ""}]),
    Awkward(name="websocket-pushes", protocol="websocket", app=_pushes, status=None,
            events=[{"type": "websocket.accept"}, *({"type": "websocket.send", "text": c} for c in "012"),
                    {"type": "websocket.close", "code": 4001, "reason": "enough"}]),
    Awkward(name="websocket-refused", protocol="websocket", app=_refuses, status=None,
            events=[{"type": "websocket.close"}]),
    Awkward(name="websocket-denied", protocol="websocket", app=_denies, status=401, headers=_DENIED,
            body=b"who are you?"),
    Awkward(name="websocket-raises", protocol="websocket", app=_raises, sends=["boom"], status=None,
            events=[{"type": "websocket.accept"}], raises=AppError),
)  # fmt: skip
