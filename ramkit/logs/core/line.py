"""One line of the access log."""

import re
from datetime import UTC, datetime

import msgspec

from ramkit.kernel.errors import ConfigurationError
from ramkit.logs.policy import Dates

__all__ = ["Line", "Stamp", "encode", "is_request_id", "lost_lines"]

_MILLISECONDS = tuple(f".{number:03}Z" for number in range(1000))
_REQUEST_ID = re.compile(rb"[0-9A-Za-z._:~/+=@-]{1,128}")


class Line(msgspec.Struct, omit_defaults=True):
    """Seconds are ms, None is left out. ``outcome``: complete, disconnected (the client left), cancelled,
    failed (``error``: the exception's class) or incomplete (the app ended before its response)."""

    time: str
    type: str
    request_id: str | None
    trace_id: str | None
    span_id: str | None
    client: str | None
    method: str | None
    path: str
    query: str | None
    route: str
    status: int
    bytes_received: int
    bytes_sent: int
    duration_ms: float
    outcome: str
    http_version: str | None
    user_agent: str | None = None
    first_byte_ms: float | None = None
    waits_ms: dict[str, float] | None = None
    cache: str | None = None
    principal: str | None = None
    request_headers: dict[str, str] | None = None
    response_headers: dict[str, str] | None = None
    close_code: int | None = None
    error: str | None = None


_encoder = msgspec.json.Encoder()


def encode(line: Line) -> bytes:
    """JSON, ended by a line feed."""
    return _encoder.encode(line) + b"\n"


def lost_lines(time: str, number: int) -> bytes:
    """The line that says how many are missing."""
    said = {"time": time, "level": "WARNING", "message": "log lines were dropped", "dropped": number}
    return _encoder.encode(said) + b"\n"


def is_request_id(value: bytes) -> bool:
    """Whether a proxy's ``X-Request-ID`` is one that may be taken."""
    return _REQUEST_ID.fullmatch(value) is not None


class Stamp:
    """Writes times in one form; each second is formatted once."""

    __slots__ = ("_fraction", "_pattern", "_second")

    def __init__(self, dates: Dates) -> None:
        if dates not in ("rfc3339", "YYYY-MM-DD HH:mm:ss Z"):
            raise ConfigurationError("dates", f"{dates!r} is neither 'rfc3339' nor 'YYYY-MM-DD HH:mm:ss Z'")
        self._fraction = dates == "rfc3339"
        self._pattern = "%Y-%m-%dT%H:%M:%S" if self._fraction else "%Y-%m-%d %H:%M:%S Z"
        self._second = (-1, "")

    def __call__(self, now: float) -> str:
        whole = int(now)
        second, text = self._second
        if second != whole:
            text = datetime.fromtimestamp(whole, UTC).strftime(self._pattern)
            self._second = (whole, text)
        return text + _MILLISECONDS[int((now - whole) * 1000)] if self._fraction else text
