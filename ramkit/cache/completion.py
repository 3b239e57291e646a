"""A render that asks the app only for what is missing of a stored response (RFC 9111 §3.3)."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ramkit.cache.core.entry import Entry
from ramkit.cache.core.ranges import Parts, parse_content_range, strong_validator
from ramkit.cache.flight import Turn
from ramkit.cache.parts import PartRecorder, validator_of
from ramkit.cache.reads import WatchedScope
from ramkit.cache.responder import Mode, Responder
from ramkit.kernel.asgi import Message, RawHeaders, raw_headers
from ramkit.kernel.headers import find, without

if TYPE_CHECKING:
    from ramkit.cache.exchange import Exchange

__all__ = ["Completion", "rest_of"]

#: Answers to the Range, not to the client's request, which had none.
_OF_THE_RANGE = frozenset({206, 304, 412, 416})


def rest_of(entry: Entry | None, max_body: int) -> RawHeaders:
    """The fields that ask for what is missing; none where the whole would not be kept or is not known."""
    parts = Parts.read(entry.headers, entry.body) if entry is not None else None
    missing = parts.missing() if parts is not None and (parts.length or 0) <= max_body else None
    if entry is None or missing is None:
        return []
    validator = validator_of(entry)
    # Without a validator a 206 completes nothing, but an app without ranges answers with the whole.
    return [(b"range", missing), *([(b"if-range", validator)] if validator is not None else [])]


class Completion(Responder):
    """``send`` for such a render. A 206 is held back until it makes the whole; one that does not is
    ``mismatched``, and the whole is asked for. Every other response is that of a plain GET."""

    __slots__ = ("_part", "_pieces", "_wanted")

    def __init__(self, exchange: "Exchange", scope: WatchedScope, turn: Turn, expired: Entry | None) -> None:
        super().__init__(exchange, scope, turn, expired)
        self._part = self._recorder = PartRecorder(exchange, scope, turn)
        self._pieces: list[bytes] = []
        #: bytes that the part still lacks; None when it is none, or has come
        self._wanted: int | None = None

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        starts = kind == "http.response.start" and self._mode is Mode.WAITING
        if starts and message["status"] in _OF_THE_RANGE:
            await self._start_part(message)
        elif kind == "http.response.body" and self._wanted is not None:
            await self._collect_part(message, self._wanted)
        else:
            await super().__call__(message)

    async def _start_part(self, message: Message) -> None:
        self._mode, self.mismatched = Mode.DROPPED, True
        headers = raw_headers(message)
        found = parse_content_range(find(headers, b"content-range") or b"")
        if message["status"] == 206 and found is not None and self._completes(headers):
            trailers = bool(message.get("trailers"))
            fits = found[0].length <= self._exchange.middleware.max_body
            if fits and self._part.begin(206, headers, trailers=trailers) is None:
                self._wanted = found[0].length
                return
        await self._forget_length()

    def _completes(self, headers: RawHeaders) -> bool:
        parts = self._exchange.parts
        validator = strong_validator(headers, self._cache.log.now())
        return parts is not None and validator is not None and validator == validator_of(parts)

    async def _forget_length(self) -> None:
        """What is stored cannot be completed: nobody is to try again."""
        parts = self._exchange.parts
        if parts is None or (known := Parts.read(parts.headers, parts.body)) is None:
            return
        headers = [*without(parts.headers, b"content-range"), known._replace(length=None).listing()]
        await self._cache.keep(self._exchange.key, replace(parts, headers=headers))

    async def _collect_part(self, message: Message, wanted: int) -> None:
        chunk, more = bytes(message.get("body", b"")), bool(message.get("more_body", False))
        self._wanted = wanted - len(chunk)
        if chunk:
            self._pieces.append(chunk)
        if more and self._wanted >= 0:
            return
        wanted, self._wanted = self._wanted, None
        if not wanted:
            await self._part.store(b"".join(self._pieces))
            await self._answer_whole(self._part.kept)
        self._pieces = []

    async def _answer_whole(self, entry: Entry | None) -> None:
        exchange = self._exchange
        if entry is None or entry.status != 200:
            return
        self.mismatched = False
        self._cache.observed("miss")
        await exchange.reply(entry, x_cache=b"MISS", cache_status=b"fwd=partial; stored")
