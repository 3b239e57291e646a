"""The app's lifespan, and those of what is mounted in it."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from ramkit.router import RamAPI, Router, asgi_middleware
from ramkit.testing.client import ASGIClient
from ramkit.testing.lint import ASGILint


class Order(list[str]):
    """What happened, and lifespans that note it."""

    def of(self, name, *, state=None, fails=""):
        @asynccontextmanager
        async def lifespan(app):
            if fails == "startup":
                raise ValueError(f"{name} has no database")
            self.append(f"+{name}")
            yield state
            # without a finally, as most are written
            self.append(f"-{name}")
            if fails == "shutdown":
                raise ValueError(f"{name} does not close")

        return lifespan


def starlette(lifespan=None):
    async def show(request):
        return JSONResponse(sorted(request.scope.get("state", {}).items()))

    return Starlette(routes=[Route("/", show)], lifespan=lifespan)


async def told(app):
    """What the server hears, startup and shutdown."""
    asked, heard = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}], []

    async def receive():
        return asked.pop(0)

    async def send(message):
        heard.append((message["type"], message.get("message", "")))

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    with suppress(RuntimeError, ValueError):
        await app(scope, receive, send)
    return heard


async def show(ctx):
    ctx.json(sorted(ctx.scope["state"].items()))


async def test_they_start_in_order_and_stop_in_reverse():
    order = Order()

    def noting(app):
        async def run(scope, receive, send):
            if scope["type"] == "lifespan":
                order.append("+middleware")
            await app(scope, receive, send)

        return run

    inner = RamAPI(lifespan=order.of("inner"))
    inner.mount("/deep", ASGILint(starlette(order.of("deep"))))
    group = Router()
    group.mount("/second", starlette(order.of("second")))
    app = RamAPI(lifespan=order.of("app"))
    app.use(asgi_middleware(noting))
    app.mount("/first", ASGILint(inner))
    app.use("/group", group)
    async with ASGIClient(ASGILint(app)):
        names = ["app", "inner", "deep", "second"]
        assert order == ["+middleware", *(f"+{each}" for each in names)]
        order.clear()
    assert order == [f"-{each}" for each in reversed(names)]


async def test_each_has_a_state_of_its_own_over_the_apps():
    order, seen = Order(), []
    app = RamAPI(lifespan=order.of("app", state={"db": "app's", "shared": 1}))

    @app.use
    async def look(ctx, next):
        ctx.state.mine = "the request's"
        await next()
        seen.append(dict(ctx.scope["state"]))

    app.mount("/a", starlette(order.of("a", state={"db": "a's", "only": "a"})))
    app.mount("/b", starlette(order.of("b", state={"db": "b's"})))
    app.mount("/c", starlette())
    app.get("/", show)
    async with ASGIClient(ASGILint(app)) as http:
        mine = ["mine", "the request's"]
        assert (await http.get("/a/")).json() == [["db", "a's"], mine, ["only", "a"], ["shared", 1]]
        assert (await http.get("/b/")).json() == [["db", "b's"], mine, ["shared", 1]]
        for path in ("/c/", "/"):
            assert (await http.get(path)).json() == [["db", "app's"], mine, ["shared", 1]]
    assert seen == [{"db": "app's", "shared": 1, "mine": "the request's"}] * 4


async def test_none_runs_twice():
    order = Order()
    leaf = starlette(order.of("leaf", state={"leaf": True}))
    inner = RamAPI(lifespan=order.of("inner"))
    inner.mount("/leaf", leaf)
    app = RamAPI(lifespan=order.of("app"))
    app.mount("/inner", inner)
    app.mount("/again", inner)
    app.mount("/leaf", leaf)
    inner.mount("/round", app)
    for _ in "ab":  # and it starts anew
        async with ASGIClient(ASGILint(app)) as http:
            for path in ("/inner/leaf/", "/again/leaf/", "/leaf/", "/inner/round/leaf/"):
                assert (await http.get(path)).json() == [["leaf", True]], path
        assert order == ["+app", "+inner", "+leaf", "-leaf", "-inner", "-app"]
        order.clear()


async def test_one_that_knows_no_lifespan_is_fine(tmp_path):
    order = Order()
    (tmp_path / "a.txt").write_text("hello")

    async def deaf(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"raw"})

    async def blind(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"raw"})

    app = RamAPI()
    app.mount("/files", StaticFiles(directory=tmp_path))
    app.mount("/deaf", deaf)
    app.mount("/blind", blind)
    app.mount("/last", starlette(order.of("last")))
    async with ASGIClient(ASGILint(app)) as http:
        assert (await http.get("/files/a.txt")).text == "hello"
        assert [(await http.get(path)).text for path in ("/deaf", "/blind")] == ["raw", "raw"]
        assert order == ["+last"]
    assert order == ["+last", "-last"]


async def test_a_failed_startup_is_told_when_the_others_have_stopped():
    order = Order()
    inner = RamAPI(lifespan=order.of("inner"))
    inner.mount("/bad", starlette(order.of("bad", fails="startup")))
    app = RamAPI(lifespan=order.of("app"))
    app.mount("/first", starlette(order.of("first")))
    app.mount("/inner", inner)
    app.mount("/never", starlette(order.of("never")))
    [(kind, message)] = await told(ASGILint(app))
    assert kind == "lifespan.startup.failed"
    assert all(each in message for each in ("'/inner'", "'/bad'", "bad has no database"))
    assert order == ["+app", "+first", "+inner", "-inner", "-first", "-app"]


async def test_a_failed_shutdown_is_told_when_all_have_stopped():
    order = Order()

    async def dies(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise ValueError("it dies")

    app = RamAPI(lifespan=order.of("app"))
    app.mount("/first", starlette(order.of("first")))
    app.mount("/bad", starlette(order.of("bad", fails="shutdown")))
    app.mount("/dies", dies)
    [started, (kind, message)] = await told(ASGILint(app))
    assert (started[0], kind) == ("lifespan.startup.complete", "lifespan.shutdown.failed")
    assert all(each in message for each in ("'/dies'", "it dies", "'/bad'", "bad does not close"))
    assert order == ["+app", "+first", "+bad", "-bad", "-first", "-app"]


async def test_the_apps_own_failure_starts_nothing_else():
    order = Order()
    app = RamAPI(lifespan=order.of("app", fails="startup"))
    app.mount("/a", starlette(order.of("a")))
    [(kind, message)] = await told(ASGILint(app))
    assert (kind, "app has no database" in message, order) == ("lifespan.startup.failed", True, [])


async def test_a_server_that_gives_up_leaves_no_task():
    order, here = Order(), asyncio.Event()

    async def slow(scope, receive, send):
        here.set()
        await asyncio.Event().wait()

    app = RamAPI(lifespan=order.of("app"))
    app.mount("/first", starlette(order.of("first")))
    app.mount("/slow", slow)
    before = asyncio.all_tasks()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        assert message["type"] == "lifespan.startup.failed"

    serving = asyncio.create_task(app(scope, receive, send))
    await here.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert asyncio.all_tasks() == before
    assert order == ["+app", "+first", "-first"]
