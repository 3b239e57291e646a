"""Environments of their own for the peers: their pins exclude each other's, and some ramkit's."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_COMMON = ["hiredis==3.5.0", "uvloop==0.23.0"]
REQUIREMENTS: dict[str, list[str]] = {
    "cashews": ["cashews[redis,speedup]==7.6.0", *_COMMON],
    "hishel": ["hishel[async,redis]==2.0.0", *_COMMON],
    # wants starlette 0.x
    "starlette_caches": ["starlette-caches[redis]==0.4.1", *_COMMON],
    # wants redis-py 4; imports jinja2 without asking for it
    "fastapi_cache2": ["fastapi-cache2[redis]==0.2.2", "jinja2", *_COMMON],
}

#: other limits; slowapi blocks the loop, so its Redis client is the synchronous one
LIMITS: dict[str, list[str]] = {
    "limits": ["limits[async-redis]==5.8.0", "redis==8.0.0", *_COMMON],
    "slowapi": ["slowapi==0.1.10", "fastapi==0.140.0", "redis==8.0.0", *_COMMON],
}

#: other metrics
METRICS: dict[str, list[str]] = {
    "starlette_exporter": [
        "starlette-exporter==0.24.0", "starlette==1.10.0", "prometheus-client==0.26.0",
        "redis==8.0.0", *_COMMON,
    ],
    "instrumentator": [
        "prometheus-fastapi-instrumentator==8.1.0", "starlette==1.10.0", "prometheus-client==0.26.0",
        "redis==8.0.0", *_COMMON,
    ],
}  # fmt: skip

#: other sessions
SESSIONS: dict[str, list[str]] = {
    "starsessions": ["starsessions[redis]==2.2.1", *_COMMON],
}

#: other gateways, and HTTP clients to make one of
PROXIES: dict[str, list[str]] = {
    "proxies": [
        "fastapi-proxy-lib[standard]==0.3.0", "aiohttp==3.14.5", "pyreqwest==0.15.1", "httpx==0.28.1",
        "uvicorn==0.54.0", "httptools==0.9.0", "uvloop==0.23.0",
    ],
}  # fmt: skip

#: other frameworks, and ours beside them in one process; litestar's multipart excludes python-multipart
ROUTERS: dict[str, list[str]] = {
    "routers": [
        "starlette==1.10.0", "fastapi==0.165.0", "blacksheep==2.6.4", "falcon==4.4.0", "litestar==2.25.0",
        "msgspec==0.22.0",
    ],
}  # fmt: skip


class NotInstalled(Exception):
    """The peer's environment could not be made; the message is the last line of why."""


def python_of(peer: str) -> str:
    """The interpreter that runs this peer; makes its environment under .bench-PEER/ when it is missing."""
    wants = {**REQUIREMENTS, **LIMITS, **METRICS, **SESSIONS, **PROXIES, **ROUTERS}.get(peer)
    if wants is None:
        return sys.executable
    folder = ROOT / f".bench-{peer}"
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join([sys.version, *wants])
    if not stamp.exists() or stamp.read_text() != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *wants])
        stamp.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        raise NotInstalled(lines[-1] if lines else f"status {done.returncode}")
