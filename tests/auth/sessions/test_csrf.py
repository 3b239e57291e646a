import re
from urllib.parse import quote_plus

import pytest
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware as StarlettesSessions
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ramkit.auth.sessions import CSRFMiddleware, MemorySessionStore, SessionMiddleware, csrf_token
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope

TRUSTED = ["https://app.example.com", "https://other.example.com:8443"]


async def plain(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


APP = CSRFMiddleware(plain, trusted_origins=TRUSTED)


def headers_of(site=None, origin=None, host="shop.example.com", *, cookie=True):
    said = {"host": host, "sec-fetch-site": site, "origin": origin, "cookie": "a=b" if cookie else None}
    return [(name.encode(), value.encode()) for name, value in said.items() if value is not None]


async def status(app=APP, method="POST", **said):
    return (await drive(app, http_scope(method, headers=headers_of(**said))))[0]["status"]


CASES = [
    ({"site": "same-origin"}, 200),
    ({"site": "none"}, 200),
    ({"site": "same-site"}, 403),
    ({"site": "cross-site"}, 403),
    ({"site": "nonsense"}, 403),
    ({"site": "same-origin, cross-site"}, 403),
    ({"site": "cross-site", "origin": "https://shop.example.com"}, 403),
    ({"site": "same-origin", "origin": "https://evil.example"}, 200),
    ({"site": "cross-site", "origin": "https://app.example.com"}, 200),
    ({"site": "cross-site", "origin": "https://other.example.com:8443"}, 200),
    ({"site": "cross-site", "origin": "https://other.example.com"}, 403),
    ({"site": "cross-site", "origin": "http://app.example.com"}, 403),
    ({"origin": "https://shop.example.com"}, 200),
    ({"origin": "http://shop.example.com"}, 200),
    ({"origin": "https://shop.example.com", "host": "shop.example.com:443"}, 200),
    ({"origin": "https://shop.example.com:8443"}, 403),
    ({"origin": "https://shop.example.com:8443", "host": "shop.example.com:8443"}, 200),
    ({"origin": "https://SHOP.example.com"}, 200),
    ({"origin": "https://shop.example.com.evil.example"}, 403),
    ({"origin": "https://evil.example"}, 403),
    ({"origin": "https://shop.example.com@evil.example"}, 403),
    ({"origin": "https://shop.example.com/path"}, 403),
    ({"origin": "https://shop.example.com:99999"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": ""}, 403),
    ({"origin": "https://shop.example.com", "host": None}, 403),
    ({}, 403),
    ({"cookie": False}, 200),
    ({"cookie": False, "site": "cross-site"}, 403),
]


@pytest.mark.parametrize(("said", "expected"), CASES)
async def test_what_browsers_say(said, expected):
    assert await status(**said) == expected
    for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        assert await status(method=method, **said) == 200
    for method in ("PUT", "PATCH", "DELETE", "post", "FROB"):
        assert await status(method=method, **said) == expected


@pytest.mark.parametrize(("said", "expected"), CASES)
async def test_websocket_handshakes(said, expected):
    if not said.keys() & {"site", "origin"}:
        expected = 200  # browsers always say; others have nobody's cookies
    scope = {**http_scope(headers=headers_of(**said)), "type": "websocket"}
    messages = await drive(APP, scope)
    assert (messages[0]["type"] == "websocket.accept") is (expected == 200)


async def test_a_refusal_is_problem_json():
    (start, body) = await drive(APP, http_scope("POST", headers=headers_of(site="cross-site")))
    assert start["status"] == 403
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert b"another site" in body["body"]


def test_mistakes_are_named():
    wrong = ("https://a/b", "a.example", "ftp://a", "https://", "https://u@a", "*", "https://a:x")
    for origins in ("https://a", *([each] for each in wrong)):
        with pytest.raises(ConfigurationError, match="trusted_origins"):
            CSRFMiddleware(plain, trusted_origins=origins)
    for arguments in ({"header": "x y"}, {"field": ""}):
        with pytest.raises(ConfigurationError, match=next(iter(arguments))):
            CSRFMiddleware(plain, **arguments)


# -- the token of old browsers ---------------------------------------------------------------------


async def form(request):
    return PlainTextResponse(csrf_token(request))


async def pay(request):
    return PlainTextResponse((await request.body()).decode())


@pytest.fixture(params=["ours", "starlettes"])
def app(request):
    made = Starlette(routes=[Route("/", form), Route("/pay", pay, methods=["POST"])])
    made.add_middleware(CSRFMiddleware)
    if request.param == "ours":
        made.add_middleware(SessionMiddleware)
    else:
        made.add_middleware(StarlettesSessions, secret_key="secret")
    return made


async def test_a_token_in_a_header_or_a_form(app, asgi_client):
    async with asgi_client(app, base_url="https://testserver") as client:
        first, second = [(await client.get("/")).text for _ in range(2)]
        assert first != second
        assert re.fullmatch(r"[\w-]{86}", first)
        assert (await client.post("/pay")).status_code == 403
        for token in (first, second):
            answer = await client.post("/pay", headers={"x-csrf-token": token}, content=b"hello")
            assert (answer.status_code, answer.text) == (200, "hello")
            answer = await client.post("/pay", data={"amount": "10 €", "csrf_token": token})
            assert (answer.status_code, answer.text) == (200, f"amount=10+%E2%82%AC&csrf_token={token}")
        for token in ("", "x", first[:-2], first[:-2] + "xx", "A" * 86, "ü"):
            assert (await client.post("/pay", headers={"x-csrf-token": token.encode()})).status_code == 403
            assert (await client.post("/pay", data={"csrf_token": token})).status_code == 403
        twice = f"csrf_token={first}&csrf_token={first}"
        kind = {"content-type": "application/x-www-form-urlencoded"}
        assert (await client.post("/pay", content=twice, headers=kind)).status_code == 403
        assert (await client.post("/pay", json={"csrf_token": first})).status_code == 403
        long = "a=" + "x" * 70_000 + f"&csrf_token={first}"
        assert (await client.post("/pay", content=long, headers=kind)).status_code == 403
        assert (
            await client.post("/pay", headers={**kind, "sec-fetch-site": "same-origin"}, content=long)
        ).text == long


async def test_another_sessions_token_does_not_count(app, asgi_client):
    async with asgi_client(app, base_url="https://testserver") as one:
        token = (await one.get("/")).text
    async with asgi_client(app, base_url="https://testserver") as other:
        await other.get("/")
        assert (await other.post("/pay", headers={"x-csrf-token": token})).status_code == 403


async def test_without_a_session_nobody_has_a_token():
    assert await status(CSRFMiddleware(plain)) == 403
    headers = [*headers_of(), (b"x-csrf-token", b"A" * 86)]
    assert (await drive(CSRFMiddleware(plain), http_scope("POST", headers=headers)))[0]["status"] == 403


async def test_a_client_that_leaves_in_the_middle_of_a_form():
    headers = [*headers_of(), (b"content-type", b"application/x-www-form-urlencoded")]
    messages = [
        {"type": "http.request", "body": b"csrf_token=", "more_body": True}, {"type": "http.disconnect"},
    ]  # fmt: skip
    assert (await drive(APP, http_scope("POST", headers=headers), messages))[0]["status"] == 403


@pytest.mark.parametrize("field", ["csrf_token", "csrf[token]"])
async def test_of_a_form_only_the_token_is_read(field):
    store = MemorySessionStore()
    made = {}

    async def page(scope, receive, send):
        made["token"] = csrf_token(scope)
        await plain(scope, receive, send)

    browser = SessionMiddleware(page, store=store)
    answer = await drive(browser, http_scope(headers=[(b"host", b"shop.example.com")]))
    cookie = next(v for n, v in answer[0]["headers"] if n == b"set-cookie").partition(b";")[0]
    app = SessionMiddleware(CSRFMiddleware(plain, field=field), store=store)
    name, token = quote_plus(field), made["token"]
    for body, expected in (
        (f"a=b&{name}={token}&c=" + "&" * 60_000, 200),
        (f"{name}={token}&{name}={token}", 403),
        (f"x{name}={token}", 403),
        (f"{name}=", 403),
        ("&" * 65_000, 403),
        (f"{name}={token}" + "&" * 65_536, 403),
    ):
        headers = [(b"host", b"shop.example.com"), (b"cookie", cookie),
                   (b"content-type", b"application/x-www-form-urlencoded")]  # fmt: skip
        sent = await drive(
            app,
            http_scope("POST", headers=headers),
            [{"type": "http.request", "body": body.encode()}],
        )
        assert sent[0]["status"] == expected, body[:60]


async def test_methods_that_pretend():
    for method in ("get", "HEAD ", "FOO", "DELETE"):
        assert await status(method=method, site="cross-site") == 403
