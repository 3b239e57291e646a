"""Makes a virtual environment with ramkit and one of its extras: venv.py DIRECTORY EXTRA [--lowest].

Does nothing, and needs no network, when that was done before and pyproject.toml is the same.
Standard library only: it runs on a bare Python.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
#: an extra that holds others' packages too spares their installation
CONTAINED = {"demo": ["bench", "dev"], "bench": ["dev"]}


class Failure(Exception):
    """Something that the user has to put right."""


def run(*command: object) -> bool:
    # PIP_USER would send packages past the environment; every other setting of pip is the user's
    done = subprocess.run([*map(str, command)], env={**os.environ, "PIP_USER": "0"}, check=False)
    return done.returncode == 0


def works(venv: Path) -> bool:
    """Whether the environment runs, has pip, and comes from this Python, at this place."""
    check = "import pip, sys; print(sys.base_prefix, sys.version_info[:2], sys.prefix)"
    found = subprocess.run(
        [venv / "bin" / "python", "-c", check], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() == f"{sys.base_prefix} {sys.version_info[:2]} {venv}"


def make(venv: Path) -> None:
    """An environment with pip, by whatever this Python has for it."""
    python = venv / "bin" / "python"
    if venv.exists() and not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
        raise Failure(f"{venv} is there and is no virtual environment")
    shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir(parents=True)
    this = [sys.executable, "-m"]
    bare = [*this, "venv", "--without-pip", venv]
    ways = [
        (("venv", "ensurepip"), [[*this, "venv", venv]]),
        (("venv", "pip"), [bare, [*this, "pip", "--python", python, "install", "-qq", "pip"]]),
        (("virtualenv",), [[*this, "virtualenv", "--quiet", venv]]),
    ]
    open_ways = [commands for needs, commands in ways if all(map(importlib.util.find_spec, needs))]
    for commands in open_ways:
        if all(run(*command) for command in commands):
            return
        shutil.rmtree(venv, ignore_errors=True)
    shutil.rmtree(venv, ignore_errors=True)
    if open_ways:
        raise Failure(f"{sys.executable} could not make a virtual environment; what it said is above")
    version = "python{}.{}".format(*sys.version_info)
    raise Failure(
        f"{sys.executable} cannot make a virtual environment: no ensurepip, pip or virtualenv.\n"
        f"On Debian and Ubuntu, as root:  apt install {version}-venv\n"
        f"Elsewhere install the package that holds ensurepip, pip or virtualenv for {version},\n"
        "or name another Python:  make PYTHON=/path/to/python3"
    )


def lowest() -> list[str]:
    """The lower bound of each dependency that ramkit itself imports, as exact versions."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    rooms = ("redis", "cache", "auth", "metrics", "db", "servers", "testing", "demo")
    extras = [need for room in rooms for need in project["optional-dependencies"][room]]
    needs = [need.partition(";")[0].partition(">=") for need in (*project["dependencies"], *extras)]
    return sorted({f"{name.partition('[')[0]}=={version}" for name, bound, version in needs if bound})


def install(venv: Path, extra: str, constraints: list[str]) -> None:
    print(f"installing ramkit[{extra}] into {venv} ...", flush=True)
    command = [venv / "bin" / "python", "-m", "pip", "install", "-qq", "--editable", f"{ROOT}[{extra}]"]
    if constraints:
        pins = venv / "constraints.txt"
        pins.write_text("\n".join(constraints) + "\n")
        command += ["--constraint", pins]
    if not run(*command):
        raise Failure(f"pip could not install ramkit[{extra}]; what it said is above")


def ensure(venv: Path, extra: str, *, low: bool) -> None:
    constraints = lowest() if low else []
    key = "\n".join([str(ROOT), str(venv), PYPROJECT.read_text(encoding="utf-8"), *constraints])
    fingerprint = hashlib.sha256(key.encode()).hexdigest()
    stamps = [venv / f".ramkit-{name}" for name in (extra, *CONTAINED.get(extra, ()))]
    good = works(venv) if (venv / "bin" / "python").exists() else False
    if good and any(stamp.exists() and stamp.read_text() == fingerprint for stamp in stamps):
        return
    if not good:
        make(venv)
    install(venv, extra, constraints)
    stamps[0].write_text(fingerprint)


def main() -> int:
    venv, extra, *rest = sys.argv[1:]
    try:
        # two makes at a time take turns
        with PYPROJECT.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ensure(Path(venv).absolute(), extra, low="--lowest" in rest)
    except (Failure, OSError) as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
