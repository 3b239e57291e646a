"""ETag and Last-Modified for any response, without a cache."""

import asyncio

from ramkit.cache.core import directives
from ramkit.cache.core.conditional import Preconditions, evaluate, make_etag, not_modified_headers
from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send, raw_headers
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import scan
from ramkit.kernel.replies import problem

__all__ = ["ConditionalMiddleware"]

_WATCHED = frozenset({b"cache-control", b"content-length", b"content-type", b"etag", b"last-modified"})


class ConditionalMiddleware:
    """Answers conditional GET and HEAD requests by what the app says of its 200 (RFC 9110 §13).

    304 for If-None-Match and If-Modified-Since, 412 for If-Match and If-Unmodified-Since. The app runs
    first, always: whoever may not have the content gets no 304 either. A response without an ETag and
    without ``no-store`` gets a weak one made of its content, if its Content-Length says that it is at
    most ``max_body`` bytes; until it has come, that response is held back. All others start at once.
    HEAD is answered alike where the app sends its body to HEAD, too, and leaves it to the server to drop.

    Unsafe methods pass untouched: when their response begins, the app has acted already.
    """

    def __init__(self, app: ASGIApp, *, max_body: int = 2**20) -> None:
        if max_body < 0:
            raise ConfigurationError("max_body", f"{max_body!r} is no number of bytes")
        self.app, self.max_body = app, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        headers: RawHeaders = scope["headers"]
        if type(headers) is not list:
            headers = scope["headers"] = list(headers)  # one that can be read once is the app's to read, too
        responder = _Responder(send, scope["method"], Preconditions.of(headers), self.max_body)
        try:
            await self.app(scope, receive, responder)
        except Exception:
            await responder.release()
            raise
        await responder.release()


# What becomes of the app's messages. HELD: the start waits until the body is whole. DROPPED: the client
# has its answer already. (Plain numbers: an Enum's members cost more than all the rest of a request.)
_WAITING, _HELD, _PASSED, _DROPPED = range(4)


class _Responder:
    """``send`` for one request."""

    __slots__ = (
        "_body",
        "_headers",
        "_length",
        "_max_body",
        "_method",
        "_mode",
        "_preconditions",
        "_send",
        "_start",
    )

    def __init__(self, send: Send, method: str, preconditions: Preconditions | None, max_body: int) -> None:
        self._send, self._method, self._preconditions, self._max_body = send, method, preconditions, max_body
        self._mode = _WAITING

    async def __call__(self, message: Message) -> None:
        mode = self._mode
        if mode == _PASSED:
            await self._send(message)
        elif mode == _DROPPED:
            # An app may do nothing but send: others want to run as they would while a client takes it.
            if message.get("more_body"):
                await asyncio.sleep(0)
        elif message["type"] == "http.response.start" and mode == _WAITING:
            await self._begin(message)
        elif message["type"] == "http.response.body" and mode == _HELD:
            await self._collect(message)
        else:
            # Hints before the start change nothing; trailers or a file by its path end the holding back.
            await self.release()
            await self._send(message)

    async def release(self) -> None:
        """Pass on what is held back, as it came."""
        if self._mode != _HELD:
            return
        self._mode = _PASSED
        await self._send(self._start)
        if self._body:
            await self._send({"type": "http.response.body", "body": bytes(self._body), "more_body": True})

    async def _begin(self, message: Message) -> None:
        self._mode = _PASSED
        if message["status"] != 200 or (self._preconditions is None and _has_etag(message)):
            await self._send(message)
            return
        headers = raw_headers(message)
        message = {**message, "headers": headers}
        facts = scan(headers, _WATCHED)
        length = _length_of(facts)
        if self._may_hold(message, facts, length):
            self._mode, self._start, self._headers = _HELD, message, headers
            self._length, self._body = length or 0, bytearray()
            if not length:
                await self._complete(b"", more_body=True)
        # A body without an end and without a validator is a stream: it would never stop being dropped.
        elif b"etag" in facts or b"last-modified" in facts or length is not None:
            await self._decide(message, headers, facts)
        else:
            await self._send(message)

    def _may_hold(self, message: Message, facts: dict[bytes, bytes], length: int | None) -> bool:
        return (
            length is not None
            and length <= self._max_body
            and b"etag" not in facts
            and not message.get("trailers")
            and not facts.get(b"content-type", b"").lower().startswith(b"text/event-stream")
            and "no-store" not in directives.parse((facts.get(b"cache-control", b""),))
        )

    async def _collect(self, message: Message) -> None:
        chunk, more_body = message.get("body", b""), bool(message.get("more_body", False))
        size = len(self._body) + len(chunk)
        if size > self._length or (size < self._length and not more_body):
            await self.release()
            await self._send(message)
            return
        if size < self._length:
            self._body += chunk
        else:
            await self._complete(bytes(self._body + chunk if self._body else chunk), more_body=more_body)

    async def _complete(self, body: bytes, *, more_body: bool) -> None:
        """All of the body is there: it gets its ETag."""
        self._headers.append((b"etag", make_etag(body)))
        self._mode = _PASSED
        await self._decide(self._start, self._headers, scan(self._headers, _WATCHED))
        if self._mode == _PASSED and (body or not more_body):
            await self._send({"type": "http.response.body", "body": body, "more_body": more_body})

    async def _decide(self, message: Message, headers: RawHeaders, facts: dict[bytes, bytes]) -> None:
        """Send the start, or the answer that the preconditions ask for instead."""
        verdict = 200
        if self._preconditions is not None:
            etag, modified = facts.get(b"etag"), facts.get(b"last-modified")
            verdict = evaluate(self._method, self._preconditions, etag=etag, last_modified=modified)
        if verdict == 200:
            await self._send(message)
            return
        self._mode = _DROPPED
        for each in problem(412).messages(self._method) if verdict == 412 else _not_modified(headers):
            await self._send(each)


def _has_etag(message: Message) -> bool:
    """Whether a glance shows one; what can be read only once is not touched."""
    headers: RawHeaders = message.get("headers", [])
    if type(headers) is list:
        for pair in headers:
            if type(pair) is not tuple:
                return False
            if pair[0] == b"etag":
                return True
    return False


def _not_modified(headers: RawHeaders) -> list[Message]:
    return [
        {"type": "http.response.start", "status": 304, "headers": not_modified_headers(headers)},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


def _length_of(facts: dict[bytes, bytes]) -> int | None:
    value = facts.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 19 else None
