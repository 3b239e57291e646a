"""WebSockets through the gateway, by a real client and real servers on both sides."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ramkit.testing.lint import ASGILint
from tests.gateway.wire import gateway_to, scripted, serving


def on(url: str) -> str:
    return url.replace("http://", "ws://")


class Recorder:
    """An app that accepts, echoes, and keeps the scope and the code of the end."""

    def __init__(self, **accept) -> None:
        self.accept = accept
        self.scope: dict = {}
        self.end: asyncio.Future = asyncio.get_running_loop().create_future()

    async def __call__(self, scope, receive, send) -> None:
        self.scope = scope
        await receive()
        await send({"type": "websocket.accept", **self.accept})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "close":
                await send({"type": "websocket.close", "code": 4321, "reason": "as you wish"})
                return
            await send(
                {"type": "websocket.send", **{k: v for k, v in message.items() if k in ("text", "bytes")}}
            )
        self.end.set_result((message.get("code"), message.get("reason")))


async def test_messages_go_both_ways() -> None:
    app = Recorder(headers=[(b"x-app", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
    async with (
        serving(app) as up,
        gateway_to(up) as gateway,
        serving(ASGILint(gateway)) as url,
        connect(f"{on(url)}/a%2Fb?q=%20", additional_headers=[("X-Me", "1"), ("X-Me", "2")]) as ws,
    ):
        for message in ("text", b"\x00bytes", "", b"", "é" * 1000):
            await ws.send(message)
            assert await ws.recv() == message
        assert ws.response is not None
        assert ws.response.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert ws.response.headers["x-app"] == "1"
        assert ws.response.headers.get_all("sec-websocket-accept") == [
            ws.response.headers["sec-websocket-accept"]
        ]
    headers = app.scope["headers"]
    assert app.scope["raw_path"] == b"/a%2Fb"
    assert app.scope["query_string"] == b"q=%20"
    assert [value for name, value in headers if name == b"x-me"] == [b"1", b"2"]
    assert [value for name, value in headers if name == b"host"] == [url.removeprefix("http://").encode()]
    assert dict(headers)[b"x-forwarded-proto"] == b"http"
    assert dict(headers)[b"via"] == b"1.1 ramkit"
    # never those of the client's own handshake: that one wanted permessage-deflate
    assert b"sec-websocket-extensions" not in dict(headers)


async def test_the_subprotocol_is_the_upstreams_choice() -> None:
    app = Recorder(subprotocol="b")
    async with (
        serving(app) as up,
        gateway_to(up) as gateway,
        serving(gateway) as url,
        connect(on(url), subprotocols=[Subprotocol("a"), Subprotocol("b")]) as ws,
    ):
        assert ws.subprotocol == "b"
    assert app.scope["subprotocols"] == ["a", "b"]


async def test_the_upstreams_close_code_reaches_the_client() -> None:
    async with (
        serving(Recorder()) as up,
        gateway_to(up) as gateway,
        serving(gateway) as url,
        connect(on(url)) as ws,
    ):
        await ws.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as you wish")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (3456, "bye"), (1001, "going")])
async def test_the_clients_close_code_reaches_the_upstream(code: int, reason: str) -> None:
    app = Recorder()
    async with serving(app) as up, gateway_to(up) as gateway, serving(gateway) as url:
        async with connect(on(url)) as ws:
            await ws.close(code, reason)
        assert await app.end == (code, reason)


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    app = Recorder()
    async with serving(app) as up, gateway_to(up) as gateway, serving(gateway) as url:
        ws = await connect(on(url))
        ws.transport.abort()
        code, _ = await app.end
        assert code in (1000, 1001, 1005)


async def test_a_refusal_is_answered_as_http() -> None:
    async def app(scope, receive, send) -> None:
        await receive()
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"who are you?"})

    async with serving(app) as up, gateway_to(up) as gateway, serving(gateway) as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(on(url))
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["www-authenticate"] == "Bearer"
    assert refused.value.response.body == b"who are you?"


async def test_redirects_are_passed_on_and_not_followed() -> None:
    seen: list[bytes] = []

    async def handle(peer) -> None:
        seen.append(await peer.head())
        await peer.send(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n")

    async with scripted(handle) as up, gateway_to(up.url) as gateway, serving(gateway) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 302")
    assert len(seen) == 1
    assert b"\r\nhost: a.example\r\n" in seen[0].lower()


async def test_nobody_there_is_a_502() -> None:
    async with gateway_to("http://127.0.0.1:9", retries=0) as gateway, serving(gateway) as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(on(url))
    assert refused.value.response.status_code == 502


async def test_an_upstream_that_dies_is_told_from_one_that_closes() -> None:
    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        raise RuntimeError("died")

    async with (
        serving(app) as up,
        gateway_to(up) as gateway,
        serving(gateway) as url,
        connect(on(url)) as ws,
    ):
        await ws.send("x")
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1014


@pytest.mark.parametrize("towards", ["client", "upstream"])
async def test_messages_are_bounded(towards: str) -> None:
    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if towards == "client":
            await send({"type": "websocket.send", "bytes": b"x" * 1001})
        await receive()

    async with (
        serving(app) as up,
        gateway_to(up, max_message=1000) as gateway,
        serving(gateway) as url,
        connect(on(url)) as ws,
    ):
        if towards == "upstream":
            await ws.send(b"x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
