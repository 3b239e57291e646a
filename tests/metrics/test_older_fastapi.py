"""The same templates with a FastAPI that copies the routes of included routers, whole prefix and all."""

import os
import subprocess
import sys
from pathlib import Path

from ramkit.testing.servers.finding import ServerUnavailable

#: the last of its line that runs with Starlette 1; the environment's own has the routers apart
OLDER = "fastapi==0.128.8"
ROOT = Path(__file__).parents[2]


def test_templates(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(tmp_path), OLDER]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode:
        raise ServerUnavailable(f"{OLDER} could not be installed: {installed.stderr.strip()[-200:]}")
    code = "import fastapi; print(fastapi.__version__)"
    assert run(tmp_path, "-c", code).stdout.strip() == OLDER.partition("==")[2]
    routes = str(Path(__file__).with_name("test_routes.py"))
    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", routes, "-k", "fastapi")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def run(packages: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Python, with these packages before its own."""
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
