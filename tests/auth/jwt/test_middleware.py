import json

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.responses import JSONResponse
from starlette.routing import Route

from ramkit.auth.jwt import BearerAuthMiddleware, Revocations, TokenUser
from ramkit.cache import Cache, CacheMiddleware
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope
from ramkit.testing.contracts.middleware import MiddlewareContract
from ramkit.testing.lint import ASGILint
from tests.auth.jwt.making import hs256

SERVICE = hs256()
TOKEN = SERVICE.sign({"sub": "ada", "name": "Ada", "scope": "orders:read orders:write"})


class TestPublic(MiddlewareContract):
    def wrap(self, app):
        return BearerAuthMiddleware(app, verifier=SERVICE, public=["/*"])


class TestOptional(MiddlewareContract):
    def wrap(self, app):
        return BearerAuthMiddleware(app, verifier=SERVICE, required=False)


class TestWithAToken(MiddlewareContract):
    """As the client of the gallery sends none, one is put in between."""

    def wrap(self, app):
        inner = BearerAuthMiddleware(app, verifier=SERVICE)

        async def with_token(scope, receive, send):
            if "headers" in scope:
                scope = {
                    **scope,
                    "headers": [*scope["headers"], (b"authorization", b"Bearer " + TOKEN.encode())],
                }
            await inner(scope, receive, send)

        return with_token


async def whoami(scope, receive, send):
    user = scope["user"]
    said = {
        "user": user.identity if user.is_authenticated else None,
        "scopes": scope["auth"].scopes,
        "principal": RequestContext.of(scope).principal is user,
    }
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})


async def ask(headers=(), path="/", app=whoami, query=b"", **options):
    middleware = BearerAuthMiddleware(app, **{"verifier": SERVICE, **options})
    pairs = [(b"host", b"x"), *((name, value.encode()) for name, value in headers)]
    lint = ASGILint(middleware)
    start, body = await drive(lint, http_scope(path=path, headers=pairs, query=query))
    lint.check()
    return start["status"], dict(start["headers"]), json.loads(body["body"])


def bearer(token=TOKEN, scheme="Bearer"):
    return (b"authorization", f"{scheme} {token}")


async def test_who_brings_a_good_token_is_known():
    scopes = ["authenticated", "orders:read", "orders:write"]
    for scheme in ("Bearer", "bearer", "BEARER"):
        status, _, said = await ask([bearer(scheme=scheme)])
        assert (status, said) == (200, {"user": "ada", "scopes": scopes, "principal": True})


async def test_nobody():
    status, headers, said = await ask()
    assert (status, headers[b"www-authenticate"]) == (401, b"Bearer")
    assert headers[b"content-type"] == b"application/problem+json"
    assert said["status"] == 401
    for other in (
        [(b"authorization", "Basic YTpi")],
        [(b"authorization", "")],
        [(b"cookie", f"token={TOKEN}")],
    ):
        status, headers, _ = await ask(other, realm="shop")
        assert (status, headers[b"www-authenticate"]) == (401, b'Bearer realm="shop"')
    assert (await ask(query=b"access_token=" + TOKEN.encode()))[0] == 401
    assert (await ask(required=False))[2] == {"user": None, "scopes": [], "principal": False}


async def test_a_bad_token_is_refused_also_where_none_is_needed():
    for token in (TOKEN + "A", TOKEN[:-4] + "AAAA", "x", TOKEN + "=="):
        for options in ({}, {"required": False}):
            status, headers, said = await ask([bearer(token)], **options)
            assert status == 401
            assert headers[b"www-authenticate"].startswith(
                b'Bearer error="invalid_token", error_description="'
            )
            assert "detail" in said


@pytest.mark.parametrize(
    "headers",
    [
        [bearer(), bearer()],
        [bearer(), (b"authorization", "Basic YTpi")],
        [(b"authorization", "Bearer")],
        [(b"authorization", "Bearer ")],
        [(b"authorization", f"Bearer {TOKEN} {TOKEN}")],
        [(b"authorization", f"Bearer {TOKEN}, Basic x")],
        [(b"authorization", 'Bearer "x"')],
    ],
)
async def test_malformed_credentials(headers):
    for options in ({}, {"required": False}):
        status, said, _ = await ask(headers, **options)
        assert status == 400
        assert b'error="invalid_request"' in said[b"www-authenticate"]


async def test_scopes_that_all_must_have():
    assert (await ask([bearer()], scopes=["orders:read"]))[0] == 200
    status, headers, _ = await ask([bearer()], scopes=["orders:read", "admin"])
    assert status == 403
    assert headers[b"www-authenticate"] == b'Bearer error="insufficient_scope", scope="orders:read admin"'


async def test_public_paths():
    options = {"public": ["/health", "/docs/*"]}
    for path in ("/health", "/docs", "/docs/", "/docs/a/b"):
        status, _, said = await ask([bearer("bad")], path, **options)
        assert (status, said["user"]) == (200, None)
    for path in (
        "/", "/health/", "/healthz", "/docsx", "/Health", "/docs/../admin", "/docs/./a", "/docs//a", "//docs",
        "/docs/..", "/docs\\..\\admin", "/docs/..\\admin",
    ):  # fmt: skip
        assert (await ask((), path, **options))[0] == 401, path


async def test_what_was_in_the_scope_counts_for_nothing():
    scope = http_scope(user=TokenUser({"sub": "eve"}), auth="all")
    RequestContext.of(scope).principal = "eve"
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await whoami(scope, receive, send)

    await drive(BearerAuthMiddleware(app, verifier=SERVICE, required=False), scope)
    assert not seen["user"].is_authenticated
    assert seen["auth"].scopes == []
    assert RequestContext.of(scope).principal is None


async def test_a_verifier_that_cannot_know_is_503():
    service = hs256(revocations=Revocations("redis://127.0.0.1:1"))
    status, headers, _ = await ask([bearer(service.sign({}))], verifier=service)
    assert (status, headers[b"retry-after"]) == (503, b"1")
    await service.aclose()


async def test_observers_hear_of_each_decision():
    seen = []
    options = {"observers": [lambda event: seen.append(event.result)], "scopes": ["orders:read"]}
    for headers in ([bearer()], [], [bearer(), bearer()], [bearer("x")], [bearer(SERVICE.sign({}))]):
        await ask(headers, **options)
    assert seen == ["accepted", "missing", "malformed", "invalid", "scope"]


# -- WebSockets ---------------------------------------------------------------------------------------


def websocket(protocols=(), headers=(), **more):
    pairs = [(b"host", b"x"), *headers]
    if protocols:
        pairs.append((b"sec-websocket-protocol", ", ".join(protocols).encode()))
    return {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "scheme": "ws", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "", "headers": pairs,
        "client": ("127.0.0.1", 1), "server": ("x", 80), "subprotocols": list(protocols), **more,
    }  # fmt: skip


async def connect(scope, choose=None):
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await receive()
        await send(
            {"type": "websocket.accept", "subprotocol": choose} if choose else {"type": "websocket.accept"}
        )
        await send({"type": "websocket.close", "code": 1000})

    lint = ASGILint(BearerAuthMiddleware(ASGILint(app), verifier=SERVICE))
    sent = await drive(lint, scope)
    lint.check()
    return sent, seen


async def test_websocket_by_header():
    sent, seen = await connect(websocket(["chat"], [(b"authorization", f"Bearer {TOKEN}".encode())]), "chat")
    assert sent[0]["subprotocol"] == "chat"
    assert seen["user"].identity == "ada"
    assert seen["subprotocols"] == ["chat"]


async def test_websocket_by_subprotocol():
    for choose, answered in (("chat", "chat"), (None, "bearer")):
        sent, seen = await connect(websocket(["bearer", TOKEN, "chat"]), choose)
        assert sent[0]["subprotocol"] == answered
        assert seen["user"].identity == "ada"
        assert seen["subprotocols"] == ["chat"]
        assert (b"sec-websocket-protocol", b"chat") in seen["headers"]
        assert TOKEN not in repr({key: value for key, value in seen.items() if key not in ("user", "auth")})


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (websocket(), 401),
        (websocket(["chat"]), 401),
        (websocket(["bearer"]), 400),
        (websocket(["bearer", "a b"]), 400),
        (websocket(["bearer", TOKEN, "bearer", TOKEN]), 400),
        (websocket(["bearer", TOKEN], [(b"authorization", b"Bearer x")]), 400),
        (websocket(["bearer", "x.y.z", "chat"]), 401),
        (websocket(["chat", TOKEN]), 401),
    ],
)
async def test_websockets_that_are_refused(scope, status):
    sent, seen = await connect(dict(scope))
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert seen == {}
    sent, _ = await connect({**scope, "extensions": {"websocket.http.response": {}}})
    assert sent[0]["type"] == "websocket.http.response.start"
    assert sent[0]["status"] == status
    assert b"www-authenticate" in dict(sent[0]["headers"])


# -- as its users meet it -------------------------------------------------------------------------------


async def test_starlettes_requires(asgi_client):
    @requires(["authenticated", "orders:read"])
    async def orders(request):
        return JSONResponse({"user": request.user.display_name, "sub": request.user.claims["sub"]})

    @requires("admin")
    async def admin(request):
        return JSONResponse({})

    app = Starlette(routes=[Route("/orders", orders), Route("/admin", admin)])
    app.add_middleware(BearerAuthMiddleware, verifier=SERVICE)
    async with asgi_client(app) as client:
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert (await client.get("/orders", headers=headers)).json() == {"user": "Ada", "sub": "ada"}
        assert (await client.get("/admin", headers=headers)).status_code == 403
        assert (await client.get("/orders")).status_code == 401


async def test_the_cache_keeps_what_is_one_users_own(asgi_client):
    """Outside of the cache or inside."""

    async def me(request):
        return JSONResponse({"me": request.user.identity})

    tokens = [SERVICE.sign({"sub": name}) for name in ("ada", "bob", "ada")]
    for outside in (True, False):
        app = Starlette(routes=[Route("/", me)])
        both = [
            (CacheMiddleware, {"cache": Cache(), "default_ttl": 60}),
            (BearerAuthMiddleware, {"verifier": SERVICE}),
        ]
        for middleware, options in both if outside else reversed(both):
            app.add_middleware(middleware, **options)
        async with asgi_client(app) as client:
            seen = [
                (await client.get("/", headers={"authorization": f"Bearer {token}"})).json()["me"]
                for token in tokens
            ]
        assert seen == ["ada", "bob", "ada"]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("verifier", {"verifier": "secret"}),
        ("public", {"verifier": SERVICE, "public": ["health"]}),
        ("public", {"verifier": SERVICE, "public": ["/a/*/b"]}),
        ("scopes", {"verifier": SERVICE, "scopes": [1]}),
        ("observers", {"verifier": SERVICE, "observers": [1]}),
    ],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        BearerAuthMiddleware(whoami, **options)
    assert caught.value.argument == argument
