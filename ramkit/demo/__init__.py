"""What ``ramkit demo`` runs: a service over the world's cities, two workers behind one port, and a
guided tour of what the cache does for them.

``ramkit.cli`` uses ``add_arguments`` and ``run``; nothing else of ramkit imports this package.
"""

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``ramkit demo``."""
    parser.add_argument("--once", action="store_true", help="end after the tour; status 1 if a step failed")
    parser.add_argument("--port", type=_port, help="port to serve on (default: the first free one from 8000)")
    parser.add_argument("--redis", metavar="URL", help="use this Redis or Valkey instead of starting one")
    parser.add_argument("--postgres", metavar="DSN", help="use this Postgres instead of starting one")


def run(args: argparse.Namespace) -> int:
    """Run the demo; the process's exit status.

    0: ended as asked; 1: a step did not show what it should, or a server failed; 2: something that it
    needs is missing; 130, 143: interrupted during the tour.
    """
    from ramkit.demo.command import run_demo

    return run_demo(once=args.once, port=args.port, redis=args.redis, postgres=args.postgres)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return number
