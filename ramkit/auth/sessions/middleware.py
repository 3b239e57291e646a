"""Sessions for ASGI apps: ``scope["session"]``, kept on the server."""

from collections.abc import Iterable

from ramkit.auth.sessions.core.cookies import Cookie
from ramkit.auth.sessions.core.record import HEAD
from ramkit.auth.sessions.exchange import Exchange
from ramkit.auth.sessions.keeping import Keeper
from ramkit.auth.sessions.policy import Lifetime
from ramkit.auth.sessions.port import SessionStore
from ramkit.auth.sessions.sessions import Sessions
from ramkit.auth.sessions.stored import ServerSide, Subject
from ramkit.kernel.asgi import ASGIApp, RawHeaders, Receive, Scope, Send
from ramkit.kernel.clock import Clock
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.lifespan import follow_lifespan
from ramkit.kernel.observers import Observer, observers_of

__all__ = ["SessionBase", "SessionMiddleware", "cookie_of"]


class SessionBase:
    """What session middlewares share; they differ in their keeper."""

    def __init__(self, app: ASGIApp, keeper: Keeper) -> None:
        self.app, self._keeper = app, keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            if scope["type"] == "lifespan":
                await follow_lifespan(self.app, scope, receive, send, *self._keeper.resources)
            else:
                await self.app(scope, receive, send)
            return
        headers: RawHeaders = scope["headers"]
        if type(headers) is not list:
            headers = scope["headers"] = list(headers)  # any iterable is legal; it is read more than once
        context = RequestContext.of(scope)
        keeping = await self._keeper.load(headers, context)
        scope["session"] = context.session = keeping.session
        await Exchange(keeping, scope, receive, send).run(self.app)


class SessionMiddleware(SessionBase):
    """Server-side sessions: ``request.session``, for HTTP and WebSockets.

    ``store``: ``"memory://"``, a Redis URL, a store, or a ``Sessions``, by which sessions are listed and
    revoked. ``ttl``: seconds from the last request until a session ends; ``absolute``: seconds after which
    it ends however much it is used. ``cookie``: a name, or a ``Cookie``. ``subject``: whose a session is, the
    key that holds the user or a function of the scope; when it changes, the id does. ``max_bytes``: of one
    session in the store. ``insecure_over_plain_http``: a cookie named ``session`` that also goes over plain
    http, for development. ``eviction_may_end_sessions``: take a Redis that evicts keys.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: str | SessionStore | Sessions = "memory://",
        ttl: float = 3600,
        absolute: float = 604_800,
        cookie: str | Cookie | None = None,
        subject: Subject = "user",
        max_bytes: int = 65_536,
        insecure_over_plain_http: bool = False,
        eviction_may_end_sessions: bool = False,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if max_bytes <= HEAD:
            raise ConfigurationError("max_bytes", f"{max_bytes!r} are too few bytes for a session")
        if not isinstance(subject, str) and not callable(subject):
            raise ConfigurationError("subject", f"{subject!r} is neither a key nor a function of the scope")
        seen = observers_of(observers)
        self.sessions = (
            store
            if isinstance(store, Sessions)
            else Sessions(
                store, clock=clock, observers=seen, eviction_may_end_sessions=eviction_may_end_sessions
            )
        )
        keeper = ServerSide(
            self.sessions.store,
            Lifetime(ttl, absolute),
            cookie_of(cookie, insecure_over_plain_http=insecure_over_plain_http),
            subject,
            max_bytes,
            seen,
            (self.sessions,),
        )
        super().__init__(app, keeper)


def cookie_of(cookie: str | Cookie | None, *, insecure_over_plain_http: bool) -> Cookie:
    """The cookie that the arguments describe."""
    if isinstance(cookie, Cookie):
        if insecure_over_plain_http:
            raise ConfigurationError("insecure_over_plain_http", "is for the Cookie to say")
        return cookie
    if cookie is None:
        cookie = "session" if insecure_over_plain_http else "__Host-session"
    return Cookie(cookie, insecure_over_plain_http=insecure_over_plain_http)
