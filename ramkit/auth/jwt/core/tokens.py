"""A compact JWS taken apart (RFC 7515 §7.1, RFC 7519, RFC 8725): what can be said before and by its key."""

import binascii
import json
import re
from typing import Any, Final, NamedTuple, NoReturn, cast

__all__ = ["MAX_BYTES", "Malformed", "Parts", "claims_of", "encode_segment", "kind_of", "split"]

#: Bytes of a token that are looked at, unless the service says otherwise.
MAX_BYTES: Final = 8192

_SEGMENT = re.compile(r"[A-Za-z0-9_-]*")


class Malformed(ValueError):
    """What is no token. The text is for the client, too."""


class Parts(NamedTuple):
    """A token that is well formed and whose signature nobody has looked at."""

    header: dict[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


def split(token: str, most: int = MAX_BYTES) -> Parts:
    """Take a token apart; raises ``Malformed``.

    Of the header nothing is believed but what it must say for itself. Keys that it brings along or points to
    (jwk, jku, x5c, x5u; RFC 8725 §3.10) are for nobody here.
    """
    if len(token) > most:
        raise Malformed("The token is too long.")
    segments = token.split(".", 3)
    if len(segments) != 3:  # five are an encrypted one (RFC 7516 §3.1)
        raise Malformed("The token is no signed JWT.")
    header, payload, signature = (_decode(segment) for segment in segments)
    said = _object(header)
    _check_header(said)
    signed = token[: token.rindex(".")].encode("ascii")
    return Parts(said, payload, signed, signature)


def claims_of(payload: bytes) -> dict[str, Any]:
    """The claims set (RFC 7519 §7.2); raises ``Malformed``."""
    return _object(payload)


def kind_of(header: dict[str, Any]) -> str | None:
    """The media type in ``typ``, in lower case and without ``application/`` (RFC 7515 §4.1.9)."""
    typ = header.get("typ")
    return None if typ is None else typ.lower().removeprefix("application/")


def encode_segment(data: bytes) -> str:
    """RFC 7515 §2: base64url without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = str.maketrans("-_", "+/")
#: by the length of a segment modulo 4; 1 is no length of base64
_PADDING = ("", None, "==", "=")
#: the last character's bits that are not used, by the same
_UNUSED = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}


def _decode(segment: str) -> bytes:
    """Only the one spelling that base64url has for these bytes, so that a token has only one, too."""
    rest = len(segment) % 4
    padding = _PADDING[rest]
    if padding is None or not _SEGMENT.fullmatch(segment) or (rest and segment[-1] not in _UNUSED[rest]):
        raise Malformed("The token is not base64url.")
    return binascii.a2b_base64(segment.translate(_FROM_URL) + padding)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515 §4, RFC 7519 §4: a name that stands twice is refused rather than read by one of two habits."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("A name stands twice in the token.")
    return found


def _no_constant(_: str) -> NoReturn:
    raise Malformed("The token is not JSON.")  # NaN and Infinity, which Python would read


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _object(data: bytes) -> dict[str, Any]:
    try:
        found: Any = _decoder.decode(data.decode("utf-8"))
    except Malformed:
        raise
    except (ValueError, RecursionError):
        raise Malformed("The token is not JSON.") from None
    if type(found) is not dict:
        raise Malformed("The token holds no JSON object.")
    return cast(dict[str, Any], found)


def _check_header(header: dict[str, Any]) -> None:
    if "crit" in header:
        # RFC 7515 §4.1.11: no extension is understood here, so none may be critical; RFC 7797 §6 among them.
        raise Malformed("The token has a critical extension.")
    if header.get("b64", True) is not True:
        raise Malformed("The token's payload is not encoded.")  # RFC 7797 §3
    for name in ("alg", "kid", "typ"):
        if not isinstance(header.get(name, ""), str):
            raise Malformed(f"The token's {name} is no string.")
