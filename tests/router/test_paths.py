"""Paths that mean harm, and methods: what reaches which handler."""

import pytest

from ramkit.router import RamAPI
from ramkit.testing.client import drive, http_scope
from ramkit.testing.lint import ASGILint


async def answered(app, path, raw=None, method="GET", **scope):
    """Status, and what the handler saw, as uvicorn would hand in the path."""
    more = {"raw_path": path.encode() if raw is None else raw, **scope}
    lint = ASGILint(app)
    sent = await drive(lint, http_scope(method, path, **more))
    lint.check()
    return sent[0]["status"], sent[1]["body"].decode() if sent[0]["status"] == 200 else dict(
        sent[0]["headers"]
    )


def showing(name):
    async def show(ctx):
        ctx.text(" ".join([name, *map(repr, ctx.params.values())]))

    return show


@pytest.fixture
def app():
    async def guard(ctx, next):
        ctx.status(403)

    app = RamAPI(openapi=None)
    app.group("/admin", guard).get("/*", showing("admin"))
    app.get("/one/:a", showing("one"))
    app.get("/number/{n:int}", showing("number"))
    app.get("/tail/*rest", showing("tail"))
    app.get("/exact", showing("exact"))
    return app


@pytest.mark.parametrize(
    ("path", "raw", "found"),
    [
        # nothing is resolved: a dot is a segment like any other, for whoever makes a file's name of it
        ("/tail/../admin/x", None, "tail '../admin/x'"),
        ("/tail/../../x", b"/tail/%2e%2e/%2E%2E/x", "tail '../../x'"),
        ("/one/..", b"/one/%2e%2e", "one '..'"),
        ("/one/../admin/x", b"/one/..%2fadmin%2fx", "one '../admin/x'"),
        ("/one/../admin/x", None, 404),
        ("/./exact", None, 404),
        ("/x/../exact", None, 404),
        # an encoded slash separates nothing
        ("/one/a/b", b"/one/a%2Fb", "one 'a/b'"),
        ("/one/a/b", None, 404),
        ("/one//", b"/one/%2F", "one '/'"),
        ("/one/a%2Fb", b"/one/a%252Fb", "one 'a%2Fb'"),
        ("/one/a\\b", b"/one/a%5Cb", "one 'a\\\\b'"),
        ("/exact", b"/%65xact", "exact"),
        ("/tail/a/b/c", b"/tail/a%2Fb/c", "tail 'a/b/c'"),
        # who is guarded stays so, however it is spelt
        ("/admin/x", b"/%61dmin/x", 403),
        ("/admin/x", b"/admin%2Fx", 404),
        ("/admin//x", None, 403),
        ("//admin/x", None, 404),
        ("/ADMIN/x", None, 404),
        # empty segments are no values
        ("/one/", None, 404),
        ("/one//a", None, 404),
        ("//one/a", None, 404),
        ("/tail//", None, "tail '/'"),
        ("/tail/", None, "tail ''"),
        # bytes that are no text; uvicorn makes U+FFFD of what is no UTF-8
        ("/one/\0", b"/one/%00", "one '\\x00'"),
        ("/one/\ufffd", b"/one/%ff", "one '\ufffd'"),
        ("/one/\ufffd/b", b"/one/%ff%2fb", "one '\ufffd/b'"),
        ("/one/a\r\nb", b"/one/a%0d%0ab", "one 'a\\r\\nb'"),
        ("/one/é", b"/one/%C3%A9", "one 'é'"),
        # numbers are digits of ASCII, as many as a 64-bit number has
        ("/number/7", None, "number 7"),
        ("/number/٣", b"/number/%D9%A3", 404),
        ("/number/" + "9" * 30, None, 404),
        ("/number/-1", None, 404),
        ("/number/1_0", None, 404),
        ("/number/ 1", b"/number/%201", 404),
        ("", b"", 404),
        ("*", b"*", 404),
        ("/" * 100_000, None, 404),
        ("/a" * 100_000, None, 404),
        ("/tail/" + "a/" * 50_000, None, "tail " + repr("a/" * 50_000)),
    ],
)  # fmt: skip
async def test_where_a_path_leads(app, path, raw, found):
    status, said = await answered(app, path, raw)
    assert found == (said if status == 200 else status)


@pytest.mark.parametrize(
    "path", ["//evil.example/", "/\\evil.example/", "///evil.example/x/", "/%5Cevil.example/"]
)
async def test_a_slash_too_many_never_leads_to_another_site(path):
    app = RamAPI(openapi=None)
    for template in ("/:a", "/:a/:b", "/x/:a/"):
        app.get(template, showing("x"))
    status, said = await answered(app, path)
    location = said.get(b"location", b"/") if status != 200 else b"/"
    assert not location.startswith((b"//", b"/\\"))
    assert location.startswith(b"/")


async def test_a_redirect_keeps_the_query_and_splits_no_header():
    app = RamAPI(openapi=None)
    app.post("/a/:b", showing("x"))
    status, said = await answered(
        app, "/a/\r\nx: y/", b"/a/%0d%0ax:%20y/", "POST", query_string=b"q=%0d%0a&r"
    )
    assert (status, said[b"location"]) == (307, b"/a/%0D%0Ax:%20y?q=%0d%0a&r")


async def test_mounts_hand_on_the_rest_and_nothing_above_it():
    seen = []

    async def raw(scope, receive, send):
        seen.append((scope["root_path"], scope["path"][len(scope["root_path"]) :]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = RamAPI(openapi=None)
    app.mount("/files", raw)
    app.mount("/t/:id", raw)
    for path, sent in (
        ("/files/../x", None),
        ("/files//x", None),
        ("/files", None),
        ("/files/", None),
        ("/files/a/b", b"/files/a%2Fb"),
        ("/t/a/b/c", b"/t/a%2Fb/c"),
    ):
        assert (await answered(app, path, sent))[0] == 204
    assert seen == [
        ("/files", "/../x"), ("/files", "//x"), ("/files", ""), ("/files", "/"), ("/files", "/a/b"),
        ("/t/a/b", "/c"),
    ]  # fmt: skip
    assert (await answered(app, "/filesx"))[0] == 404
    assert (await answered(app, "/files/x", b"/files%2Fx"))[0] == 404


async def test_below_a_root_path():
    app = RamAPI(openapi=None)
    app.get("/one/:a", showing("one"))
    assert await answered(app, "/api/one/x", root_path="/api") == (200, "one 'x'")
    assert await answered(app, "/one/x", root_path="/api") == (200, "one 'x'")  # a proxy took it away
    assert (await answered(app, "/apix/one/x", root_path="/api"))[0] == 404
    status, said = await answered(app, "/api/one/x/", root_path="/api")
    assert (status, said[b"location"]) == (307, b"/api/one/x")


async def test_methods():
    app = RamAPI()

    async def stamp(ctx, next):
        await next()
        ctx.header("x-group", "1")

    group = app.group("/g", stamp)
    group.get("/a", showing("get"))
    group.put("/a", showing("put"))
    group.post("/:any", showing("post"))
    group.all("/all/x", showing("all"))
    app.websocket("/ws", showing("ws"))

    async def asked(method, path):
        sent = await drive(ASGILint(app), http_scope(method, path))
        headers = dict(sent[0]["headers"])
        return sent[0]["status"], headers.get(b"allow"), headers.get(b"x-group")

    of_a = b"GET, HEAD, OPTIONS, POST, PUT"
    assert await asked("DELETE", "/g/a") == (405, of_a, None)
    assert await asked("OPTIONS", "/g/a") == (204, of_a, b"1")
    assert await asked("HEAD", "/g/a") == (200, None, b"1")
    assert await asked("GET", "/g/b") == (405, b"OPTIONS, POST", None)
    assert await asked("HEAD", "/g/b") == (405, b"OPTIONS, POST", None)
    for method in ("HEAD", "BREW", "*"):
        assert await asked(method, "/g/all/x") == (200, None, b"1")
    for method in ("*", "GETS", "X" * 1000):
        assert await asked(method, "/g/a") == (405, of_a, None)
    assert await asked("OPTIONS", "/nope") == (404, None, None)
    assert await asked("POST", "/ws") == (404, None, None)


async def test_no_parameter_of_a_route_that_was_given_up_is_left():
    app = RamAPI(openapi=None)
    app.get("/{n:int}/x", showing("number"))
    app.get("/{text}/y/:z", showing("text"))
    assert await answered(app, "/7/y/8") == (200, "text '7' '8'")
    assert await answered(app, "/7/x") == (200, "number 7")


async def test_a_middleware_that_rewrites_the_path_is_not_overruled_by_the_raw_one():
    """The route is what was looked up; what stands before it, such as a prefix that is cut off, counts."""

    def cutting(inner):
        async def run(scope, receive, send):
            if scope["type"] == "http":
                scope = {**scope, "path": scope["path"].removeprefix("/v1")}
            await inner(scope, receive, send)

        return run

    app = RamAPI(openapi=None)
    app.get("/one/:a/:b", showing("one"))
    app.add_middleware(cutting)
    assert await answered(app, "/v1/one/a/b", b"/v1/one/a%2Fb") == (200, "one 'a' 'b'")
