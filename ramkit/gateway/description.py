"""A gateway described in TOML: text in, checked objects out.

    listen = "127.0.0.1:8002"
    trusted_proxies = ["10.0.0.0/8"]

    [upstreams.users]
    servers = ["http://127.0.0.1:8001", "http://127.0.0.1:8003"]
    balance = "two_choices"
    health = { path = "/health", interval = 2 }

    [[routes]]
    path = "/users/*"
    upstream = "users"

    [cache]
    store = "memory://"

    [[cache.rules]]
    path = "/users/*"
    ttl = 60

The tables take what ``Upstream``, ``HealthCheck``, ``Ejection``, ``CircuitBreaker`` and ``Route`` take;
``ejection = false`` and ``breaker = false`` turn one off. Nothing is ignored: a key that is not known is
a mistake.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from ramkit.gateway.policy import CircuitBreaker, Ejection, HealthCheck, Route, Upstream, check_routes
from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.errors import ConfigurationError

__all__ = ["Description", "address", "parse"]

T = TypeVar("T")
Table = Mapping[str, Any]

_PARTS: dict[str, type[Any]] = {"health": HealthCheck, "ejection": Ejection, "breaker": CircuitBreaker}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a file says. ``listen``: host and port. ``cache``: the URL of a store; ``cache_rules``: what the
    cache's rules are made of, for it to check."""

    upstreams: tuple[Upstream, ...]
    routes: tuple[Route, ...]
    listen: tuple[str, int] | None = None
    trusted_proxies: tuple[str, ...] = ()
    cache: str | None = None
    cache_rules: tuple[Table, ...] = ()


def parse(text: str) -> Description:
    """Read a description. Raises ConfigurationError, which names the key by its place:
    ``upstreams.users.retries``, ``routes[2].path`` (the first is 0)."""
    try:
        table: Table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("description", f"is not TOML: {error}") from None
    _known("", table, {"listen", "trusted_proxies", "upstreams", "routes", "cache"})
    upstreams = tuple(
        _upstream(f"upstreams.{name}", name, each)
        for name, each in _table("upstreams", table.get("upstreams", {})).items()
    )
    given = table.get("routes", [])
    if not isinstance(given, list):
        raise ConfigurationError("routes", "must be written as [[routes]], one for each")
    routes = tuple(
        _make(Route, f"routes[{number}]", each) for number, each in enumerate(cast(list[object], given))
    )
    check_routes(routes, upstreams)
    return Description(
        upstreams=upstreams,
        routes=routes,
        listen=address("listen", table["listen"]) if "listen" in table else None,
        trusted_proxies=_proxies(table.get("trusted_proxies", [])),
        cache=_cache(table["cache"]) if "cache" in table else None,
        cache_rules=_rules(table.get("cache")),
    )


def address(argument: str, value: object) -> tuple[str, int]:
    """``127.0.0.1:8002``, ``[::1]:8002`` or ``name:8002``. Raises ConfigurationError."""
    if isinstance(value, str):
        host, _, port = value.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        good = bare and not any(char.isspace() or char in "[]/" for char in bare)
        # IPv6 stands in brackets: else ::1 is port 1 of ":"
        if good and (":" in bare) == (bare != host) and port.isdecimal() and int(port) < 1 << 16:
            return bare, int(port)
    raise ConfigurationError(argument, f"{value!r} is not host:port")


def _upstream(place: str, name: str, value: object) -> Upstream:
    table = dict(_table(place, value))
    if "name" in table:
        raise ConfigurationError(f"{place}.name", f"the name stands in [upstreams.{name}] already")
    for key, kind in _PARTS.items():
        if key in table:
            # TOML has no null: false is how to say that there is none
            part = table[key]
            table[key] = None if part is False else _make(kind, f"{place}.{key}", part)
    return _make(Upstream, place, table, name=name)


def _make(kind: type[T], place: str, value: object, **more: object) -> T:
    """One of the policy's objects from a table; its complaint gets the place."""
    table = _table(place, value)
    takes = {field.name: field for field in fields(cast(Any, kind)) if field.init and field.name not in more}
    _known(place, table, takes)
    for name, field in takes.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigurationError(f"{place}.{name}", "is missing")
    try:
        return kind(**table, **more)
    except ConfigurationError as error:
        problem = str(error).removeprefix(f"{error.argument}: ")
        raise ConfigurationError(f"{place}.{error.argument}", problem) from None


def _known(place: str, table: Table, known: Collection[str]) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f": {near[0]!r} is meant?" if near else f": there are {', '.join(sorted(known))}"
            raise ConfigurationError(f"{place}.{key}" if place else key, f"there is no such key{hint}")


def _table(place: str, value: object) -> Table:
    if not isinstance(value, dict):
        raise ConfigurationError(place, f"{value!r} must be a table")
    return cast(Table, value)


def _proxies(value: object) -> tuple[str, ...]:
    given = cast(list[object], value) if isinstance(value, list) else [None]
    names = tuple(each for each in given if isinstance(each, str))
    if len(names) != len(given):
        raise ConfigurationError("trusted_proxies", f"{value!r} must be a list of strings")
    try:
        TrustedProxies(names)
    except ConfigurationError as error:
        problem = str(error).removeprefix(f"{error.argument}: ")
        raise ConfigurationError("trusted_proxies", problem) from None
    return names


def _cache(value: object) -> str:
    table = _table("cache", value)
    _known("cache", table, {"store", "rules"})
    store: object = table.get("store")
    if not isinstance(store, str) or not store:
        problem = "is missing" if store is None else f"{store!r} is not a URL"
        raise ConfigurationError("cache.store", problem)
    return store


def _rules(cache: object) -> tuple[Table, ...]:
    given: object = _table("cache", cache).get("rules", []) if cache is not None else []
    if not isinstance(given, list):
        raise ConfigurationError("cache.rules", "must be written as [[cache.rules]], one for each")
    return tuple(
        _table(f"cache.rules[{number}]", each) for number, each in enumerate(cast(list[object], given))
    )
