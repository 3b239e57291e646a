"""The reply that a handler makes by plain calls, and how it is sent."""

from collections.abc import AsyncIterable
from os import PathLike
from typing import Any, Protocol, Self
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from ramkit.kernel.asgi import RawHeaders, Receive, Scope, Send
from ramkit.kernel.headers import well_formed
from ramkit.router.errors import HTTPError
from ramkit.router.streaming import Piece, ended, events, pump

__all__ = ["Replying"]

_TEXT = b"text/plain; charset=utf-8"
_HTML = b"text/html; charset=utf-8"
#: how a message is framed is not for handlers to say (RFC 9112 §6)
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})


class Closing(Protocol):
    """What is closed with the request."""

    async def close(self) -> None: ...


class Content(Protocol):
    """A reply's content that is made while it is sent."""

    async def send(self, reply: "Replying", status: int, headers: RawHeaders) -> None:
        """The whole response, with the status (0: none) and the fields that the handler said."""
        ...


class Replying:
    """The half of a context that replies.

    Nothing is sent before the outermost middleware returns; the last reply counts. Only ``stream``,
    ``sse`` and ``file`` bring content that is made while it is sent.
    """

    __slots__ = ("_body", "_content", "_headers", "_length", "_status", "_type", "began", "opened", "send")

    scope: Scope
    receive: Receive
    send: Send
    #: whether the response has begun: what it says is said
    began: bool
    #: what is closed with the request
    opened: list[Closing] | None
    _status: int
    _body: bytes | None
    _type: bytes | None
    #: of a body that another one stands for, as in answer to HEAD
    _length: bytes | None
    _headers: RawHeaders | None
    _content: Content | None

    def status(self, code: int) -> Self:
        """The reply's status, 200 to 599; ``ctx.status(204)`` alone is a reply without a body."""
        if not 200 <= code <= 599:
            raise ValueError(f"{code!r} is no status of a reply")
        self._unsent()
        self._status = code
        return self

    def header(self, name: str, value: str) -> Self:
        """A field of the reply, in the place of one of that name; ``Set-Cookie`` is added.

        Raises ``ValueError`` for what would not survive as one field, such as a value with CR or LF.
        """
        pair = _field(name, value)
        self._unsent()
        kept = self._headers or []
        if pair[0] != b"set-cookie":
            kept = [each for each in kept if each[0] != pair[0]]
        self._headers = [*kept, pair]
        return self

    def text(self, text: str) -> None:
        self._reply(text.encode(), _TEXT)

    def html(self, html: str) -> None:
        self._reply(html.encode(), _HTML)

    def redirect(self, url: str, status: int = 302) -> None:
        """Raises ``ValueError`` for control characters in the URL."""
        if not 300 <= status <= 399:
            raise ValueError(f"{status!r} redirects nobody")
        if any(character < " " or character == "\x7f" for character in url):
            raise ValueError(f"{url!r} is no URL")
        self.status(status).header("location", quote(url, safe=":/%#?=@[]!$&'()*+,;~"))
        self._reply(b"", None)

    def stream(self, pieces: AsyncIterable[Piece], media_type: str = "application/octet-stream") -> None:
        """Pieces of bytes or text, sent as they come; the source is closed when the client leaves."""
        self._stream(_Stream(pieces, pieces, None), _field("content-type", media_type)[1])

    def sse(self, source: AsyncIterable[Any], *, heartbeat: float = 15.0) -> None:
        """Server-sent events: each an ``Event``, or its data, text or what becomes JSON.

        ``heartbeat``: seconds of silence after which a comment is sent.
        """
        self.header("cache-control", "no-store").header("x-accel-buffering", "no")
        self._stream(_Stream(source, events(source), heartbeat), b"text/event-stream; charset=utf-8")

    def file(self, path: str | PathLike[str], *, root: str | PathLike[str]) -> None:
        """A file below ``root``, with its type, ETag and Last-Modified; ranges and conditions are
        answered. One that is not there, or leads out of the root, also by a symbolic link, is a 404."""
        self._lasting(_File(str(path), root), None)

    def _reply(self, body: bytes, kind: bytes | None) -> None:
        if self.began:
            self._unsent()
        self._body, self._type = body, kind
        self._content = self._length = None

    def _stream(self, content: "_Stream", kind: bytes) -> None:
        self._lasting(content, kind)
        self.closes(content)

    def _lasting(self, content: Content, kind: bytes | None) -> None:
        self._unsent()
        self._content, self._body, self._type, self._length = content, None, kind, None

    def _unsent(self) -> None:
        if self.began:
            raise RuntimeError("the response has begun")

    def closes(self, what: Closing) -> None:
        """Close it with the request."""
        self.opened = [*(self.opened or ()), what]

    # -- sending -----------------------------------------------------------------------------------

    @property
    def replied(self) -> bool:
        """Whether there is anything to send, or was."""
        return self.began or self._status != 0 or self._body is not None or self._content is not None

    def begin(self) -> None:
        """Nothing is added any more."""
        self.began = True

    def reset(self) -> None:
        """Forget the reply."""
        self._unsent()
        self._status = 0
        self._body = self._type = self._length = self._content = self._headers = None

    def adopt(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Take for the reply what an ASGI middleware sent."""
        self._reply(body, None)
        self._status = status
        self._headers = [each for each in headers if each[0] not in _FRAMING]
        # In answer to HEAD, or as a 304, the length is that of what is not sent.
        self._length = dict(headers).get(b"content-length") if not body else None

    async def finish(self) -> None:
        """Send the reply to an HTTP request. Raises ``RuntimeError`` if there is none."""
        if self.began:
            return
        if self._content is not None:
            headers = [] if self._type is None else [(b"content-type", self._type)]
            await self._content.send(self, self._status, _over(headers, self._headers))
            return
        body, status = self._body, self._status
        if body is None:
            if not status:
                raise RuntimeError(f"nothing replied to {self.scope.get('method')} {self.scope['path']}")
            body = b""
        elif not status:
            status = 200
        headers = [] if self._type is None else [(b"content-type", self._type)]
        if status == 204:
            body = b""  # RFC 9110 §15.3.5, §8.6: neither a body nor a length
        elif status != 304 or self._length:
            headers.append((b"content-length", self._length or b"%d" % len(body)))
        if self.scope["method"] == "HEAD" or status == 304:
            body = b""
        if self._headers:
            headers = _over(headers, self._headers)
        self.began = True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    pair = name.lower().encode("latin-1"), value.encode("latin-1")
    if not well_formed([pair]) or pair[0] in _FRAMING:
        raise ValueError(f"{name!r}: {value!r} is no header field, or none of a handler's")
    return pair


def _over(headers: RawHeaders, said: RawHeaders | None) -> RawHeaders:
    """What the handler said counts."""
    names = {name for name, _ in said or ()}
    return [*(each for each in headers if each[0] not in names), *(said or ())]


class _Stream:
    __slots__ = ("_heartbeat", "_pieces", "_source")

    def __init__(
        self, source: AsyncIterable[Any], pieces: AsyncIterable[Piece], heartbeat: float | None
    ) -> None:
        self._pieces, self._heartbeat = pieces, heartbeat
        #: until its pieces are asked for; then they close it
        self._source: AsyncIterable[Any] | None = source

    async def close(self) -> None:
        if self._source is not None:
            await ended(self._source)

    async def send(self, reply: Replying, status: int, headers: RawHeaders) -> None:
        reply.began = True
        await reply.send({"type": "http.response.start", "status": status or 200, "headers": headers})
        if reply.scope["method"] != "HEAD":
            self._source = None
            complete = await pump(self._pieces, reply.receive, reply.send, heartbeat=self._heartbeat)
        else:
            complete = True
        if complete:
            await reply.send({"type": "http.response.body", "body": b"", "more_body": False})


class _File:
    """By Starlette's own, which stays below its directory and knows ranges and conditions."""

    __slots__ = ("_path", "_root")

    def __init__(self, path: str, root: str | PathLike[str]) -> None:
        self._path, self._root = path, root

    async def send(self, reply: Replying, status: int, headers: RawHeaders) -> None:  # noqa: ARG002 - the file has its own: 200, 206, 304, 416
        files = StaticFiles(directory=self._root, check_dir=False)
        try:
            # Asked as for GET: a handler of POST may answer with a file, too.
            response = await files.get_response(self._path, {**reply.scope, "method": "GET"})
        except (HTTPException, OSError):
            # Also one that may not be read, or links in circles: nobody needs to know that it is there.
            raise HTTPError(404) from None
        names = {name for name, _ in headers}
        response.raw_headers = [*(each for each in response.raw_headers if each[0] not in names), *headers]
        reply.began = True
        await response(reply.scope, reply.receive, reply.send)
