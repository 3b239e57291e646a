"""Which template a request matched, read from what routing left in its scope."""

from typing import Any

from ramkit.kernel.asgi import Scope

__all__ = ["UNMATCHED", "template"]

#: the route of what reached none
UNMATCHED = "unmatched"


def template(scope: Scope, root: str) -> str:
    """The template of the route that this scope went to; ``root``: its root_path before routing.

    RamAPI says it in ``scope["ramkit.route"]``; else it is what Starlette and FastAPI leave behind. Where a
    Mount was entered and no route behind it told its path, it is ``/prefix/*``.
    """
    said = scope.get("ramkit.route")
    if type(said) is str:
        return said
    route = scope.get("route")
    path: Any = getattr(route, "path", None)
    if type(path) is not str:
        return _unsaid(scope, root)
    inside: str = scope.get("root_path", "")
    fastapi: dict[str, Any] | None = scope.get("fastapi")
    if path and inside == root and not fastapi:
        return path
    # FastAPI, in versions whose routers stay apart: the route knows its path within its own router only
    selected: Any = fastapi.get("effective_route_context") if fastapi else None
    if selected is not None and getattr(selected, "original_route", None) is route:
        path = selected.path
    if hasattr(route, "routes"):  # a Mount: nothing further down said that it matched
        return _within(scope, root, "/*")
    return path if inside == root else _within(scope, root, path)


def _unsaid(scope: Scope, root: str) -> str:
    """Where the router tells the endpoint and no route, as FastAPI does of its own pages."""
    if "endpoint" not in scope:
        return UNMATCHED
    if "app_root_path" in scope:  # set by a Mount, below which anything may be asked for
        return _within(scope, root, "/*")
    return _named(scope["path"].removeprefix(root), scope.get("path_params", {}), "") or UNMATCHED


def _within(scope: Scope, root: str, path: str) -> str:
    """``path`` behind the prefix of the Mounts, which ``root_path`` has with its parameters' values."""
    prefix = _named(scope.get("root_path", "")[len(root) :], scope.get("path_params", {}), path)
    return UNMATCHED if prefix is None else prefix + path


def _named(path: str, params: dict[str, Any], rest: str) -> str | None:
    """The path with its parameters' names for their values, but for those that ``rest`` has.

    None if one is not found: the path is no template then, and nobody may invent one.
    """
    end = len(path) + 1
    text = path + "/"
    for name, value in reversed(params.items()):
        if "{" + name + "}" in rest or "{" + name + ":" in rest:
            continue
        piece = f"/{value}/"
        at = text.rfind(piece, 0, end)
        if at < 0:
            return None
        text = f"{text[:at]}/{{{name}}}/{text[at + len(piece) :]}"
        end = at + 1
    return text[:-1]
