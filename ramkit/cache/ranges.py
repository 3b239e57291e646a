"""GET with a Range: parts of what is stored, and storing the app's parts (RFC 9110 §14, RFC 9111 §3.3)."""

import secrets
from typing import TYPE_CHECKING, ClassVar

from ramkit.cache.core.entry import PARTS, Entry
from ramkit.cache.core.keys import Target, variant
from ramkit.cache.core.ranges import Parts, Span, declined, if_range_holds, parse_range, partial, resolve
from ramkit.cache.core.serving import State
from ramkit.cache.exchange import Exchange
from ramkit.cache.flight import Turn
from ramkit.cache.parts import PartRecorder
from ramkit.cache.reads import WatchedScope
from ramkit.cache.recorder import Recorder
from ramkit.cache.responder import Responder
from ramkit.kernel.asgi import Message, RawHeaders, Receive, Scope, Send
from ramkit.kernel.headers import find
from ramkit.kernel.replies import problem

if TYPE_CHECKING:
    from ramkit.cache.middleware import CacheMiddleware

__all__ = ["exchange_of"]

_OF_RANGE = (b"if-range", b"range")


def exchange_of(
    middleware: "CacheMiddleware",
    scope: Scope,
    receive: Receive,
    send: Send,
    target: Target,
    *,
    missed: bool = False,
) -> Exchange:
    """The exchange for this request. Only GET has ranges (RFC 9110 §14.2)."""
    ranged = scope["method"] == "GET" and find(scope["headers"], b"range") is not None
    return (_RangeExchange if ranged else Exchange)(middleware, scope, receive, send, target, missed=missed)


class _RangeExchange(Exchange):
    """One GET with a Range. A whole response that is stored answers it, fresh, stale or validated, then
    stored parts; else the app is asked as the client asked."""

    __slots__ = ("_asked_for", "_if_range")

    recorder: ClassVar[type[Recorder]] = PartRecorder

    def __init__(
        self,
        middleware: "CacheMiddleware",
        scope: Scope,
        receive: Receive,
        send: Send,
        target: Target,
        *,
        missed: bool = False,
    ) -> None:
        super().__init__(middleware, scope, receive, send, target, missed=missed)
        self._asked_for = parse_range(self.watched[b"range"])
        self._if_range = self.watched.get(b"if-range")

    # -- from the store ------------------------------------------------------------------------------

    async def _find(self) -> Entry | None:
        entry = await super()._find()
        if entry is not None or self.expired is not None:
            return entry
        parts = self.parts
        if parts is not None and self._within(parts):
            return parts
        # Whoever asks for the same part waits for it; whoever asks for another one does not.
        self.key = variant(self.key, _OF_RANGE, self.scope["headers"])
        return None

    def _within(self, entry: Entry) -> bool:
        return self.state(entry) is State.FRESH and bool(self._pieces(entry, _parts_of(entry)))

    def _refresh(self, entry: Entry) -> None:
        if entry.status != PARTS:
            super()._refresh(entry)

    def precondition(self, status: int, headers: RawHeaders) -> list[Message] | None:
        """They come before Range (RFC 9110 §13.2.2), and are about what would be a 200."""
        return super().precondition(200 if status in (206, PARTS) else status, headers)

    def _content(self, entry: Entry, headers: RawHeaders) -> list[Message]:
        parts = _parts_of(entry)
        pieces = self._pieces(entry, parts)
        if pieces is None or parts is None:
            return super()._content(entry, headers)
        if not pieces:
            return self._unsatisfiable(parts, headers)
        headers, body = partial(headers, pieces, parts.length, secrets.token_hex(16).encode())
        return [
            {"type": "http.response.start", "status": 206, "headers": headers},
            {"type": "http.response.body", "body": body},
        ]

    def _pieces(self, entry: Entry, parts: Parts | None) -> list[tuple[Span, bytes]] | None:
        """What is asked for of an entry: empty if that is not satisfiable, None if Range does not count or
        not all of it is there."""
        if parts is None or self._asked_for is None or declined(entry.headers):
            return None
        if not if_range_holds(self._if_range, entry.headers, entry.stored - entry.age):
            return None
        spans = resolve(self._asked_for, parts.length)
        if spans is None:
            return None
        pieces = [(span, parts.slice(span)) for span in spans]
        found = [(span, piece) for span, piece in pieces if piece is not None]
        return found if len(found) == len(pieces) else None

    @staticmethod
    def _unsatisfiable(parts: Parts, headers: RawHeaders) -> list[Message]:
        """416 (RFC 9110 §15.5.17)."""
        said = [pair for pair in headers if pair[0] in (b"x-cache", b"cache-status")]
        said.append((b"content-range", b"bytes */%d" % len(parts.body)))
        return problem(416, headers=said).messages()

    # -- from the app --------------------------------------------------------------------------------

    def _ranged(self) -> RawHeaders:
        """As the client asked, unless an expired response is to be validated: that has no parts."""
        if self.expired is not None:
            return []
        return [pair for pair in self.scope["headers"] if pair[0] in _OF_RANGE]

    def _responder(self, scope: WatchedScope, turn: Turn, expired: Entry | None) -> Responder:
        return Responder(self, scope, turn, expired)

    def _sociable(self) -> bool:
        return (
            super()._sociable()
            and self.middleware.unshared.get(self.key, 0.0) <= self.cache.clock.monotonic()
        )

    def no_waiting(self) -> None:
        if self.expired is not None:
            super().no_waiting()
        else:
            self._unshare(self.key)


def _parts_of(entry: Entry) -> Parts | None:
    """What an entry has of its representation: parts, or all of it."""
    if entry.status == PARTS:
        return Parts.read(entry.headers, entry.body)
    if entry.status != 200:
        return None
    length = len(entry.body)
    return Parts((Span(0, length - 1),) if length else (), length, entry.body)
