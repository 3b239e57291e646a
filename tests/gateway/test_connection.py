"""The HTTP/1.1 client, against a scripted server: framing, limits, kept connections."""

import asyncio
from types import SimpleNamespace

import pytest

from ramkit.gateway.backends.http import HTTPTransport
from ramkit.gateway.errors import BadRequest, BadResponse, ConnectFailed, UpstreamReset
from ramkit.gateway.port import Request
from tests.gateway.wire import PATIENCE, Peer, Script, answering, scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = Request(b"GET", b"/", [(b"host", b"a")])


def server_of(script: Script) -> SimpleNamespace:
    return SimpleNamespace(scheme="http", host="127.0.0.1", port=int(script.url.rpartition(":")[2]))


@pytest.fixture
async def transport():
    transport = HTTPTransport(max_head=4096)
    yield transport
    await transport.aclose()


async def fetch(transport: HTTPTransport, script: Script, request: Request = GET):
    """Status, headers, body, trailers of the final response."""
    async with asyncio.timeout(PATIENCE):
        link = await transport.connect(server_of(script), 2, idempotent=True, fresh=False)
        error: Exception | None = BadRequest()
        try:
            await link.send(request)
            head = await link.head()
            while head.status < 200:
                head = await link.head()
            body = b""
            while piece := await link.read():
                body += piece
            error = None
            return head.status, head.headers, body, list(link.trailers)
        finally:
            link.done(error)


GOOD = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "no reason": (b"HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n", 299, b""),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\n\r\n",
                200, b"ok"),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok"),
    "until close, 1.0": (b"HTTP/1.0 200 OK\r\n\r\nok", 200, b"ok"),
    "unknown coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\nok", 200, b"ok"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304 with length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b""),
    "interim": (b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "status", "body"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("size", [1, 100_000])
async def test_responses_are_read(transport, raw: bytes, status: int, body: bytes, size: int) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        for start in range(0, len(raw), size):
            await peer.send(raw[start : start + size])

    async with scripted(handle) as script:
        found = await fetch(transport, script)
    assert (found[0], found[2]) == (status, body)


H = b"HTTP/1.1 200 OK\r\n"
BAD = {
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "two lengths": H + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length list": H + b"Content-Length: 2, 2\r\n\r\nok",
    "signed length": H + b"Content-Length: +2\r\n\r\nok",
    "both lengths": H + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "gzip coding": H + b"Transfer-Encoding: gzip\r\n\r\nok",
    "gzip, chunked": H + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "bad chunk size": H + b"Transfer-Encoding: chunked\r\n\r\nxx\r\nok\r\n0\r\n\r\n",
    "bad chunk end": H + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokkk\r\n0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare CR in a value": H + b"X: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": H + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "folded": H + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "space before colon": H + b"X : a\r\nContent-Length: 2\r\n\r\nok",
    "bad name": H + b"X(): a\r\nContent-Length: 2\r\n\r\nok",
    "huge head": H + b"X: " + b"a" * 5000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "many fields": H + b"X: a\r\n" * 1000 + b"Content-Length: 2\r\n\r\nok",
    "huge trailer": H + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
    "huge extension": H + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 600_000,
    "endless interim": b"HTTP/1.1 102 P\r\n\r\n" * 50 + OK,
}  # fmt: skip


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
async def test_what_is_no_response_is_refused_and_the_connection_closed(transport, raw: bytes) -> None:
    closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        closed.set_result(await peer.rest() == b"")

    async with scripted(handle) as script:
        with pytest.raises(BadResponse):
            await fetch(transport, script)
        assert await closed


CUT = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
}


@pytest.mark.parametrize("raw", CUT.values(), ids=CUT)
@pytest.mark.parametrize("reset", [False, True])
async def test_what_breaks_off_is_no_end(transport, raw: bytes, reset: bool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        if reset:
            peer.reset()

    async with scripted(handle) as script:
        with pytest.raises(UpstreamReset):
            await fetch(transport, script)


async def test_a_reset_is_no_end_of_a_body_without_length(transport) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await asyncio.sleep(0.05)  # so that it is read before the reset takes it away
        peer.reset()

    async with scripted(handle) as script:
        with pytest.raises(UpstreamReset):
            await fetch(transport, script)


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        (b"GET", OK),
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_connections_are_kept(transport, method: bytes, raw: bytes) -> None:
    async with answering(raw, OK, raw, OK) as script:
        for _ in range(2):
            await fetch(transport, script, Request(method, b"/", [(b"host", b"a")]))
            assert (await fetch(transport, script))[2] == b"ok"
        assert script.connections == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nConnection: x, Close\r\n\r\n",
    ],
)
async def test_connections_that_end_are_not_kept(transport, raw: bytes) -> None:
    async with answering(raw, OK) as script:
        await fetch(transport, script)
        async with answering(OK) as other:
            await fetch(transport, other)
        await fetch(transport, script)
        assert script.connections == 2


@pytest.mark.parametrize(
    ("method", "raw", "body"),
    [
        (b"GET", OK + b"more", b"ok"),
        (b"GET", OK + OK.replace(b"ok", b"no"), b"ok"),
        (b"GET", H + b"Connection: close\r\nContent-Length: 2\r\n\r\nokmore", b"ok"),
        (b"GET", H + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore", b"ok"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\nmore", b""),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nmore", b""),
        (b"HEAD", OK, b""),
    ],
)
async def test_what_follows_a_response_belongs_to_none(transport, method, raw: bytes, body: bytes) -> None:
    """The response stands, and the connection is not used again."""

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        await peer.rest()

    async with scripted(handle) as script:
        for number in range(3):
            assert (await fetch(transport, script, Request(method, b"/", [(b"host", b"a")])))[2] == body
            while script.tasks:  # which end when the connection is closed
                await asyncio.sleep(0)
            assert script.connections == number + 1


async def test_bytes_while_idle_end_the_connection(transport) -> None:
    told = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await told.wait()
        if script.connections == 1:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await peer.rest()

    async with scripted(handle) as script:
        await fetch(transport, script)
        told.set()
        while script.tasks:
            await asyncio.sleep(0)
        assert (await fetch(transport, script))[2] == b"ok"
        assert script.connections == 2


async def test_a_connection_closed_while_idle_is_not_used_for_what_cannot_be_repeated(transport) -> None:
    async with answering(OK) as script:
        await fetch(transport, script)
        while script.tasks:
            await asyncio.sleep(0)
        link = await transport.connect(server_of(script), 2, idempotent=False, fresh=False)
        assert not link.reused
        link.done(ConnectFailed())


async def test_trailers(transport) -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nTrailer: x-a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
    )
    async with answering(raw) as script:
        assert (await fetch(transport, script))[3] == [(b"x-a", b"1"), (b"x-b", b"2")]


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (GET, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            Request(b"POST", b"/", [(b"host", b"a")]),
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            Request(b"PUT", b"/%2f?q", [(b"host", b"a"), (b"x", b"\xe9")], 3, b"abc"),
            b"PUT /%2f?q HTTP/1.1\r\nhost: a\r\nx: \xe9\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            Request(b"POST", b"/", [(b"host", b"a")], None, b"abc"),
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
    ],
)
async def test_requests_on_the_wire(transport, request_: Request, wanted: bytes) -> None:
    async def handle(peer: Peer) -> None:
        got.set_result(await peer.reader.readexactly(len(wanted)))
        await peer.send(OK)
        await peer.rest()

    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with scripted(handle) as script:
        await fetch(transport, script, request_)
        assert await got == wanted


@pytest.mark.parametrize("pieces", [[b"abcd"], [b"ab"], [b"ab", b"cd"]])
async def test_a_body_of_another_length_is_not_sent(transport, pieces: list[bytes]) -> None:
    async with answering(OK) as script:
        link = await transport.connect(server_of(script), 2, idempotent=True, fresh=False)

        async def send() -> None:
            first, *rest = pieces
            await link.send(Request(b"PUT", b"/", [(b"host", b"a")], 3, first, more=bool(rest)))
            for piece in rest:
                await link.write(piece, more=False)

        with pytest.raises(BadRequest):
            await send()
        link.done(BadRequest())


async def test_idle_connections_to_others_close_at_once(transport) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.rest()

    async with scripted(handle) as one, scripted(handle) as other:
        await fetch(transport, one)
        await fetch(transport, other)
        transport.keep([server_of(other)])
        while one.tasks:
            await asyncio.sleep(0)
        assert other.tasks


async def test_reading_waits_for_the_reader(transport) -> None:
    """No more is read ahead than the buffer takes, and the kernel's own: the server has to wait."""
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)
            sent += 65536

    async with scripted(handle) as script:
        link = await transport.connect(server_of(script), 2, idempotent=True, fresh=False)
        await link.send(GET)
        await link.head()
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 32 * 2**20  # what Linux' own buffers may grow to
        assert len(b"".join(link._chunks)) <= 65536 + 2**18
        link.done(ConnectFailed())
