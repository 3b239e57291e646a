"""``ramkit gateway``: a gateway behind uvicorn, in this process."""

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ramkit.gateway.description import Description, address, parse
from ramkit.gateway.policy import Route, Upstream
from ramkit.kernel.asgi import ASGIApp
from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.errors import ConfigurationError

if TYPE_CHECKING:
    import uvicorn

    from ramkit.gateway.gateway import Gateway

__all__ = ["Wrap", "add_arguments", "run"]

_log = logging.getLogger("ramkit")

#: Puts a cache, at a URL and with rules, around the gateway: another room's work.
Wrap: TypeAlias = Callable[[ASGIApp, str, Sequence[Mapping[str, Any]]], ASGIApp]

_LISTEN = ("127.0.0.1", 8002)
#: Seconds that requests under way have when the process is told to end.
_GRACE = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``ramkit gateway`` takes."""
    several = "a server, http://host:port; several share the requests"
    parser.add_argument("--upstream", metavar="URL", action="append", default=[], help=several)
    parser.add_argument("--config", metavar="FILE", type=Path, help="a TOML file, read again on SIGHUP")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to serve (127.0.0.1:8002)")
    parser.add_argument("--cache", metavar="URL", help="cache responses: memory:// or redis://…")
    trust = "proxies in front whose X-Forwarded-For is believed"
    parser.add_argument("--trust", metavar="CIDR", nargs="+", action="extend", default=[], help=trust)


def run(options: argparse.Namespace, wrap: Wrap) -> int:
    """Serve until told to end. The exit status: 2 for arguments or a file that make no sense."""
    try:
        description = _described(options)
        from ramkit.gateway.gateway import Gateway

        trusted = TrustedProxies(description.trusted_proxies)
        gateway = Gateway(description.upstreams, description.routes, trusted=trusted)
        app: ASGIApp = gateway
        if description.cache is not None:
            app = wrap(gateway, description.cache, description.cache_rules)
        return _serve(app, gateway, description.listen or _LISTEN, options.config)
    except ConfigurationError as error:
        sys.stderr.write(f"ramkit gateway: {error}\n")
    except ImportError as error:
        sys.stderr.write(f"ramkit gateway: {error}. pip install 'ramkit[gateway,cache]'\n")
    return 2


def _described(options: argparse.Namespace) -> Description:
    """The file, or without one the arguments; those of both have the last word."""
    if options.config is not None and options.upstream:
        raise ConfigurationError("--upstream", "says nothing beside --config")
    if options.config is not None:
        description = _read(options.config)
    elif options.upstream:
        description = _single(options.upstream)
    else:
        raise ConfigurationError("--upstream", "is missing, and so is --config")
    said: dict[str, Any] = {}
    if options.listen is not None:
        said["listen"] = address("--listen", options.listen)
    if options.cache is not None:
        said["cache"] = options.cache
    if options.trust:
        try:
            TrustedProxies(options.trust)
        except ConfigurationError as error:
            raise ConfigurationError("--trust", str(error).partition(": ")[2]) from None
        said["trusted_proxies"] = tuple(options.trust)
    return replace(description, **said)


def _single(servers: list[str]) -> Description:
    try:
        upstream = Upstream("upstream", servers)
    except ConfigurationError as error:
        raise ConfigurationError("--upstream", str(error).partition(": ")[2]) from None
    return Description(upstreams=(upstream,), routes=(Route("/*", upstream.name),))


def _read(path: Path) -> Description:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("--config", str(error)) from error


def _serve(app: ASGIApp, gateway: "Gateway", listen: tuple[str, int], config: Path | None) -> int:
    import uvicorn

    from ramkit.gateway.server import Protocol

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=listen[0],
            port=listen[1],
            # httptools refuses what requests are smuggled with; Protocol is its.
            http=Protocol,
            ws="websockets-sansio",
            lifespan="on",
            access_log=False,
            # Whose addresses are believed is the gateway's to say; so are these fields.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
    )
    # What is loaded by now stays for good: the collector need not look at it again and again.
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_told(server, gateway, config))
    except KeyboardInterrupt:
        return 130
    return 0 if server.started else 1


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


async def _until_told(server: "uvicorn.Server", gateway: "Gateway", config: Path | None) -> None:
    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, gateway, config)
    await server.serve()


def _reload(gateway: "Gateway", config: Path | None) -> None:
    """Upstreams and routes as the file has them now; the rest of it counts at the next start."""
    if config is None:
        _log.warning("SIGHUP: there is no file to read again")
        return
    try:
        description = _read(config)
        gateway.reload(description.upstreams, description.routes)
    except ConfigurationError as error:
        _log.error("SIGHUP: %s; all stays as it was", error)
    else:
        _log.warning("SIGHUP: %s is in force", config)
