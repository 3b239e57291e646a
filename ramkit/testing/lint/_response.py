"""The messages that make up one response, of http or of a WebSocket's denial."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from ramkit.kernel.asgi import Message, RawHeaders, Scope
from ramkit.testing.lint._rules import LintError, check_flag, check_headers, require

__all__ = ["Response"]

_START = "ASGI HTTP, Response Start"
_BODY = "ASGI HTTP, Response Body"
_TRAILERS = "ASGI Extensions, HTTP Trailers"

#: Messages that belong to a response that has started. Hints may come before: that is what they are for
#: (RFC 8297 §2).
_WITHIN = frozenset(
    {
        "http.response.push",
        "http.response.zerocopysend",
        "http.response.pathsend",
        "http.response.trailers",
    }
)


class Response:
    """Follows a response from its start to its last message. Each step raises LintError."""

    def __init__(self, scope: Scope, prefix: str = "http.response.") -> None:
        self.started = False
        self.finished = False
        self._extensions: dict[str, Any] = scope.get("extensions") or {}
        self._head = scope.get("method") == "HEAD"
        self._status = 0
        self._announced = False  # trailers
        self._body_ended = False
        self._length: int | None = None  # as Content-Length has it, while it can be checked
        self._sent = 0
        self._debug = False
        self._start = prefix + "start"
        self._core: dict[str, Callable[[Message], None]] = {
            prefix + "start": self._on_start,
            prefix + "body": self._on_body,
        }
        self._extended: dict[str, Callable[[Message], None]] = {
            "http.response.push": self._on_push,
            "http.response.zerocopysend": self._on_zerocopysend,
            "http.response.pathsend": self._on_pathsend,
            "http.response.early_hint": self._on_early_hint,
            "http.response.trailers": self._on_trailers,
            "http.response.debug": self._on_debug,
        }

    def sending(self, message: Message) -> None:
        """Takes the next message of the response."""
        kind: str = message["type"]
        step = self._core.get(kind)
        if step is None:
            self._check_offered(kind)
            step = self._extended.get(kind)
        require(not self.finished, "after-end", f"{kind} after the last message of the response", _BODY)
        if kind == self._start:
            require(not self.started, "start-once", f"{kind} for the second time", _START)
        elif kind in self._core or kind in _WITHIN:
            require(self.started, "start-first", f"{kind} before {self._start}", _START)
        due = self._body_ended and kind != "http.response.trailers"
        require(not due, "after-end", f"{kind} where trailers are due", _TRAILERS)
        if step is not None:
            step(message)

    def check_finished(self) -> None:
        """The app has returned: there must be a whole response."""
        require(self.started, "no-response", "the app returned without a response", _START)
        missing = "trailers" if self._body_ended else "a last body message"
        require(self.finished, "unfinished", f"the app returned without {missing}", _BODY)

    def _check_offered(self, kind: str) -> None:
        if kind not in self._extensions:
            rule = "extension" if kind in self._extended else "message-type"
            raise LintError(rule, f"the scope does not offer {kind!r}", "ASGI, Extensions")

    def _on_start(self, message: Message) -> None:
        status: object = message.get("status")
        number = isinstance(status, int) and not isinstance(status, bool)
        require(number, "status", f"status is {status!r}, not an int", _START)
        self._status = int(cast("int", status))
        final = 200 <= self._status <= 599
        require(final, "status", f"{self._status} is no status of a final response", "RFC 9110 §15")
        self._announced = check_flag(message, "trailers", _START)
        if self._announced:
            self._check_offered("http.response.trailers")
        self._check_length(check_headers(message.get("headers", ()), _START))
        self.started = True

    def _check_length(self, headers: RawHeaders) -> None:
        section = "RFC 9110 §8.6"
        lengths = [value for name, value in headers if name == b"content-length"]
        require(len(lengths) < 2, "content-length-once", f"there are {len(lengths)}", section)
        if not lengths:
            return
        require(lengths[0].isdigit(), "content-length", f"{lengths[0]!r} is no number", section)
        require(self._status != 204, "content-length", "a 204 has none", section)
        if not self._head and self._status != 304:
            self._length = int(lengths[0])

    def _on_body(self, message: Message) -> None:
        body: object = message.get("body", b"")
        like_bytes = isinstance(body, bytes | bytearray | memoryview)
        require(like_bytes, "body-type", f"body is a {type(body).__name__}, not bytes", _BODY)
        more = check_flag(message, "more_body", _BODY)
        size = memoryview(cast("bytes", body)).nbytes
        self._check_content(empty=size == 0)
        self._sent += size
        if self._length is not None:
            fits = self._sent <= self._length if more else self._sent == self._length
            problem = f"{self._sent} bytes of body, Content-Length {self._length}"
            require(fits, "content-length", problem, "RFC 9110 §8.6")
        if not more:
            self._end()

    def _check_content(self, *, empty: bool) -> None:
        bodiless = self._status in (204, 304)
        section = "RFC 9110 §15.3.5" if self._status == 204 else "RFC 9110 §15.4.5"
        require(not bodiless or empty, "no-content", f"a body in a {self._status}", section)

    def _end(self) -> None:
        self._body_ended = True
        self.finished = not self._announced

    def _on_zerocopysend(self, message: Message) -> None:
        section = "ASGI Extensions, Zero Copy Send"
        require(hasattr(message.get("file"), "fileno"), "zerocopysend", "file has no descriptor", section)
        for key in ("offset", "count"):
            value: object = message.get(key)
            require(value is None or isinstance(value, int), "zerocopysend", f"{key} is {value!r}", section)
        self._check_content(empty=False)
        self._length = None  # what is in the file is not known here
        if not check_flag(message, "more_body", section):
            self._end()

    def _on_pathsend(self, message: Message) -> None:
        section = "ASGI Extensions, Path Send"
        path: object = message.get("path")
        absolute = isinstance(path, str) and Path(path).is_absolute()
        require(absolute, "pathsend", f"{path!r} is no absolute path", section)
        require(self._sent == 0, "pathsend-alone", "pathsend after body", section)
        self._check_content(empty=False)
        self._end()

    def _on_push(self, message: Message) -> None:
        section = "ASGI Extensions, HTTP/2 Server Push"
        require(isinstance(message.get("path"), str), "push", f"path is {message.get('path')!r}", section)
        check_headers(message.get("headers", ()), section)

    def _on_early_hint(self, message: Message) -> None:
        section = "ASGI Extensions, Early Hints"
        links: object = message.get("links")
        iterable = isinstance(links, Iterable) and not isinstance(links, str | bytes)
        require(iterable, "early-hint", f"links is {links!r}", section)
        if isinstance(links, list | tuple):
            fine = all(isinstance(link, bytes) for link in cast("list[object]", links))
            require(fine, "early-hint", "a link is no bytes", section)

    def _on_trailers(self, message: Message) -> None:
        problem = "the body has not ended" if self._announced else "the start did not announce them"
        require(self._body_ended, "trailers", problem, _TRAILERS)
        check_headers(message.get("headers", ()), _TRAILERS)
        self.finished = not check_flag(message, "more_trailers", _TRAILERS)

    def _on_debug(self, message: Message) -> None:
        section = "ASGI Extensions, Debug"
        require(not self.started and not self._debug, "debug", "not once, before the start", section)
        require(isinstance(message.get("info"), dict), "debug", "info is no dict", section)
        self._debug = True
