"""What a server puts into the scope."""

from collections.abc import Iterable
from typing import cast

from ramkit.kernel.asgi import Scope
from ramkit.testing.lint._rules import check_headers, require

__all__ = ["check_scope"]

_VERSIONS = {"http": {"1.0", "1.1", "2", "3"}, "websocket": {"1.1", "2", "3"}}
_SECTIONS = {
    "http": "ASGI HTTP, HTTP Connection Scope",
    "websocket": "ASGI WebSocket, Websocket Connection Scope",
    "lifespan": "ASGI Lifespan, Scope",
}


def check_scope(scope: Scope) -> None:
    """The keys of an http, websocket or lifespan scope: their presence, types and values."""
    kind: str = scope["type"]
    section = _SECTIONS[kind]
    _check_asgi(scope.get("asgi"), section)
    if "state" in scope:
        state: object = scope["state"]
        require(isinstance(state, dict), "scope-state", f"{type(state).__name__} is no dict", section)
    if kind == "lifespan":
        return
    _check_target(scope, kind, section)
    require("headers" in scope, "scope-headers", "headers are missing", section)
    check_headers(scope["headers"], section)
    _check_address(scope.get("client"), "scope-client", section, pathname=False)
    _check_address(scope.get("server"), "scope-server", section, pathname=True)
    _check_extensions(scope.get("extensions"))
    if kind == "websocket":
        _check_subprotocols(scope.get("subprotocols", ()), section)


def _check_asgi(asgi: object, section: str) -> None:
    require(isinstance(asgi, dict), "scope-asgi", f"asgi is {asgi!r}, not a dict", section)
    versions = cast("dict[str, object]", asgi)
    require(isinstance(versions.get("version"), str), "scope-asgi", "asgi['version'] is no str", section)
    spec = versions.get("spec_version", "2.0")
    known = isinstance(spec, str) and all(part.isdecimal() for part in spec.split("."))
    require(known, "scope-asgi", f"asgi['spec_version'] is {spec!r}", section)


def _check_target(scope: Scope, kind: str, section: str) -> None:
    version: object = scope.get("http_version", None if kind == "http" else "1.1")
    require(version in _VERSIONS[kind], "scope-http-version", f"http_version is {version!r}", section)
    if kind == "http":
        method: object = scope.get("method")
        upper = isinstance(method, str) and method != "" and method == method.upper()
        require(upper, "scope-method", f"method is {method!r}, not an upper-case str", section)
    scheme: object = scope.get("scheme", "http")
    require(isinstance(scheme, str) and scheme != "", "scope-scheme", f"scheme is {scheme!r}", section)
    path: object = scope.get("path")
    require(isinstance(path, str), "scope-path", f"path is {path!r}, not a str", section)
    raw: object = scope.get("raw_path")
    plain = raw is None or (isinstance(raw, bytes) and b"?" not in raw)
    require(plain, "scope-raw-path", f"raw_path is {raw!r}, not bytes without a query", section)
    query: object = scope.get("query_string")
    allowed = isinstance(query, bytes) or (kind == "websocket" and query is None)
    require(allowed, "scope-query-string", f"query_string is {query!r}, not bytes", section)
    root: object = scope.get("root_path", "")
    require(isinstance(root, str), "scope-root-path", f"root_path is {root!r}, not a str", section)


def _check_address(address: object, rule: str, section: str, *, pathname: bool) -> None:
    """None, or host and port; a server's port may be None (its host is then a socket's path)."""
    if address is None:
        return
    items = _items(address)
    require(len(items) == 2, rule, f"{address!r} is no [host, port]", section)
    host, port = items[0], items[1]
    require(isinstance(host, str), rule, f"the host of {address!r} is no str", section)
    number = isinstance(port, int) and not isinstance(port, bool)
    require(number or (pathname and port is None), rule, f"the port of {address!r} is no int", section)


def _check_extensions(extensions: object) -> None:
    if extensions is None:
        return
    section = "ASGI, Extensions"
    require(isinstance(extensions, dict), "scope-extensions", f"{extensions!r} is no dict", section)
    for name in cast("dict[object, object]", extensions):
        require(isinstance(name, str), "scope-extensions", f"the name {name!r} is no str", section)


def _items(value: object) -> list[object]:
    return list(cast("Iterable[object]", value)) if isinstance(value, list | tuple) else []


def _check_subprotocols(found: object, section: str) -> None:
    kind: type[object] = type(found)
    fine = issubclass(kind, list | tuple) and all(isinstance(item, str) for item in _items(found))
    require(fine, "scope-subprotocols", f"{found!r} is no list of str", section)
