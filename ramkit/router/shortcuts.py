"""Other rooms as middlewares of RamAPI, each imported when it is asked for."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware

from ramkit.kernel.asgi import ASGIApp
from ramkit.router.chain import Wrapped
from ramkit.router.policy import CORS

__all__ = ["asgi_middleware", "authenticate", "cors", "logger", "optional_authenticate", "rate_limit"]

_BEARER = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}


def asgi_middleware(middleware: Callable[..., ASGIApp], /, **options: Any) -> Wrapped:
    """Any ASGI middleware for a group or a route: ``asgi_middleware(GZipMiddleware, minimum_size=500)``."""
    return Wrapped(middleware, **options)


def cors(origins: Sequence[str], **options: Any) -> Wrapped:
    """As ``RamAPI(cors=…)``, for a group; it answers preflights. ``options``: as for ``CORS``."""
    return Wrapped(CORSMiddleware, **CORS(origins, **options).options())


def rate_limit(
    rate: str, *, name: str = "requests", burst: int | None = None, key: Any = None, **options: Any
) -> Wrapped:
    """``ramkit.limits.RateLimitMiddleware`` with one policy: ``rate_limit("100/s", burst=200)``.

    ``options``: the middleware's, such as ``store``. Limits of one name in one store share their counts.
    """
    from ramkit.limits import Policy, RateLimitMiddleware

    return Wrapped(RateLimitMiddleware, policies=[Policy(name, rate, burst=burst, key=key)], **options)


def logger(sink: Any = "stdout", **options: Any) -> Wrapped:
    """``ramkit.logs.AccessLogMiddleware``, the first of all: ``app.use(logger())``."""
    from ramkit.logs import AccessLogMiddleware

    return Wrapped(AccessLogMiddleware, sink=sink, **options)


def authenticate(jwt: Any, *, scopes: Collection[str] = (), **options: Any) -> Wrapped:
    """``ramkit.auth.jwt.BearerAuthMiddleware``: 401 without a good token. ``jwt``: a ``JWTService``."""
    return _bearer(jwt, required=True, scopes=scopes, **options)


def optional_authenticate(jwt: Any, *, scopes: Collection[str] = (), **options: Any) -> Wrapped:
    """As ``authenticate``, but lets in who brings no token; a bad one is refused all the same."""
    return _bearer(jwt, required=False, scopes=scopes, **options)


def _bearer(jwt: Any, **options: Any) -> Wrapped:
    from ramkit.auth.jwt import BearerAuthMiddleware

    wrapped = Wrapped(BearerAuthMiddleware, verifier=jwt, **options)
    wrapped.security = _BEARER if options["required"] else None
    return wrapped
