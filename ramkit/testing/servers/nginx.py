"""nginx, in front of an upstream or with a configuration of one's own."""

import grp
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ramkit.testing.servers.finding import nginx_program
from ramkit.testing.servers.processes import Process, guard, loopback, netloc, on_free_port, remove, until

__all__ = ["NginxServer"]

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {http}
  server {{
    listen {address};
    {server}
  }}
}}
"""
_PROXY = """
location / {{
  proxy_pass {upstream};
  proxy_http_version 1.1;
  proxy_buffering off;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
}}
"""


class NginxServer:
    """An nginx with one ``server`` block, at ``url``."""

    def __init__(self, host: str, port: int, process: Process) -> None:
        self.url, self.port = f"http://{netloc(host, port)}", port
        self._process = process

    @classmethod
    @contextmanager
    def launch(
        cls, server: str = "", *, upstream: str | None = None, http: str = ""
    ) -> "Generator[NginxServer]":
        """Start nginx; ``server`` and ``http`` are what is in these blocks of its configuration.

        ``upstream``, a URL without a path, has all requests forwarded there, unbuffered. Raises
        ``ServerUnavailable``, also for a configuration that nginx refuses, with what it says.
        """
        if upstream is not None:
            server += _PROXY.format(upstream=upstream)
        program, host, folder = nginx_program(), loopback(), guard().folder("nginx")

        def start(port: int) -> NginxServer:
            config = folder / "nginx.conf"
            address = netloc(host, port)
            config.write_text(
                _CONFIG.format(folder=folder, user=_user(), http=http, address=address, server=server)
            )
            process = guard().start([program.path, "-p", folder, "-c", config, "-e", "stderr"], folder)
            try:
                until(lambda: _ready(folder, process.pid), process, "nginx")
            except BaseException:
                process.end()
                raise
            return cls(host, port, process)

        try:
            launched = on_free_port(host, start)
            try:
                yield launched
            finally:
                launched._process.end()
        finally:
            remove(folder)

    @property
    def pid(self) -> int:
        """Nginx's master process."""
        return self._process.pid

    def pause(self) -> None:
        """SIGSTOP to nginx and its worker: it accepts connections, and answers nothing."""
        self._process.signal(signal.SIGSTOP, tree=True)

    def resume(self) -> None:
        """SIGCONT to what ``pause()`` stopped."""
        self._process.signal(signal.SIGCONT, tree=True)


def _ready(folder: Path, pid: int) -> bool:
    """The file with its pid is written when its port is bound."""
    try:
        return (folder / "nginx.pid").read_text().strip() == str(pid)
    except OSError:
        return False


def _user() -> str:
    """As root, workers would become a user who cannot reach the folder."""
    return f"user root {grp.getgrgid(0).gr_name};" if os.geteuid() == 0 else ""
