"""What the user says about a gateway: which paths go to which servers, and how those are judged."""

import math
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, TypeAlias, cast
from urllib.parse import urlsplit

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Balance", "CircuitBreaker", "Ejection", "HealthCheck", "Route", "Upstream", "check_routes"]

Balance: TypeAlias = Literal["least_outstanding", "two_choices", "round_robin", "consistent_hash"]

_BALANCES = ("least_outstanding", "two_choices", "round_robin", "consistent_hash")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: Segments as they are compared: unreserved and sub-delims of RFC 3986, decoded; no wildcard within.
_PATH = re.compile(r"(?:/[^/*?#%\\\s;\x00-\x1f\x7f]+)*(?:/|/\*)?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """Servers are asked every ``interval`` seconds with GET ``path``; 2xx within ``timeout`` is healthy.

    ``unhealthy`` failures in a row take a server out of service, ``healthy`` successes in a row bring it
    back. Unlike an ejection this is the server's own word: one that is unhealthy gets nothing else.
    """

    path: str = "/health"
    interval: float = 5
    timeout: float = 1
    healthy: int = 2
    unhealthy: int = 3

    def __post_init__(self) -> None:
        if not _is_str(self.path) or not re.fullmatch(r"/[!-~]*", self.path) or "#" in self.path:
            raise ConfigurationError("path", f"{self.path!r} must be a path of ASCII that begins with '/'")
        for name in ("interval", "timeout"):
            _seconds(name, getattr(self, name))
        for name in ("healthy", "unhealthy"):
            _count(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ejection:
    """When a server is left out for what its answers were, and how it returns.

    It is left out after ``failures`` in a row, or when of at least ``requests`` in the last ``window``
    seconds at least ``share`` failed; for ``duration`` seconds, twice as long each time that follows, up to
    ``longest``. Then one request tries it. If that goes well its part of the requests grows from a tenth to
    all of it over ``slow_start`` seconds; 0 gives it all at once.

    Never more than ``max_ejected`` of the servers are left out, those that health checks took out counted.
    One more that fails in a row gets a fiftieth of its part for a ``duration``.
    """

    failures: int = 5
    share: float = 0.5
    requests: int = 20
    window: float = 10
    duration: float = 5
    longest: float = 300
    max_ejected: float = 0.5
    slow_start: float = 10

    def __post_init__(self) -> None:
        _count("failures", self.failures)
        _count("requests", self.requests)
        _share("share", self.share, zero=False)
        _share("max_ejected", self.max_ejected)
        for name in ("window", "duration"):
            _seconds(name, getattr(self, name))
        _seconds("slow_start", self.slow_start, zero=True)
        _seconds("longest", self.longest)
        if self.longest < self.duration:
            raise ConfigurationError("longest", f"{self.longest} is less than the duration, {self.duration}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """When an upstream as a whole is left alone, so that its clients wait for nothing.

    It opens when *every* server in service failed at least ``share`` of its requests in the last ``window``
    seconds, at least ``requests`` of them together: as long as one does well, ejection and retries are the
    remedy. After ``cooldown`` seconds single requests try the upstream; the first that goes well closes it.
    """

    share: float = 0.5
    requests: int = 20
    window: float = 10
    cooldown: float = 5

    def __post_init__(self) -> None:
        _share("share", self.share, zero=False)
        _count("requests", self.requests)
        for name in ("window", "cooldown"):
            _seconds(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Upstream:
    """Servers that do the same, and how requests are spread over them.

    ``servers``: ``http://host:port`` or ``https://host`` (the certificate is verified).
    ``balance``: ``least_outstanding`` asks the server with the fewest requests under way; ``two_choices`` the
    better one of two drawn at random, as good with many servers and cheaper; ``round_robin`` each in turn;
    ``consistent_hash`` the same one for the same ``hash_on`` (``client`` address, ``path``, or
    ``header:<name>``), of which a change of servers moves as few as can be.

    ``connect_timeout``, ``first_byte_timeout`` (from the request's end to the response's begin) and
    ``idle_timeout`` (between two pieces of either body): seconds. ``retries``: how often a request that may
    be repeated is sent again, to another server, as long as retries are no more than ``retry_budget`` of the
    requests of the last ten seconds, and a hundred; a budget of 0 is none at all. ``max_connections``:
    requests under way at one server.
    """

    name: str
    servers: Sequence[str]
    _: KW_ONLY
    balance: Balance = "least_outstanding"
    hash_on: str = "client"
    connect_timeout: float = 2
    first_byte_timeout: float = 30
    idle_timeout: float = 60
    retries: int = 1
    retry_budget: float = 0.2
    max_connections: int = 1000
    health: HealthCheck | None = None
    ejection: Ejection | None = field(default_factory=Ejection)
    breaker: CircuitBreaker | None = field(default_factory=CircuitBreaker)

    def __post_init__(self) -> None:
        if not _is_str(self.name) or not _NAME.fullmatch(self.name):
            raise ConfigurationError("name", f"{self.name!r} is not a name of letters, digits, '.', '_', '-'")
        object.__setattr__(self, "servers", _servers(self.servers))
        if self.balance not in _BALANCES:
            raise ConfigurationError("balance", f"{self.balance!r} is none of {', '.join(_BALANCES)}")
        _hash_on(self.hash_on)
        for name in ("connect_timeout", "first_byte_timeout", "idle_timeout"):
            _seconds(name, getattr(self, name))
        _count("retries", self.retries, least=0)
        _share("retry_budget", self.retry_budget)
        _count("max_connections", self.max_connections)
        for name, kind in (("health", HealthCheck), ("ejection", Ejection), ("breaker", CircuitBreaker)):
            value: object = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise ConfigurationError(name, f"{value!r} is neither a {kind.__name__} nor None")


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for ``path`` go to the upstream of that name.

    ``path``: ``/users`` is just that; ``/users/*`` that and all below it, by whole segments; ``/*``
    everything. The longest counts. ``host``: only for this Host (no port), ``*.example.com`` for all below
    it; routes with a host come before those without. ``strip_prefix``: the upstream sees ``/users/7`` as
    ``/7``.
    """

    path: str
    upstream: str
    _: KW_ONLY
    host: str | None = None
    strip_prefix: bool = False

    def __post_init__(self) -> None:
        good = _is_str(self.path) and self.path.startswith("/") and _PATH.fullmatch(self.path)
        if not good or any(segment in (".", "..") for segment in self.path.split("/")):
            raise ConfigurationError(
                "path",
                f"{self.path!r} must begin with '/' and be decoded; '*' stands only at its end, after '/'",
            )
        if not _is_str(self.upstream) or not self.upstream:
            raise ConfigurationError("upstream", f"{self.upstream!r} is not the name of an upstream")
        if self.host is not None:
            if not _is_str(self.host) or len(self.host) > 253 or not _HOST.fullmatch(self.host.lower()):
                raise ConfigurationError("host", f"{self.host!r} is neither a host nor '*.' and a host")
            object.__setattr__(self, "host", self.host.lower())
        if not isinstance(cast(object, self.strip_prefix), bool):
            raise ConfigurationError("strip_prefix", f"{self.strip_prefix!r} is neither True nor False")
        if self.strip_prefix and not self.path.endswith("/*"):
            raise ConfigurationError("strip_prefix", f"{self.path!r} is no prefix: it does not end with '/*'")


def check_routes(routes: Sequence[Route], upstreams: Sequence[Upstream]) -> None:
    """At least one route, each to an upstream that there is; no two of a name, no two routes for the same.

    Raises ConfigurationError."""
    names = [upstream.name for upstream in upstreams]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError("upstreams", f"two of them are named {name!r}")
    if not routes:
        raise ConfigurationError("routes", "there are none: nothing would be answered")
    seen: set[tuple[str | None, str]] = set()
    for route in routes:
        if route.upstream not in names:
            known = ", ".join(sorted(names)) or "none"
            raise ConfigurationError(
                "routes",
                f"{route.path!r} goes to {route.upstream!r}, which is no upstream (there are: {known})",
            )
        if (route.host, route.path) in seen:
            raise ConfigurationError("routes", f"{route.path!r} is there twice")
        seen.add((route.host, route.path))


def _servers(servers: object) -> tuple[str, ...]:
    if isinstance(servers, str) or not isinstance(servers, Sequence):
        raise ConfigurationError("servers", f"{servers!r} must be a list of URLs")
    given = [_server(each) for each in cast(Sequence[object], servers)]
    if not given:
        raise ConfigurationError("servers", "there are none")
    if len(set(given)) < len(given):
        raise ConfigurationError("servers", f"one of {', '.join(given)} is there twice")
    return tuple(given)


def _server(url: object) -> str:
    """One spelling for one server: scheme and host in lower case, the port always there."""
    problem = f"{url!r} is not http(s)://host[:port], without user, path or query"
    if not isinstance(url, str) or not url.isascii() or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise ConfigurationError("servers", problem)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("servers", problem) from None
    host = parts.hostname
    more = parts.path.strip("/") or "?" in url or "#" in url or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or more or not host or port == 0 or parts.netloc.endswith(":"):
        raise ConfigurationError("servers", problem)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port or (443 if parts.scheme == 'https' else 80)}"


def _hash_on(value: object) -> None:
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        if value in ("client", "path") or (kind == "header" and _TOKEN.fullmatch(name)):
            return
    raise ConfigurationError("hash_on", f"{value!r} is neither 'client', 'path' nor 'header:' and a name")


def _is_str(value: object) -> bool:
    return isinstance(value, str)


def _seconds(argument: str, value: object, *, zero: bool = False) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or cast(float, value) < 0 or (not zero and value == 0):
        raise ConfigurationError(argument, f"{value!r} is not a number of seconds")


def _count(argument: str, value: object, *, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(argument, f"{value!r} is not a whole number of at least {least}")


def _share(argument: str, value: object, *, zero: bool = True) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    if not good or (not zero and value == 0):
        raise ConfigurationError(argument, f"{value!r} is not a share between 0 and 1")
