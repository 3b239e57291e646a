"""Replies of our own: problem details (RFC 9457), sent without a framework."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from ramkit.kernel.asgi import Message, RawHeaders, Receive, Scope, Send
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import well_formed

__all__ = ["Reply", "problem"]

#: Fields that a status must come with (RFC 9110 §15.5.2, §15.5.6, §15.5.8, §15.5.22).
_REQUIRED = {401: b"www-authenticate", 405: b"allow", 407: b"proxy-authenticate", 426: b"upgrade"}
_RETRY_LATER = frozenset({429, 503})
#: RFC 9110's phrases, where older Pythons have those of its predecessors.
_PHRASES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}

#: WebSocket: policy violation (RFC 6455 §7.4.1)
_REFUSED = 1008


class Reply:
    """A whole response, an ASGI app: ``await reply(scope, receive, send)``. Content-Length is added.

    Raises ``ConfigurationError`` on a header that would not survive as one, such as a value with CR or LF.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
        self.status, self.body = status, body
        self.headers: RawHeaders = [(name.lower(), value) for name, value in headers]
        for pair in self.headers:
            if not well_formed([pair]):
                raise ConfigurationError("headers", f"{pair[0]!r}: {pair[1]!r} is no header field")
        self.headers.append((b"content-length", b"%d" % len(body)))

    def messages(self, method: str = "GET") -> list[Message]:
        """The ASGI messages that answer a request of this method; to HEAD without the body."""
        body = b"" if method == "HEAD" else self.body
        return [
            {"type": "http.response.start", "status": self.status, "headers": list(self.headers)},
            {"type": "http.response.body", "body": body, "more_body": False},
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Answer an HTTP request; refuse a WebSocket, with this response where the server can send it."""
        if scope["type"] == "http":
            messages = self.messages(scope["method"])
        elif "websocket.http.response" in (scope.get("extensions") or {}):
            messages = [{**message, "type": f"websocket.{message['type']}"} for message in self.messages()]
        else:
            messages = [{"type": "websocket.close", "code": _REFUSED, "reason": ""}]
        for message in messages:
            await send(message)


def problem(
    status: int,
    *,
    title: str | None = None,
    detail: str | None = None,
    type: str = "about:blank",  # noqa: A002 - the name that RFC 9457 gives this member
    headers: Iterable[tuple[bytes, bytes]] = (),
    **members: Any,
) -> Reply:
    """An error as ``application/problem+json`` (RFC 9457).

    ``title``: the status's phrase if there is none. ``members``: further ones (§3.2), as JSON. Everything
    here is for the client's eyes. 401, 405, 407 and 426 call for a field that must be among ``headers``;
    429 and 503 get ``Retry-After: 1`` if they bring none. Raises ``ConfigurationError``.
    """
    if not 400 <= status <= 599:
        raise ConfigurationError("status", f"{status!r} is no error")
    given = list(headers)
    names = {name.lower() for name, _ in given}
    required = _REQUIRED.get(status)
    if required is not None and required not in names:
        raise ConfigurationError("headers", f"a {status} calls for {required.decode()}")
    if status in _RETRY_LATER and b"retry-after" not in names:
        given.append((b"retry-after", b"1"))
    said = {"type": type, "title": title or _phrase(status), "status": status, "detail": detail, **members}
    body = json.dumps({name: value for name, value in said.items() if value is not None}, allow_nan=False)
    return Reply(status, [*given, (b"content-type", b"application/problem+json")], body.encode())


def _phrase(status: int) -> str | None:
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return None
