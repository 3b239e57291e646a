"""What a client sends of pages: whole numbers, and signed cursors. Without I/O."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ramkit.db.core.keyset import Column
from ramkit.db.core.values import decode, encode
from ramkit.kernel.errors import ConfigurationError

__all__ = ["BadPage", "Cursors", "number"]

_MAC = 32
_LONGEST = 4096  # characters of a cursor: it travels in a URL
_WHOLE = re.compile(r"(?P<minus>-?)(?P<digits>[0-9]+)")


class BadPage(ValueError):
    """What the client asked for is no page; the text is for its eyes."""


def number(name: str, given: Sequence[str], *, default: int, highest: int, clamp: bool = False) -> int:
    """A whole number from 1 to ``highest`` out of a query parameter's values, ``default`` if there is none.

    Anything else raises ``BadPage``; or, to ``clamp``, what is no number is the default, and one out of
    bounds the bound that is nearer.
    """
    if not given:
        return default
    # digits are counted first: int() of a long text is slow, and refused beyond 4,300 of them
    match = _WHOLE.fullmatch(given[0]) if len(given) == 1 else None
    found = None
    if match is not None:
        found = 0 if match["minus"] else int(match["digits"]) if len(match["digits"]) <= 18 else highest + 1
    if found is not None and 1 <= found <= highest:
        return found
    if not clamp:
        raise BadPage(f"{name} is given once, as a whole number from 1 to {highest}")
    return default if found is None else max(1, min(found, highest))


class Cursors:
    """Makes and reads opaque cursors: signed (HMAC-SHA256, RFC 2104) and bound to an ordering and to filters.

    Made once for each list. ``order``: its last column must be unique and not null, since pages would skip
    rows that tie in all columns. ``secret``: at least 32 bytes; ``previous`` ones are still read.
    A cursor is not
    encrypted: whoever decodes it sees the values that it holds.
    """

    def __init__(
        self, order: Iterable[Column], *, secret: str | bytes, previous: Iterable[str | bytes] = ()
    ) -> None:
        self.order = tuple(order)
        if not self.order:
            raise ConfigurationError("order", "a keyset needs a column")
        if len({column.name for column in self.order}) < len(self.order):
            raise ConfigurationError("order", "a column stands twice")
        self._secrets = [_secret("secret", secret), *(_secret("previous", one) for one in previous)]
        self._bound = ["ramkit page 1", [column.order for column in self.order]]

    def make(self, row: Mapping[str, Any], *, back: bool = False, filters: Sequence[str] = ()) -> str:
        """The cursor of the page that follows this row, or goes ``back`` from it.

        Raises ``TypeError`` for a type that a cursor cannot carry, ``ValueError`` for a value that it cannot,
        or if it becomes too long.
        """
        values = [encode(column.name, row[column.name]) for column in self.order]
        body = json.dumps([back, values], separators=(",", ":")).encode()
        raw = self._mac(self._secrets[0], filters, body) + body
        text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        if len(text) > _LONGEST:
            names = ", ".join(column.name for column in self.order)
            raise ValueError(
                f"this row's {names} make a cursor of {len(text)} characters, and {_LONGEST} is the most: "
                "order by shorter columns"
            )
        return text

    def read(self, text: str, *, filters: Sequence[str] = ()) -> tuple[list[Any], bool]:
        """A row's values and whether the page is the one before it. Raises ``BadPage``."""
        try:
            if len(text) > _LONGEST:
                raise BadPage("the cursor is too long")
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise BadPage("the cursor is damaged") from None
        mac, body = raw[:_MAC], raw[_MAC:]
        if not any(hmac.compare_digest(mac, self._mac(secret, filters, body)) for secret in self._secrets):
            raise BadPage("the cursor is not one of this list")
        back, values = json.loads(body)
        return [decode(value) for value in values], back

    def _mac(self, secret: bytes, filters: Sequence[str], body: bytes) -> bytes:
        bound = hashlib.sha256(json.dumps([*self._bound, list(filters)]).encode()).digest()
        return hmac.digest(secret, bound + body, "sha256")


def _secret(argument: str, given: str | bytes) -> bytes:
    secret = given.encode() if isinstance(given, str) else given
    if len(secret) < 32:
        raise ConfigurationError(argument, "must have at least 32 bytes")
    return secret
