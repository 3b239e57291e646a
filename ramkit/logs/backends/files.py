"""Standard output and error, and files."""

import os
import select
import stat
from collections import deque
from itertools import accumulate, islice

__all__ = ["FileOutlet", "StreamOutlet"]


#: seconds that a pipe which does not block has to take more
_PATIENCE = 1.0


def _write(descriptor: int, lines: deque[bytes], most: int | None = None) -> None:
    """As ``Outlet.write``: whole lines of at most so many bytes together."""
    while lines:
        number = len(lines) if most is None else _fitting(lines, most)
        data = b"".join(islice(lines, number))
        try:
            written = os.write(descriptor, data)
        except BlockingIOError:  # standard output is what whoever started us made of it
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(_PATIENCE * 1000)
            written = os.write(descriptor, data)
        _take_off(lines, written)


def _fitting(lines: deque[bytes], most: int) -> int:
    """How many of the first fit, but at least one."""
    return max(1, sum(1 for size in accumulate(map(len, lines)) if size <= most))


def _take_off(lines: deque[bytes], written: int) -> None:
    while written:
        first = lines.popleft()
        if len(first) > written:
            lines.appendleft(first[written:])
            return
        written -= len(first)


class StreamOutlet:
    """A descriptor that somebody else opened."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, lines: deque[bytes]) -> int:
        # Processes that share a pipe do not get between each other's lines up to PIPE_BUF (POSIX, write()).
        pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
        _write(self._descriptor, lines, select.PIPE_BUF if pipe else None)
        return 0

    def close(self) -> None:
        """It stays open: it is not ours."""


class FileOutlet:
    """A file that is opened anew when it was moved or removed, as logrotate does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def write(self, lines: deque[bytes]) -> int:
        _write(self._current(), lines)
        return 0

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _current(self) -> int:
        if self._descriptor is not None and not self._is_there(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        return self._descriptor

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))  # noqa: PTH116 - beside fstat
        except FileNotFoundError:
            return False
