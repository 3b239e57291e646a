"""Session ids: 256 random bits for the client, their hash for everybody else."""

import re
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

from ramkit.auth.sessions.core.record import NOBODY, subject_hash_input

__all__ = ["hash_of", "is_handle", "new_id", "subject_hash"]

_ID = re.compile(rb"[A-Za-z0-9_-]{43}")
_HANDLE = re.compile(r"[0-9a-f]{64}")


def new_id() -> bytes:
    """An id that nobody can guess, as it stands in the cookie."""
    return token_urlsafe(32).encode()


def hash_of(session_id: bytes) -> bytes | None:
    """What stores know a session by, 32 bytes; None for what cannot be an id.

    Whoever reads the store has no id to send; SHA-256 needs no salt over 256 random bits.
    """
    return sha256(session_id).digest() if _ID.fullmatch(session_id) else None


def is_handle(text: str) -> bool:
    """Whether this is a hash in hexadecimal."""
    return _HANDLE.fullmatch(text) is not None


def subject_hash(subject: Any) -> bytes:
    """What stores know a subject by, 32 bytes; ``NOBODY`` for None."""
    return NOBODY if subject is None else sha256(subject_hash_input(subject)).digest()
