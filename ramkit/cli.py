"""`ramkit …`, the command line."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

from ramkit import __version__
from ramkit.kernel.asgi import ASGIApp
from ramkit.kernel.errors import ConfigurationError

__all__ = ["main"]

#: The rooms that tell something, and where it is described.
_EVENTS = {
    room.rpartition(".")[2]: f"ramkit.{room}.events"
    for room in (
        "auth.jwt", "auth.sessions", "cache", "db", "gateway", "health", "limits", "logs", "redis",
    )
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (default: the process's arguments); returns the exit status.

    Exits with status 2, as argparse does, on arguments that it does not understand.
    """
    from ramkit import demo
    from ramkit.gateway import command as gateway

    parser = argparse.ArgumentParser(prog="ramkit", description="Scale out any ASGI app.")
    parser.add_argument("--version", action="version", version=f"ramkit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    tour = "a service over real data, and a guided tour of it"
    demo.add_arguments(commands.add_parser("demo", help=tour, description=f"Run {tour}."))
    proxy = "an API gateway: a reverse proxy, with a cache if you like"
    gateway.add_arguments(commands.add_parser("gateway", help=proxy, description=f"Run {proxy}."))
    shown = "what Prometheus and Grafana want of the metrics: their table, rules, a dashboard"
    metrics = commands.add_parser("metrics", help=shown, description=f"Print {shown}.")
    metrics.add_argument("what", choices=["table", "dashboard", "rules"])
    used = f"those that are used (default: all), of {', '.join(_EVENTS)}"
    metrics.add_argument("rooms", nargs="*", metavar="room", help=used, type=_room)
    options = parser.parse_args(argv)
    if options.command == "metrics":
        print(_described(options.what, options.rooms), end="")
        return 0
    return gateway.run(options, _cached) if options.command == "gateway" else demo.run(options)


def _room(name: str) -> str:
    if name not in _EVENTS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_EVENTS)}")
    return name


def _described(what: str, rooms: Sequence[str]) -> str:
    """Of the events of these rooms, which do not know each other; of all by default."""
    from ramkit.metrics.catalogue import catalogue, table
    from ramkit.metrics.dashboard import dashboard
    from ramkit.metrics.rules import rules

    modules = [import_module(_EVENTS[room]) for room in rooms or _EVENTS]
    events = [getattr(module, name) for module in modules for name in module.__all__]
    return {"table": table, "dashboard": dashboard, "rules": rules}[what](catalogue(events))


def _cached(app: ASGIApp, url: str, rules: Sequence[Mapping[str, Any]]) -> ASGIApp:
    """The gateway behind a cache: the two rooms do not know each other."""
    from ramkit.cache import Cache, CacheMiddleware, Rule

    known = {field.name for field in fields(Rule) if field.init}
    for number, rule in enumerate(rules):
        if unknown := rule.keys() - known:
            raise ConfigurationError(f"cache.rules[{number}]", f"there is no {', '.join(sorted(unknown))}")
        if "path" not in rule:
            raise ConfigurationError(f"cache.rules[{number}].path", "is missing")
    # While no server answers, what has just expired is better than nothing (RFC 9111 §4.2.4).
    otherwise = Rule("*", ttl=0, stale_if_error=60)
    return CacheMiddleware(app, cache=Cache(url), rules=[*(Rule(**rule) for rule in rules), otherwise])
