"""Where routes are named: a router, its groups, and what they hand to the app that they belong to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from ramkit.kernel.asgi import ASGIApp
from ramkit.kernel.errors import ConfigurationError
from ramkit.router.chain import Handler, Middleware, is_middleware
from ramkit.router.core.pattern import join, parse
from ramkit.router.core.tree import ANY

__all__ = ["Named", "Router"]

H = TypeVar("H", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Named:
    """A route as it was named. ``method``: None for a WebSocket. ``outer``: the middlewares of the routers
    that it is in, ``own``: those of the route. ``app``: what is mounted, in the place of a handler."""

    method: str | None
    path: str
    outer: tuple[Middleware, ...]
    own: tuple[Middleware, ...] = ()
    handler: Handler | None = None
    app: ASGIApp | None = None


class Router:
    """Routes with middlewares, used below a prefix: ``app.use("/api", router)``, to any depth.

    Middlewares run from the outside in: the app's, its routers' and groups', the route's, each in the order
    in which they stand. They come before the routes, so that none can be missed by a route above it.
    Routes may be added at any time. Mistakes raise ``ConfigurationError`` where they are made.
    """

    def __init__(self) -> None:
        self._middleware: tuple[Middleware, ...] = ()
        self._named: list[Named] = []
        self._above: list[tuple[Router, str]] = []
        self._closed_by = ""

    # -- routes ------------------------------------------------------------------------------------

    def get(self, path: str, *chain: Callable[..., Any]) -> Any:
        """``app.get(path, *middleware, handler)``, or ``@app.get(path, *middleware)``; answers HEAD, too."""
        return self._route("GET", path, chain)

    def post(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``."""
        return self._route("POST", path, chain)

    def put(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``."""
        return self._route("PUT", path, chain)

    def patch(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``."""
        return self._route("PATCH", path, chain)

    def delete(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``."""
        return self._route("DELETE", path, chain)

    def options(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``; without one, OPTIONS is answered with ``Allow``."""
        return self._route("OPTIONS", path, chain)

    def head(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``, in the place of what GET would say."""
        return self._route("HEAD", path, chain)

    def all(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``, for every method that has no route of its own."""
        return self._route(ANY, path, chain)

    def websocket(self, path: str, *chain: Callable[..., Any]) -> Any:
        """As ``get``, for WebSockets: ``ctx.websocket`` is Starlette's."""
        return self._route(None, path, chain)

    def mount(self, path: str, app: ASGIApp) -> None:
        """An ASGI app for this path and all below, with ``root_path`` as Starlette has it. The middlewares of
        this router and those above run around it. Its lifespan runs inside of this app's, in the order of the
        mounts; what that gives for ``scope["state"]`` is seen by it alone."""
        if not callable(cast(object, app)) or isinstance(app, type):
            raise ConfigurationError("app", f"{app!r} is no ASGI app")
        self._name(Named(ANY, path.rstrip("/") or "/", self._middleware, app=app))

    def _route(self, method: str | None, path: str, chain: tuple[Callable[..., Any], ...]) -> Any:
        kinds = [is_middleware(each) for each in chain]
        if False in kinds[:-1]:
            raise ConfigurationError("handler", f"{chain[kinds.index(False)]!r} is not the last of {path!r}")
        if kinds and not kinds[-1]:
            self._name(Named(method, path, self._middleware, chain[:-1], chain[-1]))
            return chain[-1]

        def decorate(handler: H) -> H:
            self._route(method, path, (*chain, handler))
            return handler

        return decorate

    # -- nesting -----------------------------------------------------------------------------------

    def use(self, *parts: Any) -> None:
        """``use(middleware, …)``, before the routes; or ``use("/prefix", router)``."""
        if parts and isinstance(parts[0], str):
            prefix, *routers = parts
            if len(routers) != 1 or not isinstance(routers[0], Router):
                raise ConfigurationError(
                    "router", "use(prefix, router) takes one Router; middlewares take a group"
                )
            routers[0].belong(self, prefix)
            self._closed_by = self._closed_by or f"the router at {prefix!r}"
            return
        if self._closed_by:
            raise ConfigurationError(
                "middleware", f"comes before the routes, but {self._closed_by} is there already"
            )
        for each in parts:
            if isinstance(each, Router) or not is_middleware(each):
                raise ConfigurationError("middleware", f"{each!r} does not take (ctx, next)")
        self._middleware += parts

    def group(self, prefix: str, *middleware: Middleware) -> "Router":
        """A router below a prefix, with middlewares of its own."""
        router = Router()
        router.use(*middleware)
        self.use(prefix, router)
        return router

    def belong(self, above: "Router", prefix: str) -> None:
        """Hand these routes, and those to come, to a router above."""
        if prefix != "/":
            parse(prefix.rstrip("/"))
        if above is self or above.below(self):
            raise ConfigurationError("router", "a router is not below itself")
        for each in self._named:
            above.take(each, prefix)
        self._above.append((above, prefix))

    def below(self, other: "Router") -> bool:
        return any(above is other or above.below(other) for above, _ in self._above)

    def take(self, named: Named, prefix: str) -> None:
        """A route of a router below."""
        outer = (*self._middleware, *named.outer)
        self._name(replace(named, path=join(prefix, named.path), outer=outer))

    def _name(self, named: Named) -> None:
        parse(named.path)
        for above, prefix in self._above:
            above.take(named, prefix)
        self._named.append(named)
        self._closed_by = self._closed_by or f"{named.method or 'WEBSOCKET'} {named.path}"
