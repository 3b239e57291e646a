"""One WebSocket: the handshake or its denial, frames, and the close."""

from typing import Any, Literal

from ramkit.kernel.asgi import Message, Scope
from ramkit.testing.lint._response import Response
from ramkit.testing.lint._rules import check_headers, check_optional_str, require

__all__ = ["WebSocketConnection"]

_DENIAL = "websocket.http.response"
_CONNECT = "ASGI WebSocket, Connect"
_DISCONNECT = "ASGI WebSocket, Disconnect"
_CLOSE = "ASGI WebSocket, Close"


class WebSocketConnection:
    """ASGI WebSocket 2.0 to 2.5, and the denial response extension."""

    def __init__(self, scope: Scope) -> None:
        self.gone = self.overlapped = False
        self._connected = False
        self._disconnected = False
        self._phase: Literal["handshake", "open", "denied", "closed"] = "handshake"
        self._offered: tuple[str, ...] = tuple(scope.get("subprotocols") or ())
        self._extensions: dict[str, Any] = scope.get("extensions") or {}
        spec: str = scope.get("asgi", {}).get("spec_version", "2.0")
        self._accept_headers = [int(part) for part in spec.split(".")] >= [2, 1]
        self._denial = Response(scope, f"{_DENIAL}.")

    def received(self, message: Message) -> None:
        kind: str = message["type"]
        known = kind in ("websocket.connect", "websocket.receive", "websocket.disconnect")
        require(known, "message-type", f"{kind!r} is none that a server sends", "ASGI WebSocket")
        if kind == "websocket.disconnect":
            self._check_code(message, _DISCONNECT, required=True)
            self.gone = self._disconnected = True
            return
        require(not self._disconnected, "after-disconnect", f"{kind} after websocket.disconnect", _DISCONNECT)
        if kind == "websocket.connect":
            require(not self._connected, "ws-connect", f"{kind} for the second time", _CONNECT)
            self._connected = True
            return
        section = "ASGI WebSocket, Receive"
        require(self._connected, "ws-connect", f"{kind} before websocket.connect", _CONNECT)
        require(self._phase != "handshake", "ws-receive", f"{kind} before the app accepted", section)
        self._check_payload(message, section)

    def sending(self, message: Message) -> None:
        kind: str = message["type"]
        require(self._phase != "closed", "after-end", f"{kind} after websocket.close", _CLOSE)
        if kind.startswith(f"{_DENIAL}."):
            self._on_denial(message)
            return
        denied = self._phase == "denied"
        section = "ASGI Extensions, Websocket Denial Response"
        require(not denied, "ws-denial", f"{kind} after a denial response", section)
        if kind == "websocket.accept":
            self._on_accept(message)
        elif kind == "websocket.send":
            section = "ASGI WebSocket, Send"
            require(self._phase == "open", "ws-send", f"{kind} before websocket.accept", section)
            self._check_payload(message, section)
        elif kind == "websocket.close":
            self._check_code(message, _CLOSE, required=False)
            self._phase = "closed"
        else:
            known = kind in self._extensions
            require(known, "message-type", f"{kind!r} is none that an app sends", "ASGI WebSocket")

    def returned(self) -> None:
        if self.gone:
            return
        if self._phase == "denied":
            self._denial.check_finished()
        problem = "the app returned without websocket.accept or websocket.close"
        require(self._phase != "handshake", "no-response", problem, _CONNECT)

    def _on_denial(self, message: Message) -> None:
        offered = _DENIAL in self._extensions
        require(offered, "extension", f"the scope does not offer {_DENIAL}", "ASGI, Extensions")
        section = "ASGI Extensions, Websocket Denial Response"
        require(self._phase != "open", "ws-denial", "a denial response after websocket.accept", section)
        self._denial.sending(message)
        self._phase = "denied"

    def _on_accept(self, message: Message) -> None:
        section = "ASGI WebSocket, Accept"
        require(self._phase == "handshake", "ws-accept", "websocket.accept for the second time", section)
        check_optional_str(message, "subprotocol", section)
        chosen: object = message.get("subprotocol")
        offered = chosen is None or chosen in self._offered
        require(offered, "ws-subprotocol", f"the client did not offer {chosen!r}", "RFC 6455 §4.2.2")
        headers = check_headers(message.get("headers", ()), section)
        for name, _ in headers:
            right = name != b"sec-websocket-protocol"
            require(right, "ws-subprotocol", "it belongs into subprotocol, not into headers", section)
        allowed = self._accept_headers or not headers
        require(allowed, "ws-accept", "headers before spec_version 2.1", "ASGI HTTP, Spec Versions")
        self._phase = "open"

    def _check_payload(self, message: Message, section: str) -> None:
        data: object = message.get("bytes")
        text: object = message.get("text")
        require((data is None) != (text is None), "ws-payload", "not exactly one of bytes and text", section)
        require(data is None or isinstance(data, bytes), "ws-payload", "bytes is no bytes", section)
        require(text is None or isinstance(text, str), "ws-payload", "text is no str", section)

    def _check_code(self, message: Message, section: str, *, required: bool) -> None:
        code: object = message.get("code", None if required else 1000)
        number = isinstance(code, int) and not isinstance(code, bool)
        require(number, "ws-code", f"code is {code!r}, not an int", section)
        check_optional_str(message, "reason", section)
