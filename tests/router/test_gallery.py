"""What is mounted is as it is alone: each awkward app, with the lint on both sides, behind each way to it."""

from typing import ClassVar

from ramkit.auth.jwt import JWTService
from ramkit.router import RamAPI, asgi_middleware, cors, optional_authenticate, rate_limit
from ramkit.testing.apps import GALLERY
from ramkit.testing.contracts.middleware import MiddlewareContract


class Contract(MiddlewareContract):
    others: ClassVar[set[str]] = set()

    def pytest_generate_tests(self, metafunc):
        """Without what a server must see of one app, and an app of many cannot show."""
        played = [each for each in GALLERY if each.protocol in ("http", "websocket") or each.status]
        metafunc.parametrize("awkward", [each for each in played if str(each) not in self.others], ids=str)


class TestMounted(Contract):
    def wrap(self, app):
        outer = RamAPI(openapi=None)
        outer.mount("/", app)
        return outer


class TestMountedBehindAll(Contract):
    """CORS, a middleware of the app, ASGI middlewares of groups, and a RamAPI in between."""

    rewrites = frozenset({b"vary"})
    #: a start is held until there is a body, so that this one is a whole 500
    others: ClassVar[set[str]] = {"raises-after-start"}

    def wrap(self, app):
        async def passing(ctx, next):
            await next()

        inner = RamAPI(openapi=None)
        inner.use(passing)
        service = JWTService(secret="s" * 32, issuer="https://e.example", audience="shop")
        group = inner.group(
            "/", rate_limit("1000/s"), optional_authenticate(service), cors(["https://a.example"])
        )
        group.mount("/", app)
        outer = RamAPI(openapi=None, cors=["https://a.example"])
        outer.use(asgi_middleware(lambda inner: inner))
        outer.mount("/", inner)
        return outer
