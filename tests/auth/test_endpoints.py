import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from ramkit.auth.endpoints import TokenEndpoints
from ramkit.auth.jwt import InvalidToken, RefreshTokens, Revocations
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope
from tests.auth.jwt.making import hs256

ORIGIN = {"origin": "https://testserver", "host": "testserver"}
GOOD = {"username": "ada", "password": "right"}


async def authenticate(username, password):
    return {"sub": username, "scope": "a b"} if password == "right" else None


def endpoints(**options):
    return TokenEndpoints(authenticate, **{"tokens": SERVICE, "refresh": RefreshTokens(), **options})


SERVICE = hs256()


async def test_login_refresh_logout(asgi_client):
    app = Starlette(routes=[Mount("/auth", endpoints())])
    async with asgi_client(app) as client:
        first = await client.post("/auth/login", json=GOOD)
        assert (first.status_code, first.headers["cache-control"]) == (200, "no-store")
        granted = first.json()
        assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 900)
        claims = SERVICE.verify(granted["access_token"])
        assert (claims["sub"], claims["scope"]) == ("ada", "a b")
        again = (await client.post("/auth/refresh", data={"refresh_token": granted["refresh_token"]})).json()
        assert SERVICE.verify(again["access_token"])["sid"] == claims["sid"]
        out = await client.post("/auth/logout", json={"refresh_token": again["refresh_token"]})
        assert (out.status_code, out.content) == (204, b"")
        dead = await client.post("/auth/refresh", json={"refresh_token": again["refresh_token"]})
        assert dead.status_code == 401
        assert dead.headers["www-authenticate"] == "Bearer"
        assert (await client.post("/auth/logout", json={})).status_code == 204


async def test_logout_ends_the_access_tokens_where_they_can_be_revoked(asgi_client):
    revocations = Revocations()
    service = hs256(revocations=revocations)
    app = endpoints(tokens=service, refresh=RefreshTokens(revocations=revocations))
    async with asgi_client(app) as client:
        granted = (await client.post("/login", json=GOOD)).json()
        service.verify(granted["access_token"])
        await client.post("/logout", json={"refresh_token": granted["refresh_token"]})
        with pytest.raises(Exception, match="revoked"):
            service.verify(granted["access_token"])


async def test_cookie(asgi_client):
    app = endpoints(refresh_in="cookie", origins=["https://app.example"])
    async with asgi_client(app, base_url="https://testserver") as client:
        first = await client.post("/login", json=GOOD, headers=ORIGIN)
        assert "refresh_token" not in first.json()
        cookie = first.headers["set-cookie"]
        assert cookie.startswith("__Host-refresh=")
        attributes = set(cookie.split("; ")[1:])
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=1209600"} == attributes
        second = await client.post("/refresh", headers={"origin": "https://app.example"})
        assert second.status_code == 200
        old = first.cookies["__Host-refresh"]
        for sent in (
            {},
            {"cookie": f"refresh={old}"},
            {"cookie": f"__Host-refresh={old}; __Host-refresh={old}"},
        ):
            client.cookies.clear()
            refused = await client.post("/refresh", headers={**ORIGIN, **sent}, json={"refresh_token": old})
            assert refused.status_code == 401
            assert "Max-Age=0" in refused.headers["set-cookie"]
        out = await client.post("/logout", headers={**ORIGIN, "cookie": f"__Host-refresh={old}"})
        assert (out.status_code, "Max-Age=0" in out.headers["set-cookie"]) == (204, True)
        current = second.cookies["__Host-refresh"]
        refused = await client.post("/refresh", headers={**ORIGIN, "cookie": f"__Host-refresh={current}"})
        assert refused.status_code == 401


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"origin": "https://testserver"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://testserver.evil.example"}, False),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({}, False),
    ],
)
async def test_cookies_come_with_an_origin(asgi_client, headers, good):
    async with asgi_client(endpoints(refresh_in="cookie")) as client:
        answer = await client.post("/login", json=GOOD, headers={"host": "testserver", **headers})
        assert answer.status_code == (200 if good else 403)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {**GOOD, "password": "wrong"}}, 401),
        ({"json": {"username": "ada"}}, 400),
        ({"json": {"username": "ada", "password": 1}}, 400),
        ({"json": []}, 400),
        ({"json": "x"}, 400),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"[" * 9000, "headers": {"content-type": "application/json"}}, 400),
        (
            {
                "content": b"username=a&username=b",
                "headers": {"content-type": "application/x-www-form-urlencoded"},
            },
            400,
        ),
        ({"content": b"%ff=\xff&", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
        ({"json": {**GOOD, "x": "y" * 20_000}}, 413),
        ({}, 400),
    ],
)
async def test_requests_that_are_refused(asgi_client, options, status):
    async with asgi_client(endpoints()) as client:
        answer = await client.post("/login", **options)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"


async def test_other_paths_and_methods(asgi_client):
    async with asgi_client(endpoints()) as client:
        assert (await client.post("/other")).status_code == 404
        got = await client.get("/login")
        assert (got.status_code, got.headers["allow"]) == (405, "POST")


async def test_a_client_that_leaves_in_its_body():
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    assert await drive(endpoints(), http_scope("POST", "/login"), messages) == []


async def test_a_store_that_is_away_is_503(asgi_client):
    refresh = RefreshTokens("redis://127.0.0.1:1")
    async with asgi_client(endpoints(refresh=refresh)) as client:
        answer = await client.post("/login", json=GOOD)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_authenticate_may_be_a_plain_function(asgi_client):
    app = TokenEndpoints(lambda name, _: name, tokens=SERVICE, refresh=RefreshTokens())
    async with asgi_client(app) as client:
        granted = (await client.post("/login", data=GOOD)).json()
        assert SERVICE.verify(granted["access_token"])["sub"] == "ada"


@pytest.mark.parametrize(
    ("argument", "options"),
    [("refresh_in", {"refresh_in": "header"}), ("origins", {"origins": "x"}), ("max_body", {"max_body": 0})],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        endpoints(**options)
    assert caught.value.argument == argument


@pytest.mark.parametrize("path", ["/login", "/refresh"])
async def test_what_is_under_way_is_logged_out_everywhere_too(path, asgi_client, monkeypatch):
    revocations = Revocations()
    service = hs256(revocations=revocations)
    refresh = RefreshTokens(revocations=revocations)
    racing = False

    async def slow(username, password):
        if racing:
            await refresh.revoke_subject("ada")
        return "ada"

    use = refresh._store.use

    async def slow_use(*args, **options):
        used = await use(*args, **options)
        await refresh.revoke_subject("ada")
        return used

    app = TokenEndpoints(slow, tokens=service, refresh=refresh)
    async with asgi_client(app) as client:
        first = (await client.post("/login", json=GOOD)).json()
        racing = True
        monkeypatch.setattr(refresh._store, "use", slow_use)
        sent = GOOD if path == "/login" else {"refresh_token": first["refresh_token"]}
        late = (await client.post(path, json=sent)).json()
        monkeypatch.undo()
        with pytest.raises(InvalidToken, match="revoked"):
            service.verify(late["access_token"])
        again = await client.post("/refresh", json={"refresh_token": late["refresh_token"]})
        assert again.status_code == 401
