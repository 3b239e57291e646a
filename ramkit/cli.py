"""`ramkit …`, the command line."""

import argparse
from collections.abc import Sequence

from ramkit import __version__

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (default: the process's arguments); returns the exit status.

    Exits with status 2, as argparse does, on arguments that it does not understand.
    """
    from ramkit import demo

    parser = argparse.ArgumentParser(prog="ramkit", description="Scale out any ASGI app.")
    parser.add_argument("--version", action="version", version=f"ramkit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    tour = "a service over real data, and a guided tour of it"
    demo.add_arguments(commands.add_parser("demo", help=tour, description=f"Run {tour}."))
    return demo.run(parser.parse_args(argv))
