"""One http connection: a request, a response, and the client's leaving."""

from ramkit.kernel.asgi import Message, Scope
from ramkit.testing.lint._response import Response
from ramkit.testing.lint._rules import check_flag, require

__all__ = ["HTTPConnection"]

_REQUEST = "ASGI HTTP, Request"
_DISCONNECT = "ASGI HTTP, Disconnect"


class HTTPConnection:
    """ASGI HTTP: ``http.request`` until the body has ended, then ``http.disconnect``."""

    def __init__(self, scope: Scope) -> None:
        self.gone = self.overlapped = False
        self._response = Response(scope)
        self._request_ended = False
        self._disconnected = False

    def received(self, message: Message) -> None:
        kind: str = message["type"]
        if kind == "http.disconnect":
            self.gone = self._disconnected = True
            return
        require(kind == "http.request", "message-type", f"{kind!r} is none that a server sends", _REQUEST)
        require(not self._disconnected, "after-disconnect", f"{kind} after http.disconnect", _DISCONNECT)
        # uvicorn answers each of two waiting receives with the last of the body.
        again = self._request_ended and not self.overlapped
        require(not again, "request-end", f"{kind} after the last of the body", _REQUEST)
        body: object = message.get("body", b"")
        require(isinstance(body, bytes), "body-type", f"body is a {type(body).__name__}, not bytes", _REQUEST)
        self._request_ended = not check_flag(message, "more_body", _REQUEST)

    def sending(self, message: Message) -> None:
        self._response.sending(message)

    def returned(self) -> None:
        if not self.gone:
            self._response.check_finished()
