"""RamAPI: routes as an ASGI app."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router as Lifespan

from ramkit.kernel.asgi import ASGIApp, Receive, Scope, Send
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.replies import problem
from ramkit.router.chain import ErrorHandler, Handler, Middleware, Wrapped, compose, settle
from ramkit.router.context import Context
from ramkit.router.core.openapi import Operation, document
from ramkit.router.core.pattern import Pattern, parse
from ramkit.router.core.tree import ANY, Tree
from ramkit.router.errors import HTTPError
from ramkit.router.guard import Guard
from ramkit.router.listening import Listener
from ramkit.router.mounting import Mounted, living
from ramkit.router.policy import CORS
from ramkit.router.routes import Named, Router

__all__ = ["RamAPI"]


class _Route:
    """What the tree leads to."""

    __slots__ = ("around", "mounted", "named", "names", "pattern", "run", "template")

    def __init__(self, named: Named, pattern: Pattern) -> None:
        self.named, self.pattern, self.template, self.names = named, pattern, named.path, pattern.names
        self.mounted = None if named.app is None else Mounted(named.app, named.path)
        handler = named.handler or self.mounted or _not_found
        self.run = compose((*named.outer, *named.own), handler)
        #: what an answer without the route's handler passes: Allow, a refusal
        self.around: Callable[[Handler], Handler] = partial(compose, named.outer)

    def __str__(self) -> str:
        if self.named.app is not None:
            return f"mount {self.template}"
        return f"{self.named.method or 'WEBSOCKET'} {self.template}"


class RamAPI(Router):
    """An ASGI app made of routes.

    ``cors``: the origins whose pages may read responses, or a ``CORS``; around everything. ``on_error``:
    ``async (ctx, error)``, for all that is raised; what it does not answer is answered as without it:
    problem+json, a plain 500 for what is no ``HTTPException``, and that is raised on for the server's log.
    ``on_not_found``: ``async (ctx)``. ``lifespan``: as Starlette's, an async context manager of the app.
    ``max_body``: bytes of a request's body. ``openapi``: where the description is served; None for nowhere.
    """

    def __init__(
        self,
        *,
        title: str = "RamAPI",
        version: str = "0.1.0",
        cors: Sequence[str] | CORS | None = None,
        on_error: ErrorHandler | None = None,
        on_not_found: Handler | None = None,
        lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
        max_body: int = 1_048_576,
        openapi: str | None = "/openapi.json",
    ) -> None:
        super().__init__()
        if max_body < 0:
            raise ConfigurationError("max_body", f"{max_body!r} is no number of bytes")
        self._title, self._version = title, version
        self._on_error, self._max_body = on_error, max_body
        self._not_found = on_not_found or _not_found
        self._lifespan = Lifespan(lifespan=lifespan).lifespan_context
        self._tree = Tree[_Route]()
        self._routes: list[_Route] = []
        self._wrapped: list[Wrapped] = []
        self._listener: Listener | None = None
        self._document: msgspec.Raw | None = None
        self._app: ASGIApp = self._serve
        if openapi is not None:
            self._name(Named("GET", openapi, (), (), self._described))
            self._closed_by = ""
        if cors is not None:
            policy = cors if isinstance(cors, CORS) else CORS(cors)
            self._app = CORSMiddleware(self._app, **policy.options())

    # -- making it ---------------------------------------------------------------------------------

    def add_middleware(self, middleware: Callable[..., ASGIApp], /, *arguments: Any, **options: Any) -> None:
        """Any ASGI middleware around the app; the last one added is the outermost. Made at once."""
        inner = self._app.app if isinstance(self._app, Guard) else self._app
        self._app = Guard(middleware(inner, *arguments, **options))

    def belong(self, above: Router, prefix: str) -> None:  # noqa: ARG002 - as a Router has it
        raise ConfigurationError(
            "router", f"a RamAPI has settings of its own: mount({prefix!r}, app), or a Router"
        )

    def use(self, *parts: Any) -> None:
        super().use(*parts)
        self._remember(self._middleware)

    def _name(self, named: Named) -> None:
        pattern = parse(named.path)
        route = _Route(named, pattern)
        if named.app is not None:
            self._tree.mount(pattern, route)
        else:
            self._tree.add(named.method, pattern, route)
        self._routes.append(route)
        self._document = None
        self._remember((*named.outer, *named.own))
        super()._name(named)

    def _remember(self, middleware: tuple[Middleware, ...]) -> None:
        self._wrapped += [
            each
            for each in dict.fromkeys(middleware)
            if isinstance(each, Wrapped) and each not in self._wrapped
        ]

    # -- serving -----------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise RuntimeError(f"RamAPI does not know {kind!r}")
        method: str | None = scope["method"] if kind == "http" else None
        path, raw, prefix = scope["path"], scope.get("raw_path"), ""
        if root := scope.get("root_path"):
            path, raw, prefix = _below(scope, root)
        found = self._tree.find(method, path, raw)
        if found is None:
            ctx = Context(scope, receive, send, {}, self._max_body)
            run = self._otherwise(ctx, method, path, raw, prefix)
        else:
            route, values, rest = found
            params: dict[str, Any] = dict(zip(route.names, values)) if values else {}  # noqa: B905 - as many as there are names; strict takes longer than all
            scope["path_params"] = {**scope["path_params"], **params} if scope.get("path_params") else params
            scope["ramkit.route"] = prefix + route.template if prefix else route.template
            ctx = Context(scope, receive, send, params, self._max_body)
            run = route.run
            if rest is not None:
                # As Starlette's Mount does, but for app_root_path: what is mounted names URLs by itself.
                scope["root_path"] = (root or "") + path[: len(path) - len(rest)]
        try:
            await run(ctx)
            await (ctx.finish() if method is not None else ctx.finish_socket())
        except Exception as error:
            await self._settle(ctx, error, receive, send)
        finally:
            for each in ctx.opened or ():
                await each.close()

    async def _settle(self, ctx: Context, error: Exception, receive: Receive, send: Send) -> None:
        try:
            await settle(ctx, error, self._on_error)
        except Exception:
            if ctx.silent:
                await problem(500)(ctx.scope, receive, send)
            raise

    def _otherwise(
        self, ctx: Context, method: str | None, path: str, raw: bytes | None, prefix: str
    ) -> Handler:
        """What no route answers: 405, OPTIONS, a slash too many or too few, 404."""
        allowed = self._tree.allowed(path, raw) if method is not None else {}
        if allowed:
            route = next(iter(allowed.values()))
            ctx.scope["ramkit.route"] = prefix + route.template
            names = {*allowed, "OPTIONS"} | ({"HEAD"} if "GET" in allowed else set[str]())
            return route.around(_allowing(", ".join(sorted(names)), options=method == "OPTIONS"))
        if method is not None and path != "/" and not (raw and b"%2f" in raw.lower()):
            other = path[:-1] if path.endswith("/") else path + "/"
            target = ctx.path[:-1] if path.endswith("/") else ctx.path + "/"
            # "//host" would lead to another site
            if not target.startswith(("//", "/\\")) and self._tree.find(method, other) is not None:
                return compose(self._middleware, _redirecting(target))
        return compose(self._middleware, self._not_found)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The user's and the mounted apps' lifespans, inside of those of ASGI middlewares that routes use."""
        scope["app"] = self
        mounts = [each.mounted for each in self._routes if each.mounted is not None]
        live: ASGIApp = Lifespan(lifespan=lambda app: living(self._lifespan, app, scope, mounts)).lifespan
        for each in self._wrapped:
            live = partial(each.lifespan, live)
        await live(scope, receive, send)

    # -- describing it -----------------------------------------------------------------------------

    def openapi(self) -> dict[str, Any]:
        """The description of the routes, OpenAPI 3.1."""
        operations = [
            Operation(
                each.named.method, each.pattern, each.named.handler, (*each.named.outer, *each.named.own)
            )
            for each in self._routes
            if each.named.method not in (None, ANY) and each.named.handler != self._described
        ]
        return document(self._title, self._version, operations)

    async def _described(self, ctx: Context) -> None:
        async def described(ctx: Context) -> None:
            if self._document is None:
                self._document = msgspec.Raw(msgspec.json.encode(self.openapi()))
            ctx.json(self._document)

        # The middlewares that came after the constructor guard it, too.
        await compose(self._middleware, described)(ctx)

    # -- serving it alone --------------------------------------------------------------------------

    def listen(self, port: int = 8000, *, host: str = "127.0.0.1", **options: Any) -> Any:
        """Serve with uvicorn, which takes the ``options``; port 0 is a free one.

        In a script it serves until a signal or ``close()``. Where a loop runs, ``await app.listen(0)``
        gives the port when it listens, and ``await app.close()`` ends it. Raises ``OSError``, and
        ``RuntimeError`` when the app does not start.
        """
        if self._listener is not None and self._listener.serving:
            raise RuntimeError("it listens already: close() comes first")
        self._listener = Listener(self, host, port, options)
        return self._listener.listen()

    async def close(self) -> None:
        """End what ``listen`` began: no new connections, and requests finish."""
        if self._listener is not None:
            await self._listener.close()


def _below(scope: Scope, root: str) -> tuple[str, bytes | None, str]:
    """Path and raw path below where we are mounted, and the template of what is above."""
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    if path == root or path.startswith(root + "/"):
        path = path[len(root) :] or "/"
        raw = raw[len(root) :] if raw is not None and raw.startswith(root.encode()) else None
    prefix: str | None = scope.get("ramkit.route")
    if prefix is None:
        prefix = root.removeprefix(scope["app_root_path"]) if "app_root_path" in scope else ""
        for name, value in scope.get("path_params", {}).items():
            prefix = "/".join(f"{{{name}}}" if each == str(value) else each for each in prefix.split("/"))
    return path, raw, prefix.rstrip("/")


def _allowing(names: str, *, options: bool) -> Handler:
    async def run(ctx: Context) -> None:
        if not options:
            raise HTTPError(405, headers={"allow": names})
        ctx.status(204).header("allow", names)

    return run


def _redirecting(path: str) -> Handler:
    async def run(ctx: Context) -> None:
        query: bytes = ctx.scope["query_string"]
        target = quote(path, safe="/:@!$&'()*+,;=~-._")
        ctx.redirect(target + ("?" + query.decode("latin-1") if query else ""), 307)

    return run


async def _not_found(ctx: Context) -> None:  # noqa: ARG001 - it is a handler
    raise HTTPError(404)
