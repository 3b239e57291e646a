"""Pages by number and by keyset: parameters, signed cursors and the SQL, without I/O."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ramkit.kernel.errors import ConfigurationError

__all__ = ["BadPage", "Column", "Cursors", "keyset", "number"]

_MAC = 32
_LONGEST = 4096  # characters of a cursor: it travels in a URL
_DECODERS: dict[str, Any] = {
    "n": Decimal,
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
    "u": UUID,
    "b": bytes.fromhex,
    "f": float.fromhex,
}


class BadPage(ValueError):
    """What the client asked for is no page; the text is for its eyes."""


def number(name: str, given: Sequence[str], *, default: int, highest: int) -> int:
    """A whole number from 1 to ``highest`` out of a query parameter's values. Raises ``BadPage``."""
    if not given:
        return default
    text = given[0]
    # the length bound comes first: int() of a long text is slow, and refused beyond 4,300 digits
    valid = len(given) == 1 and len(text) <= 18 and text.isascii() and text.isdigit()
    if not valid or not 1 <= int(text) <= highest:
        raise BadPage(f"{name} is given once, as a whole number from 1 to {highest}")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of an ordering. ``nulls_first``: ``None`` is Postgres's way, last up and first down."""

    name: str
    descending: bool = False
    nulls_first: bool | None = None

    def __post_init__(self) -> None:
        if not self.name or "\0" in self.name:
            raise ConfigurationError("name", f"{self.name!r} names no column")
        if self.nulls_first is None:
            object.__setattr__(self, "nulls_first", self.descending)

    @property
    def quoted(self) -> str:
        return '"' + self.name.replace('"', '""') + '"'

    @property
    def reversed(self) -> "Column":
        return Column(name=self.name, descending=not self.descending, nulls_first=not self.nulls_first)

    @property
    def order(self) -> str:
        way, nulls = "DESC" if self.descending else "ASC", "FIRST" if self.nulls_first else "LAST"
        return f"{self.quoted} {way} NULLS {nulls}"


def keyset(
    query: str, args: Sequence[Any], order: Sequence[Column], after: Sequence[Any] | None, *, limit: int
) -> tuple[str, list[Any]]:
    """The statement and its arguments for ``limit`` rows beyond ``after`` in this order.

    The last column must be unique and not null, else rows that tie with ``after`` are skipped. For the
    page before a row, give each column ``reversed`` and turn the rows round.
    """
    given, where = list(args), ""
    if after is not None:
        same: list[str] = []
        beyond: list[str] = []
        for column, value in zip(order, after, strict=True):
            name = column.quoted
            if value is None:
                equal, later = f"{name} IS NULL", f"{name} IS NOT NULL" if column.nulls_first else "FALSE"
            else:
                given.append(value)
                equal = f"{name} = ${len(given)}"
                later = f"{name} {'<' if column.descending else '>'} ${len(given)}"
                if not column.nulls_first:
                    later = f"({later} OR {name} IS NULL)"
            beyond.append(" AND ".join([*same, later]))
            same.append(equal)
        where = " WHERE " + " OR ".join(f"({one})" for one in beyond)
    given.append(limit)
    ordering = ", ".join(column.order for column in order)
    # the newline ends a comment that the query may end with
    text = f"SELECT * FROM ({query}\n) AS page{where} ORDER BY {ordering} LIMIT ${len(given)}"  # noqa: S608 - names are quoted, values are arguments
    return text, given


class Cursors:
    """Makes and reads opaque cursors: signed (HMAC-SHA256, RFC 2104), bound to an ordering and ``filters``.

    ``secrets``: the first signs, all verify; at least 32 bytes each.
    """

    def __init__(self, secrets: Sequence[bytes], order: Sequence[Column], filters: str = "") -> None:
        if not secrets or any(len(secret) < 32 for secret in secrets):
            raise ConfigurationError("secrets", "each must have at least 32 bytes, and there must be one")
        if not order:
            raise ConfigurationError("order", "a keyset needs a column")
        self._secrets, self._width = list(secrets), len(order)
        bound = json.dumps(["ramkit page 1", [column.order for column in order], filters])
        self._bound = hashlib.sha256(bound.encode()).digest()

    def make(self, values: Sequence[Any], *, back: bool = False) -> str:
        """Raises ``TypeError`` for a value that a cursor cannot carry, ``ValueError`` for too much of it."""
        body = json.dumps([back, [_encode(value) for value in values]], separators=(",", ":")).encode()
        text = base64.urlsafe_b64encode(self._mac(self._secrets[0], body) + body).rstrip(b"=").decode()
        if len(text) > _LONGEST:
            raise ValueError("the values of this row make too long a cursor")
        return text

    def read(self, text: str) -> tuple[list[Any], bool]:
        """A row's values and whether the page is the one before it. Raises ``BadPage``."""
        try:
            if len(text) > _LONGEST:
                raise BadPage("the cursor is too long")
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise BadPage("the cursor is damaged") from None
        mac, body = raw[:_MAC], raw[_MAC:]
        if not any(hmac.compare_digest(mac, self._mac(secret, body)) for secret in self._secrets):
            raise BadPage("the cursor is not one of this list")
        back, values = json.loads(body)
        return [_decode(value) for value in values], back

    def _mac(self, secret: bytes, body: bytes) -> bytes:
        return hmac.digest(secret, self._bound + body, "sha256")


def _encode(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return ["f", value.hex()]
        case Decimal():
            return ["n", str(value)]
        case datetime():
            return ["t", value.isoformat()]
        case date():
            return ["d", value.isoformat()]
        case bytes():
            return ["b", value.hex()]
        case UUID():
            return ["u", str(value)]
        case _:
            raise TypeError(f"a cursor cannot carry a {type(value).__name__}")


def _decode(value: Any) -> Any:
    return _DECODERS[value[0]](value[1]) if isinstance(value, list) else value
