"""RamAPI: routes, middlewares and validation, for those who bring no framework. An ASGI app like any other.

app = RamAPI()
app.get("/users/:id", authenticate(jwt), show)
app.use("/orders", orders)  # a Router
app.listen(8000)
"""

from ramkit.router.app import RamAPI
from ramkit.router.chain import Handler, Middleware, Next
from ramkit.router.context import Context
from ramkit.router.errors import HTTPError
from ramkit.router.policy import CORS
from ramkit.router.routes import Router
from ramkit.router.shortcuts import (
    asgi_middleware,
    authenticate,
    cors,
    logger,
    optional_authenticate,
    rate_limit,
)
from ramkit.router.streaming import Event
from ramkit.router.validating import validate

__all__ = [
    "CORS",
    "Context",
    "Event",
    "HTTPError",
    "Handler",
    "Middleware",
    "Next",
    "RamAPI",
    "Router",
    "asgi_middleware",
    "authenticate",
    "cors",
    "logger",
    "optional_authenticate",
    "rate_limit",
    "validate",
]
