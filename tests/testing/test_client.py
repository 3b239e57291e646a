import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from ramkit.testing.client import ASGIClient, drive, http_scope, no_leaks


async def echo(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})


def endless(left):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"chunk", "more_body": True})
        finally:
            left.set()

    return app


async def test_a_request_and_its_answer(asgi_client):
    async def home(request):
        return JSONResponse(
            [request.method, request.scope["raw_path"].decode(), (await request.body()).decode()],
            headers={"set-cookie": "a=1"},
        )

    async with asgi_client(Starlette(routes=[Route("/a b", home, methods=["POST"])])) as client:
        response = await client.post("/a b?q=1", content=b"body")
    assert response.json() == ["POST", "/a%20b", "body"]
    assert response.cookies["a"] == "1"


@pytest.mark.parametrize(
    ("content", "chunks"),
    [
        (None, [(b"", False)]),
        (b"body", [(b"body", False)]),
        ("parts", [(b"a", True), (b"b", True), (b"", False)]),
    ],
)
async def test_the_request_body_comes_as_from_a_server(asgi_client, content, chunks):
    received = []

    async def app(scope, receive, send):
        if scope["type"] == "http":
            while not received or received[-1][1]:
                message = await receive()
                received.append((message["body"], message["more_body"]))
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    async def parts():
        yield b"a"
        yield b"b"

    async with asgi_client(app) as client:
        await client.post("/", content=parts() if content == "parts" else content)
    assert received == chunks


async def test_the_lifespan_runs_and_its_state_is_in_requests(asgi_client):
    seen = []

    @asynccontextmanager
    async def lifespan(app):
        seen.append("started")
        yield {"answer": 42}
        seen.append("ended")

    async def home(request):
        return JSONResponse(request.state.answer)

    async with asgi_client(Starlette(routes=[Route("/", home)], lifespan=lifespan)) as client:
        assert seen == ["started"]
        assert (await client.get("/")).json() == 42
    assert seen == ["started", "ended"]


async def test_a_lifespan_that_fails_fails_the_test(asgi_client):
    @asynccontextmanager
    async def lifespan(app):
        raise ValueError("no database")
        yield

    client = asgi_client(Starlette(lifespan=lifespan))
    with pytest.raises(ValueError, match="no database"):
        await client.__aenter__()
    await client.aclose()


async def test_chunks_arrive_when_they_are_sent_and_the_app_waits_for_its_reader(asgi_client):
    sent = []

    async def numbers():
        for number in range(100):
            sent.append(number)
            yield f"{number};"

    async def home(request):
        return StreamingResponse(numbers())

    app = Starlette(routes=[Route("/", home)])
    async with asgi_client(app) as client, client.stream("GET", "/") as response:
        chunks = response.aiter_text()
        assert await anext(chunks) == "0;"
        assert len(sent) < 10
        assert "".join([chunk async for chunk in chunks]).count(";") == 99


@pytest.mark.parametrize("framework", [False, True])
async def test_an_endless_app_ends_with_its_client(asgi_client, framework):
    left = asyncio.Event()

    async def waiting():
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            left.set()

    async def home(request):
        return StreamingResponse(waiting())

    app = Starlette(routes=[Route("/", home)]) if framework else endless(left)
    async with asgi_client(app) as client:
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_raw())
        assert left.is_set()


async def test_a_background_task_is_done_before_the_response_is_given(asgi_client):
    done = []

    async def home(request):
        return PlainTextResponse("x", background=BackgroundTask(done.append, 1))

    async with asgi_client(Starlette(routes=[Route("/", home)])) as client:
        await client.get("/")
        assert done == [1]


async def test_a_head_response_has_no_body(asgi_client):
    async with asgi_client(echo) as client:
        assert (await client.head("/")).content == b""


async def early(scope, receive, send):
    raise KeyError("before the start")


async def late(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise KeyError("after the start")


@pytest.mark.parametrize(("app", "told"), [(early, "before"), (late, "after")])
async def test_what_an_app_raises_is_raised(asgi_client, app, told):
    async with asgi_client(app) as client:
        with pytest.raises(KeyError, match=told):
            await client.get("/")


async def test_or_is_what_a_server_makes_of_it(asgi_client):
    async with asgi_client(early, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500
    async with asgi_client(late, raise_app_exceptions=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


async def test_a_response_that_never_begins_or_ends_is_an_error(asgi_client):
    async def silent(scope, receive, send):
        pass

    async with asgi_client(silent) as client:
        with pytest.raises(AssertionError, match="before its response was complete"):
            await client.get("/")


async def test_a_task_left_running_fails(asgi_client):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            app.task = asyncio.create_task(asyncio.Event().wait())
            await echo(scope, receive, send)

    with pytest.raises(AssertionError, match=r"tasks left running: .*Event\.wait"):
        async with asgi_client(app) as client:
            await client.get("/")
    assert app.task.cancelled()


async def test_a_task_that_is_about_to_end_does_not():
    event = asyncio.Event()
    async with no_leaks():
        tasks = [asyncio.create_task(event.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        event.set()
        tasks[0].cancel()


async def test_a_request_that_is_cancelled_ends_its_app():
    ended, started = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await receive()
            started.set()
            assert await receive() == {"type": "http.disconnect"}
            ended.set()

    async with ASGIClient(app) as client:
        request = asyncio.create_task(client.get("/"))
        await started.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert ended.is_set()


async def test_drive_returns_what_was_sent():
    messages = [{"type": "http.request", "body": b"x", "more_body": False}]
    assert await drive(echo, http_scope("POST"), messages) == [
        {"type": "http.response.start", "status": 200},
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.body"},
    ]


async def test_drive_disconnects_when_the_response_is_complete():
    received = []

    async def patient(scope, receive, send):
        await echo(scope, receive, send)
        received.append(await receive())

    assert len(await drive(patient, http_scope())) == 3
    assert received == [{"type": "http.disconnect"}]


async def test_drive_keeps_what_was_sent_before_an_error():
    sent = []
    with pytest.raises(KeyError):
        await drive(late, http_scope(), sent=sent)
    assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]


async def test_drive_speaks_websocket():
    async def app(scope, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        assert (await receive())["type"] == "websocket.disconnect"

    assert [each["type"] for each in await drive(app, {"type": "websocket"})] == [
        "websocket.accept",
        "websocket.close",
    ]
