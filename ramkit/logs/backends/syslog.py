"""Syslog: RFC 5424 messages over Unix or UDP datagrams (RFC 5426) or TCP (RFC 6587 §3.4.1)."""

import errno
import os
import socket
from collections import deque
from datetime import UTC, datetime

from ramkit.kernel.clock import Clock

__all__ = ["SyslogOutlet"]

#: informational (RFC 5424 §6.2.1)
_SEVERITY = 6
#: seconds that a receiver has to take a connection or what is sent over it
_PATIENCE = 5.0


class SyslogOutlet:
    """One message a line. ``address``: a path, or host and port. Lines that were sent over a connection
    which then broke may be lost: syslog does not confirm."""

    def __init__(
        self, address: "str | tuple[str, int]", *, tcp: bool, facility: int, app: str, clock: Clock
    ) -> None:
        self._address, self._tcp, self._app, self._clock = address, tcp, app, clock
        self._priority = facility * 8 + _SEVERITY
        self._socket: socket.socket | None = None

    def write(self, lines: deque[bytes]) -> int:
        lost = 0
        try:
            link = self._connected()
            while lines:
                message = self._header() + lines[0].rstrip(b"\n")
                try:
                    link.sendall(b"%d %s" % (len(message), message) if self._tcp else message)
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise
                    lost += 1  # longer than a datagram may be
                lines.popleft()
        except OSError:
            # what is left of a message that was sent in part must not be taken for one
            self.close()
            raise
        return lost

    def close(self) -> None:
        link, self._socket = self._socket, None
        if link is not None:
            link.close()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            if isinstance(self._address, str):
                link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                try:
                    link.settimeout(_PATIENCE)
                    link.connect(self._address)
                except OSError:
                    link.close()
                    raise
            elif self._tcp:
                link = socket.create_connection(self._address, _PATIENCE)
            else:
                link = _datagrams_to(self._address)
            self._socket = link
        return self._socket

    def _header(self) -> bytes:
        """RFC 5424 §6.2: priority, version, time, host, app, process; neither message id nor data."""
        time = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="milliseconds")
        host = socket.gethostname() or "-"
        text = f"<{self._priority}>1 {time.removesuffix('+00:00')}Z {host} {self._app} {os.getpid()} - - "
        return text.encode("ascii", "replace")


def _datagrams_to(address: tuple[str, int]) -> socket.socket:
    """A UDP socket towards the first address of that name."""
    family, kind, protocol, _, found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    link = socket.socket(family, kind, protocol)
    link.connect(found)
    return link
