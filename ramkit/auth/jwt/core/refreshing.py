"""What a refresh token is made of, and what of it is kept.

A token is 16 bytes that are its family's own and 32 of itself, both random. The store knows the family by a
hash of the former and the token by a hash of the latter; the family's name may be shown (it is the claim
``sid``), and who does not know the former cannot have the family taken for stolen.

A successor is made from its predecessor and a nonce, by HMAC. The nonce is kept for a while, so that who
presents the predecessor again, because two requests of one client ran at once, gets the same successor.
Neither from the store alone nor from the predecessor alone can it be made.
"""

import binascii
import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple

from ramkit.auth.jwt.core.tokens import encode_segment

__all__ = ["RefreshToken", "new_nonce", "new_token", "read_token"]

_ROOT: Final = 16
_OWN: Final = 32
_TEXT = re.compile(r"[A-Za-z0-9_-]{64}")


class RefreshToken(NamedTuple):
    """``root`` and ``own``: the two parts."""

    root: bytes
    own: bytes

    @property
    def text(self) -> str:
        """What the client gets: 64 characters."""
        return encode_segment(self.root + self.own)

    @property
    def family(self) -> str:
        """The family's name: 32 hexadecimal digits, no secret."""
        return hashlib.sha256(b"ramkit refresh family\0" + self.root).hexdigest()[:32]

    @property
    def hash(self) -> bytes:
        """What is kept of it: 32 bytes."""
        return hashlib.sha256(b"ramkit refresh token\0" + self.root + self.own).digest()

    def successor(self, nonce: bytes) -> "RefreshToken":
        """The one that follows, of the same family."""
        return RefreshToken(self.root, hmac.digest(self.own, b"ramkit refresh successor\0" + nonce, "sha256"))


def new_token() -> RefreshToken:
    """The first of a new family."""
    return RefreshToken(secrets.token_bytes(_ROOT), secrets.token_bytes(_OWN))


def new_nonce() -> bytes:
    """32 bytes."""
    return secrets.token_bytes(_OWN)


def read_token(text: str) -> RefreshToken | None:
    """A token from its text, None for what is none."""
    if not _TEXT.fullmatch(text):
        return None
    data = binascii.a2b_base64(text.replace("-", "+").replace("_", "/"))
    return RefreshToken(data[:_ROOT], data[_ROOT:])
