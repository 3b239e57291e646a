"""Takes the floor to the client and back in a signed header.

Cookies would have to be Secure, and the demo speaks plain http.
"""

import binascii
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send, raw_headers
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.context import Floor, RequestContext

__all__ = ["HEADER", "FloorMiddleware"]

HEADER = b"ramkit-floor"
#: Signatures are cut to this many bytes: 128 bits.
_SIGNATURE = 16
#: A header that is longer than this is none of ours.
_LONGEST = 2048


class FloorMiddleware:
    """Reads ``RamKit-Floor`` into the request context, and answers with it once it was raised.

    Goes outside of ``CacheMiddleware``, so that no cached response carries somebody's floor.
    ``secret``: the same in all workers. ``lifetime``: seconds after which nothing that was stored
    before a write can be alive; until then a client whose purge was not confirmed bypasses the cache.
    A floor with a bad signature is ignored.
    """

    def __init__(self, app: ASGIApp, *, secret: bytes, lifetime: float, clock: Clock | None = None) -> None:
        self.app = app
        self._secret, self._lifetime = secret, lifetime
        self._now: Callable[[], float] = (clock if clock is not None else SystemClock()).time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        header = next((value for name, value in scope["headers"] if name == HEADER), b"")
        until = self._read(header, scope) if header else {}
        context = RequestContext.peek(scope)
        before = _content(context.floor if context is not None else Floor())

        async def send_with_floor(message: Message) -> None:
            context = RequestContext.peek(scope) if message["type"] == "http.response.start" else None
            if context is not None and _content(context.floor) != before:
                pair = (HEADER, self._write(context.floor, until))
                message = {**message, "headers": [*raw_headers(message), pair]}
            await send(message)

        await self.app(scope, receive, send_with_floor)

    def _read(self, header: bytes, scope: Scope) -> dict[str, float]:
        """Fill the request's floor; until when each bypass holds."""
        payload = self._verified(header)
        if payload is None:
            return {}
        floor = RequestContext.of(scope).floor
        for cache, (incarnation, epoch) in payload["epochs"].items():
            floor.raise_epoch(cache, incarnation, epoch)
        now = self._now()
        until = {cache: moment for cache, moment in payload["bypass"].items() if moment > now}
        floor.bypass.update(until)
        return until

    def _write(self, floor: Floor, until: dict[str, float]) -> bytes:
        new = self._now() + self._lifetime
        bypass = {cache: until.get(cache, new) for cache in floor.bypass}
        payload = json.dumps({"epochs": floor.epochs, "bypass": bypass}).encode()
        return urlsafe_b64encode(self._signature(payload) + payload)

    def _verified(self, header: bytes) -> Any:
        if len(header) > _LONGEST:
            return None
        try:
            data = urlsafe_b64decode(header)
        except binascii.Error:
            return None
        signature, payload = data[:_SIGNATURE], data[_SIGNATURE:]
        return json.loads(payload) if hmac.compare_digest(signature, self._signature(payload)) else None

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, "sha256")[:_SIGNATURE]


def _content(floor: Floor) -> tuple[dict[str, tuple[int, int]], set[str]]:
    return dict(floor.epochs), set(floor.bypass)
