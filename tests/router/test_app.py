"""RamAPI as clients see it, with the lint around it."""

import asyncio
import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ramkit.kernel.errors import ConfigurationError
from ramkit.router import CORS, HTTPError, RamAPI, Router, asgi_middleware, cors
from ramkit.testing.client import ASGIClient, drive, http_scope
from ramkit.testing.lint import ASGILint


def client(app, **options):
    return ASGIClient(ASGILint(app), **options)


async def echo(ctx):
    ctx.json({"params": ctx.params, "route": ctx.route})


async def test_a_route_with_a_parameter():
    app = RamAPI()
    app.get("/users/:id", echo)

    @app.post("/users/{id:int}")
    async def create(ctx):
        ctx.status(201).header("x-a", "1").json(ctx.params)

    async with client(app) as http:
        got = await http.get("/users/ada")
        assert (got.status_code, got.json()) == (200, {"params": {"id": "ada"}, "route": "/users/:id"})
        assert got.headers["content-type"] == "application/json"
        got = await http.post("/users/7")
        assert (got.status_code, got.json(), got.headers["x-a"]) == (201, {"id": 7}, "1")


async def test_404_405_head_and_options():
    app = RamAPI()
    app.get("/a", echo)
    app.put("/a", echo)
    app.all("/any", echo)
    async with client(app) as http:
        missing = await http.get("/b")
        assert missing.status_code == 404
        assert missing.headers["content-type"] == "application/problem+json"
        assert missing.json() == {"type": "about:blank", "title": "Not Found", "status": 404}
        refused = await http.delete("/a")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, PUT")
        options = await http.options("/a")
        assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PUT")
        assert "content-length" not in options.headers
        head, got = await http.head("/a"), await http.get("/a")
        assert head.headers["content-length"] == got.headers["content-length"]
        assert head.content == b""
        for method in ("GET", "PURGE", "OPTIONS"):
            assert (await http.request(method, "/any")).status_code == 200


async def test_a_head_route_of_its_own_counts():
    app = RamAPI()
    app.get("/a", echo)

    async def head(ctx):
        ctx.status(204).header("x-head", "yes")

    app.head("/a", head)
    async with client(app) as http:
        assert (await http.head("/a")).headers["x-head"] == "yes"


@pytest.mark.parametrize(("asked", "location"), [("/a/?q=1", "/a?q=1"), ("/b", "/b/"), ("/é/", "/%C3%A9")])
async def test_a_slash_too_many_or_too_few_is_redirected(asked, location):
    app = RamAPI()
    app.get("/a", echo)
    app.get("/b/", echo)
    app.get("/é", echo)
    async with client(app) as http:
        got = await http.get(asked)
        assert (got.status_code, got.headers["location"]) == (307, location)


async def test_a_redirect_never_leads_to_another_site():
    app = RamAPI()
    app.get("/:a/:b", echo)
    app.get("/*", echo)
    sent = await drive(ASGILint(app), http_scope("GET", "//evil.example/x/"))
    assert sent[0]["status"] == 200
    app = RamAPI()
    app.get("/:a/:b/:c", echo)
    sent = await drive(ASGILint(app), http_scope("GET", "//evil.example/c/"))
    assert sent[0]["status"] == 404


async def test_middlewares_run_from_the_outside_in():
    order = []

    def note(name):
        async def middleware(ctx, next):
            order.append(f"+{name}")
            await next()
            order.append(f"-{name}")

        return middleware

    app = RamAPI()
    app.use(note("app"))
    inner = Router()
    inner.use(note("inner"))
    outer = app.group("/outer", note("outer"))
    outer.use("/inner", inner)

    async def handler(ctx):
        order.append("handler")
        ctx.text("")

    inner.get("/x", note("route"), handler)  # after it was used
    async with client(app) as http:
        assert (await http.get("/outer/inner/x")).status_code == 200
    names = ["app", "outer", "inner", "route"]
    assert order == [*(f"+{each}" for each in names), "handler", *(f"-{each}" for each in reversed(names))]


async def test_the_apps_middlewares_see_what_is_not_found():
    seen = []
    app = RamAPI()

    async def middleware(ctx, next):
        seen.append(ctx.path)
        await next()

    app.use(middleware)
    app.get("/a", echo)
    async with client(app) as http:
        for method, path in (
            ("GET", "/nowhere"),
            ("POST", "/a"),
            ("OPTIONS", "/a"),
            ("GET", "/openapi.json"),
        ):
            await http.request(method, path)
    assert seen == ["/nowhere", "/a", "/a", "/openapi.json"]


async def test_a_middleware_adds_to_the_reply_and_may_answer_itself():
    app = RamAPI()

    async def stamp(ctx, next):
        await next()
        ctx.header("x-stamp", "1")

    async def deny(ctx, next):
        ctx.status(403).text("no")

    app.use(stamp)
    app.get("/", echo)
    app.get("/denied", deny, echo)
    async with client(app) as http:
        assert (await http.get("/")).headers["x-stamp"] == "1"
        denied = await http.get("/denied")
        assert (denied.status_code, denied.text, denied.headers["x-stamp"]) == (403, "no", "1")


async def test_errors_leak_nothing_and_are_raised_for_the_servers_log():
    app = RamAPI()

    @app.get("/bug")
    async def bug(ctx):
        raise ValueError("secret")

    @app.get("/silent")
    async def silent(ctx):
        pass

    @app.get("/told")
    async def told(ctx):
        raise HTTPError(
            409, "taken", title="Conflict!", type="https://e.example/x", headers={"x-a": "1"}, name="ada"
        )

    @app.get("/login")
    async def login(ctx):
        raise HTTPError(401)

    async with client(app, raise_app_exceptions=False) as http:
        for path in ("/bug", "/silent"):
            got = await http.get(path)
            assert (got.status_code, "secret" in got.text) == (500, False)
            assert got.headers["content-type"] == "application/problem+json"
        got = await http.get("/told")
        assert got.status_code == 409
        assert got.headers["x-a"] == "1"
        assert got.json() == {
            "type": "https://e.example/x", "title": "Conflict!", "status": 409, "detail": "taken",
            "name": "ada"
        }  # fmt: skip
        assert (await http.get("/login")).headers["www-authenticate"] == "Bearer"
    with pytest.raises(ValueError, match="secret"):
        await drive(app, http_scope("GET", "/bug"))


async def test_on_error_and_on_not_found():
    async def on_error(ctx, error):
        if isinstance(error, KeyError):
            ctx.status(418).json({"missing": str(error)})

    async def on_not_found(ctx):
        ctx.status(404).text("nothing here")

    app = RamAPI(on_error=on_error, on_not_found=on_not_found)

    @app.get("/key")
    async def key(ctx):
        ctx.header("x-lost", "1")
        raise KeyError("a")

    @app.get("/gone")
    async def gone(ctx):
        raise HTTPError(410)

    async with client(app) as http:
        got = await http.get("/key")
        assert (got.status_code, got.json(), "x-lost" in got.headers) == (418, {"missing": "'a'"}, False)
        assert (await http.get("/nope")).text == "nothing here"
        assert (await http.get("/gone")).status_code == 410


async def test_parameters_are_never_anothers():
    app = RamAPI()
    waiting, go = [], asyncio.Event()

    async def slow(ctx):
        waiting.append(ctx)
        await go.wait()
        ctx.json([ctx.params, ctx.scope["path_params"], ctx.route])

    app.get("/a/:x/:y", slow)
    app.get("/b/:y", slow)
    paths = [f"/a/{number}/{number * 7}" if number % 2 else f"/b/{number}" for number in range(200)]
    async with client(app) as http:
        asked = [asyncio.create_task(http.get(path)) for path in paths]
        while len(waiting) < len(paths):
            await asyncio.sleep(0)
        go.set()
        for number, task in enumerate(asked):
            said = {"x": str(number), "y": str(number * 7)} if number % 2 else {"y": str(number)}
            assert (await task).json() == [said, said, "/a/:x/:y" if number % 2 else "/b/:y"]
    assert len({id(ctx.params) for ctx in waiting}) == len(paths)


async def test_mounts_to_any_depth_and_the_template_with_their_prefixes():
    seen = []

    async def raw(scope, receive, send):
        seen.append((scope["root_path"], scope["path"], scope["ramkit.route"], scope["path_params"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"raw"})

    inner = RamAPI(openapi=None)
    inner.get("/users/:id", echo)
    inner.get("/", echo)
    inner.mount("/raw", raw)
    app = RamAPI()
    app.mount("/t/:tenant", inner)
    async with client(app) as http:
        assert (await http.get("/t/acme/users/1")).json() == {
            "params": {"id": "1"},
            "route": "/t/:tenant/users/:id",
        }
        assert (await http.get("/t/acme")).json()["route"] == "/t/:tenant/"
        assert (await http.get("/t/acme/nope")).status_code == 404
        for path in ("/t/acme/raw", "/t/acme/raw/x/y"):
            assert (await http.get(path)).text == "raw"
    assert seen == [
        ("/t/acme/raw", "/t/acme/raw", "/t/:tenant/raw", {"tenant": "acme"}),
        ("/t/acme/raw", "/t/acme/raw/x/y", "/t/:tenant/raw", {"tenant": "acme"}),
    ]


@pytest.mark.parametrize("root", ["", "/proxy"])
async def test_a_mounted_app_names_its_urls_with_the_prefix(root):
    async def name(request):
        called = "deep:name" if "deep" in request.url.path else "name"
        return JSONResponse([str(request.url_for(called, n=1)), str(request.base_url), str(request.url)])

    app = RamAPI()
    app.mount("/in/:t", Starlette(routes=[Mount("/deep", routes=[Route("/{n}", name)], name="deep")]))
    app.mount("/flat", Starlette(routes=[Route("/{n}", name)]))
    for path in ("/flat", "/in/7/deep"):
        sent = await drive(ASGILint(app), http_scope("GET", f"{root}{path}/8", root_path=root))
        base = f"http://testserver{root}{path.removesuffix('/deep')}"
        found = [f"http://testserver{root}{path}/1", f"{base}/", f"http://testserver{root}{path}/8"]
        assert json.loads(sent[1]["body"]) == found


async def test_what_a_mounted_app_raises(tmp_path):
    """Starlette's own apps leave it to others to answer an HTTPException."""

    async def fails(scope, receive, send):
        if scope["path"].endswith("late"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("secret")

    async def on_error(ctx, error):
        if isinstance(error, LookupError):
            ctx.status(418).text("caught")

    (tmp_path / "a").write_text("hello")
    app = RamAPI(on_error=on_error)
    app.mount("/files", StaticFiles(directory=tmp_path))
    group = app.group("/g", asgi_middleware(lambda inner: inner))
    group.mount("/files", StaticFiles(directory=tmp_path))
    app.mount("/fails", fails)
    async with client(app, raise_app_exceptions=False) as http:
        for prefix in ("/files", "/g/files"):
            assert (await http.get(f"{prefix}/a")).text == "hello"
            missing = await http.get(f"{prefix}/b")
            assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")
            refused = await http.post(f"{prefix}/a")
            assert (refused.status_code, "allow" in refused.headers) == (405, True)
        assert (await http.get("/fails/early")).status_code == 418
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/fails/late")


async def test_what_fails_while_it_answers_an_error():
    async def on_error(ctx, error):
        if ctx.path == "/raises":
            raise ValueError("secret")
        ctx.status(400)
        raise HTTPError(409)

    app = RamAPI(on_error=on_error)

    @app.get("/splits")
    async def splits(ctx):
        raise HTTPError(400, headers={"x": "a\r\nb: c"})

    async with client(app, raise_app_exceptions=False) as http:
        assert (await http.get("/raises")).json() == {
            "type": "about:blank", "title": "Internal Server Error", "status": 500
        }  # fmt: skip
        assert (await http.get("/other")).status_code == 409
    plain = RamAPI()
    plain.get("/splits", splits)
    async with client(plain, raise_app_exceptions=False) as http:
        got = await http.get("/splits")
        assert (got.status_code, "b" in got.headers) == (500, False)


async def test_below_starlettes_mount():
    inner = RamAPI()
    inner.get("/users/:id", echo)
    app = Starlette(routes=[Mount("/{tenant}/api", inner)])
    async with client(app) as http:
        assert (await http.get("/acme/api/users/1")).json() == {
            "params": {"id": "1"}, "route": "/{tenant}/api/users/:id"
        }  # fmt: skip


async def test_cors_around_everything():
    app = RamAPI(cors=["https://a.example"])

    @app.get("/bug")
    async def bug(ctx):
        raise ValueError

    async with client(app, raise_app_exceptions=False) as http:
        origin = {"origin": "https://a.example"}
        got = await http.get("/bug", headers=origin)
        assert (got.status_code, got.headers["access-control-allow-origin"]) == (500, "https://a.example")
        assert (
            "access-control-allow-origin"
            not in (await http.get("/", headers={"origin": "https://b.example"})).headers
        )


async def test_cors_of_a_group_answers_preflights():
    app = RamAPI()
    group = app.group("/api", cors(["https://a.example"], credentials=True))
    group.post("/x", echo)
    async with client(app) as http:
        asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
        got = await http.options("/api/x", headers=asked)
        assert (got.status_code, got.headers["access-control-allow-credentials"]) == (200, "true")
        missing = await http.get("/api/x", headers=asked)
        assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (
            405,
            "https://a.example",
        )


@pytest.mark.parametrize(
    "options",
    [
        {"origins": "https://a"},
        {"origins": ["*"], "credentials": True},
        {"origins": ["a"]},
        {"origins": ["https://a/"]},
    ],
)
def test_cors_that_is_a_mistake(options):
    with pytest.raises(ConfigurationError):
        CORS(**options)


@pytest.mark.parametrize("pair", [("x", "a\r\nb: c"), ("x\n", "a"), ("content-length", "1"), ("x", "\0")])
async def test_headers_that_would_split_are_refused(pair):
    app = RamAPI()

    @app.get("/")
    async def inject(ctx):
        with pytest.raises(ValueError, match="no header field"):
            ctx.header(*pair)
        with pytest.raises(ValueError, match="no header field"):
            ctx.stream(ctx.request.stream(), "text/plain\r\nb: c")
        with pytest.raises(ValueError, match="no URL"):
            ctx.redirect("/a\r\nb: c")
        ctx.text("ok")

    sent = await drive(ASGILint(app), http_scope())
    assert sent[1]["body"] == b"ok"


async def test_any_asgi_middleware():
    from starlette.middleware.gzip import GZipMiddleware

    app = RamAPI()
    app.add_middleware(GZipMiddleware, minimum_size=10)

    async def long(ctx):
        ctx.text("x" * 1000)

    app.get("/", long)
    inner = RamAPI()

    async def outermost(ctx, next):
        await next()
        ctx.header("x-after", "1")

    inner.use(outermost, asgi_middleware(GZipMiddleware, minimum_size=10))
    inner.get("/", long)
    for each in (app, inner):
        async with client(each) as http:
            got = await http.get("/", headers={"accept-encoding": "gzip"})
            assert (got.headers["content-encoding"], got.text) == ("gzip", "x" * 1000)
    assert got.headers["x-after"] == "1"


async def test_a_middleware_that_fails_is_a_500():
    def broken(app):
        async def run(scope, receive, send):
            if scope["type"] == "http":
                raise OSError("secret")
            await app(scope, receive, send)

        return run

    app = RamAPI()
    app.add_middleware(broken)
    async with client(app, raise_app_exceptions=False) as http:
        got = await http.get("/")
        assert (got.status_code, got.json()["title"]) == (500, "Internal Server Error")


def mistakes():
    async def handler(ctx): ...
    async def middleware(ctx, next): ...
    def plain(ctx): ...

    router, sub, full = Router(), Router(), RamAPI()
    router.use("/sub", sub)
    full.get("/a", handler)
    yield lambda: full.get("/a", handler), "there already: GET /a"
    yield lambda: full.get("/openapi.json", handler), "there already: GET /openapi.json"
    yield lambda: full.use(middleware), "before the routes, but GET /a"
    yield lambda: full.get("/p", plain), "no async function"
    yield lambda: full.get("/p", handler, handler), "not the last"
    yield lambda: full.get("/p", 3), "not callable"
    yield lambda: full.use("/p", full), "of its own"
    yield lambda: full.use("/p", middleware), "one Router"
    yield lambda: RamAPI().use(handler), "does not take"
    yield lambda: full.mount("/p", RamAPI), "no ASGI app"
    yield lambda: sub.use("/x", router), "not below itself"
    yield lambda: RamAPI(max_body=-1), "max_body"


@pytest.mark.parametrize(("make", "said"), list(mistakes()))
def test_mistakes_are_found_where_they_are_made(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


async def test_a_conflict_below_a_prefix_is_found_when_it_arises():
    app, router = RamAPI(), Router()
    app.get("/api/x", echo)
    app.use("/api", router)
    with pytest.raises(ConfigurationError, match="there already: GET /api/x"):
        router.get("/x", echo)
