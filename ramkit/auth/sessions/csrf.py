"""Refuses what another site has a visitor's browser do here."""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote_plus, unquote_to_bytes

from ramkit.auth.sessions.core.csrf import SAFE, Verdict, judge, origins_of
from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import find
from ramkit.kernel.replies import problem

__all__ = ["CSRFMiddleware", "csrf_token"]

#: where the session has the token
_KEY = "_csrf"
_BYTES = 32
_FORM = b"application/x-www-form-urlencoded"
#: bytes of a form in which the token is looked for
_FORM_BYTES = 65_536

_REFUSED = problem(403, detail="This request comes from another site.")


class CSRFMiddleware:
    """Cross-site requests get a 403; so do cross-site WebSocket handshakes, which browsers never ask about.

    Unsafe methods pass when the browser says that the page is of this origin (``Sec-Fetch-Site``, else
    ``Origin``), or of one of ``trusted_origins`` (``"https://app.example.com"``). Of a browser that says
    neither the session's token is wanted (``csrf_token``), in the header ``X-CSRF-Token`` or the form field
    ``csrf_token``. A request without cookies that says neither is no browser's with anything to abuse, and
    passes. Inside of the session's middleware; without one, nobody has a token.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        trusted_origins: Iterable[str] = (),
        header: str = "x-csrf-token",
        field: str = "csrf_token",
    ) -> None:
        if not header.isascii() or not header.replace("-", "").isalnum():
            raise ConfigurationError("header", f"{header!r} is no header's name")
        if not field:
            raise ConfigurationError("field", "a form's field has a name")
        self.app, self._trusted = app, origins_of(trusted_origins)
        self._header = header.lower().encode()
        # No more of a form is read than this: it may have tens of thousands of fields.
        self._field = re.compile(rb"(?:^|&)" + re.escape(quote_plus(field).encode()) + rb"=([^&]*)")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or (kind == "http" and scope["method"] in SAFE):
            await self.app(scope, receive, send)
            return
        headers: RawHeaders = scope["headers"]
        if type(headers) is not list:
            headers = scope["headers"] = list(headers)  # any iterable is legal; it is read more than once
        verdict = judge(headers, self._trusted)
        if verdict is Verdict.UNTOLD and kind == "http" and find(headers, b"cookie") is not None:
            verdict, receive = await self._look_for_token(scope, headers, receive)
        # A handshake without Origin is no browser's (RFC 6455 §4.1).
        if verdict is Verdict.REFUSED:
            await _REFUSED(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _look_for_token(
        self, scope: Scope, headers: RawHeaders, receive: Receive
    ) -> tuple[str, Receive]:
        sent = find(headers, self._header)
        if sent is not None:
            return _verdict(scope, sent), receive
        content_type = (find(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
        if content_type != _FORM:
            return Verdict.REFUSED, receive
        body, again = await _read(receive)
        found = self._field.findall(body) if body is not None else []
        return (_verdict(scope, unquote_to_bytes(found[0])) if len(found) == 1 else Verdict.REFUSED), again


def csrf_token(connection: Any) -> str:
    """The token for a form of this session, made on first use; ``connection``: the request, or its scope.

    Another spelling each time, so that a compressed page does not give it away (BREACH).
    """
    session = getattr(connection, "scope", connection)["session"]
    token = _kept(session)
    if token is None:
        token = secrets.token_bytes(_BYTES)
        session[_KEY] = _text(token)
    mask = secrets.token_bytes(_BYTES)
    return _text(mask + _xor(mask, token))


def _verdict(scope: Scope, sent: bytes) -> str:
    session = scope.get("session")
    token = None if session is None else _kept(session)
    masked = _bytes(sent)
    if token is None or masked is None or len(masked) != 2 * _BYTES:
        return Verdict.REFUSED
    same = secrets.compare_digest(_xor(masked[:_BYTES], masked[_BYTES:]), token)
    return Verdict.ALLOWED if same else Verdict.REFUSED


def _kept(session: Any) -> bytes | None:
    value = session.get(_KEY)
    token = _bytes(value.encode()) if isinstance(value, str) else None
    return token if token is not None and len(token) == _BYTES else None


async def _read(receive: Receive) -> tuple[bytes | None, Receive]:
    """A body within the bound, None for a longer one; and a ``receive`` that has it all again."""
    messages: list[Message] = []
    size = 0
    while size <= _FORM_BYTES:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    waiting = list(reversed(messages))

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    whole = size <= _FORM_BYTES and messages[-1]["type"] == "http.request"
    return (b"".join(each.get("body", b"") for each in messages) if whole else None), again


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: bytes) -> bytes | None:
    try:
        return urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return None
