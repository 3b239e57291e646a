"""pgbouncer in transaction mode, in front of a PostgreSQL server."""

import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

from ramkit.testing.servers.finding import pgbouncer_program
from ramkit.testing.servers.postgres_instance import server_user
from ramkit.testing.servers.processes import Process, guard, loopback, netloc, on_free_port, remove, until

__all__ = ["PgBouncer"]

_CONFIG = """
[databases]
* = host={upstream} port={upstream_port}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 10
max_client_conn = 200
server_login_retry = 0.1
server_idle_timeout = 1
"""


class PgBouncer:
    """A pgbouncer in front of one server; each transaction may be on another of its connections."""

    def __init__(self, upstream: str, host: str, port: int, process: Process) -> None:
        self._upstream, self.port, self._process = upstream, port, process
        login = urlsplit(upstream).netloc.rpartition("@")[0]
        self._netloc = f"{login}@{netloc(host, port)}"

    @classmethod
    @contextmanager
    def launch(cls, dsn: str) -> "Generator[PgBouncer]":
        """Start one in front of the server of ``dsn``. Raises ``ServerUnavailable``.

        As root it runs as the user nobody, because pgbouncer refuses to run as root.
        """
        program, host, user = pgbouncer_program(), loopback(), server_user()
        folder, upstream = guard().folder("pgbouncer", user), urlsplit(dsn)
        users, config = folder / "users", folder / "pgbouncer.ini"
        users.touch(mode=0o600)
        users.write_text(f'"{unquote(upstream.username or "")}" "{unquote(upstream.password or "")}"\n')

        def start(port: int) -> PgBouncer:
            config.write_text(
                _CONFIG.format(
                    upstream=upstream.hostname,
                    upstream_port=upstream.port or 5432,
                    host=host,
                    port=port,
                    folder=folder,
                )
            )
            process = guard().start([program.path, config], folder, user=user, ending=signal.SIGINT)
            try:
                until(lambda: _listens(process, host, port), process, "pgbouncer")
            except BaseException:
                process.end()
                raise
            return cls(dsn, host, port, process)

        try:
            if user is not None:
                os.chown(users, *user)
            launched = on_free_port(host, start)
            try:
                yield launched
            finally:
                launched._process.end()
        finally:
            remove(folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    def dsn(self, direct: str) -> str:
        """The way through it to a database of its server, whose own DSN is ``direct``."""
        return urlsplit(direct)._replace(netloc=self._netloc).geturl()

    def pause(self) -> None:
        """SIGSTOP: it accepts connections, and answers nothing."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after ``pause()``."""
        self._process.signal(signal.SIGCONT)


def _listens(process: Process, host: str, port: int) -> bool:
    """Its log says so before anybody can have connected to another one on its port."""
    if "process up" not in process.log():
        return False
    with suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False
