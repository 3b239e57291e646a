"""Passwords: hashed by Argon2id (RFC 9106), in threads, a bounded number at a time.

passwords = PasswordService()
user.password = await passwords.hash(form["password"])
...
if await passwords.verify(user.password if user else None, form["password"]):
    if passwords.needs_rehash(user.password):
        user.password = await passwords.hash(form["password"])
"""

import asyncio
import os
import re
import secrets
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import argon2
import bcrypt
from argon2.exceptions import InvalidHashError, VerificationError
from starlette.exceptions import HTTPException

from ramkit.kernel.errors import ConfigurationError, RamkitError, Unavailable

__all__ = ["PasswordRejected", "PasswordService", "PasswordsBusy"]

T = TypeVar("T")

_BCRYPT: Final = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
#: what bcrypt takes of a password; the rest never counted
_BCRYPT_BYTES: Final = 72


class PasswordRejected(RamkitError, HTTPException):
    """A password that is too short or too long to be set (422)."""

    def __init__(self, detail: str) -> None:
        HTTPException.__init__(self, 422, detail)

    def __str__(self) -> str:
        return self.detail


class PasswordsBusy(Unavailable):
    """More passwords wait to be looked at than is allowed (503)."""


class PasswordService:
    """Hashes and verifies passwords.

    ``time_cost`` (passes), ``memory_cost`` (KiB) and ``lanes`` are Argon2id's, by default those of RFC 9106
    §4 where memory is short: 64 MiB and some 50 ms. ``parallel``: how many are computed at one time, each
    with its memory; ``waiting``: how many more may wait. ``min_length``, in characters, is for new
    passwords; ``max_bytes`` for all, in UTF-8. Starts threads when they are needed; ``aclose`` ends them.
    """

    def __init__(
        self,
        *,
        time_cost: int = 3,
        memory_cost: int = 65_536,
        lanes: int = 4,
        parallel: int = 2,
        waiting: int = 64,
        min_length: int = 8,
        max_bytes: int = 1024,
    ) -> None:
        bounds = {"time_cost": time_cost, "lanes": lanes, "parallel": parallel, "min_length": min_length}
        for name, value in bounds.items():
            if value < 1:
                raise ConfigurationError(name, f"{value!r} must be at least 1")
        if memory_cost < 8 * lanes:
            raise ConfigurationError("memory_cost", f"{memory_cost!r} KiB: at least 8 a lane (RFC 9106 §3.1)")
        if waiting < 0:
            raise ConfigurationError("waiting", f"{waiting!r} must not be negative")
        if max_bytes < min_length:
            raise ConfigurationError("max_bytes", f"{max_bytes!r} are fewer than min_length")
        self._hasher = argon2.PasswordHasher(time_cost, memory_cost, lanes)
        self._min_length, self._max_bytes = min_length, max_bytes
        self._parallel = parallel
        # Held until the thread is done with it: who has gone away has not stopped it.
        self._room = threading.BoundedSemaphore(parallel + waiting)
        self._threads: ThreadPoolExecutor | None = None
        self._nobodys = _nobodys_hash(time_cost, memory_cost, lanes)

    async def hash(self, password: str) -> str:
        """The hash to be kept, with its parameters and salt (PHC string format). Raises ``PasswordRejected``
        and ``PasswordsBusy``."""
        data = _bytes(password)
        if data is None or len(data) > self._max_bytes:
            raise PasswordRejected(f"A password has at most {self._max_bytes} bytes of text.")
        if len(password) < self._min_length:
            raise PasswordRejected(f"A password has at least {self._min_length} characters.")
        return await self._run(lambda: self._hasher.hash(data))

    async def verify(self, known: str | None, password: str) -> bool:
        """Whether this is the password of that hash, of Argon2 or bcrypt.

        None, for a user who does not exist, takes as long as a wrong password, so that the time does not tell
        who exists. An unreadable hash is nobody's, too. Raises ``PasswordsBusy``.
        """
        data = _bytes(password)
        if data is None or len(data) > self._max_bytes:
            return False
        return await self._run(lambda: self._matches(known, data))

    def needs_rehash(self, known: str) -> bool:
        """Whether a hash is not of today's parameters: bcrypt's, or of another time. Hash the password
        anew when it has been verified."""
        try:
            return self._hasher.check_needs_rehash(known)
        except InvalidHashError:
            return True

    async def aclose(self) -> None:
        """End the threads; what is being computed ends first. Usable again afterwards."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(threads.shutdown)

    def _matches(self, known: str | None, data: bytes) -> bool:
        """In a thread."""
        if known is not None and _BCRYPT.fullmatch(known):
            return _matches_bcrypt(known, data)
        try:
            self._hasher.verify(self._nobodys if known is None else known, data)
            return known is not None
        except InvalidHashError:
            return self._matches(None, data)
        except VerificationError:
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise PasswordsBusy("Too many logins at the moment.")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._parallel, "ramkit-passwords", _step_back)
        try:
            job = self._threads.submit(work)
        except RuntimeError:  # there are no more threads
            self._room.release()
            raise PasswordsBusy("Too many logins at the moment.") from None
        job.add_done_callback(lambda _: self._room.release())
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise PasswordsBusy("The service is closing.") from None  # by aclose, while it waited


def _step_back() -> None:
    """The loop goes first where cores are few: Argon2 has a thread for each lane. On Linux a priority is a
    thread's own, and its children's; elsewhere it would be the process'."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _bytes(password: str) -> bytes | None:
    try:
        return password.encode()
    except UnicodeEncodeError:
        return None


def _matches_bcrypt(known: str, data: bytes) -> bool:
    try:
        return bcrypt.checkpw(data[:_BCRYPT_BYTES], known.encode())
    except ValueError:
        return False


def _nobodys_hash(time_cost: int, memory_cost: int, lanes: int) -> str:
    """A hash that no password has, with the same work to find that out; it was never computed."""
    salt, tag = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={memory_cost},t={time_cost},p={lanes}${salt}${tag}"
