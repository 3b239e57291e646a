"""What requests are smuggled with, by raw sockets through the server that `ramkit gateway` runs.

Each is answered with an error and never reaches the upstream. Where uvicorn's parser refuses, the 400 is
its own; where that lets something through, the gateway's is problem+json.
"""

import asyncio

import pytest

from tests.gateway.wire import PATIENCE, Peer, ask, connected, gateway_to, scripted, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def through(raw: bytes, **options) -> tuple[bytes, list[bytes]]:
    """What came back, and the heads that the upstream got."""
    heads: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while True:
            heads.append(await peer.request())
            await peer.send(OK)

    async with scripted(handle) as up, gateway_to(up.url, **options) as gateway, serving(gateway) as url:
        return await ask(url, raw), heads


def request(*lines: bytes, body: bytes = b"", start: bytes = b"GET /x HTTP/1.1") -> bytes:
    return b"\r\n".join([start, *lines, b"Connection: close", b"", body])


HOST = b"Host: a.example"
POST = b"POST /x HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
REFUSED = {
    "both lengths": request(HOST, b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n", start=POST),
    "both, the other way": request(HOST, CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n", start=POST),
    "two lengths": request(HOST, b"Content-Length: 4", b"Content-Length: 5", body=b"abcde", start=POST),
    "one length twice": request(HOST, b"Content-Length: 4", b"Content-Length: 4", body=b"abcd", start=POST),
    "a list of lengths": request(HOST, b"Content-Length: 4, 4", body=b"abcd", start=POST),
    "a signed length": request(HOST, b"Content-Length: +4", body=b"abcd", start=POST),
    "a huge length": request(HOST, b"Content-Length: 99999999999999999999999", body=b"abcd", start=POST),
    "hexadecimal length": request(HOST, b"Content-Length: 0x4", body=b"abcd", start=POST),
    "empty length": request(HOST, b"Content-Length: ", body=b"abcd", start=POST),
    "chunked twice": request(HOST, CHUNKED, CHUNKED, body=b"0\r\n\r\n", start=POST),
    "chunked, chunked": request(HOST, b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n", start=POST),
    "chunked, more": request(HOST, b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n", start=POST),
    "another coding": request(HOST, b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n", start=POST),
    "x-chunked": request(HOST, b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n", start=POST),
    "chunked with a tab": request(HOST, b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n", start=POST),
    "chunked of 1.0": request(HOST, CHUNKED, body=b"0\r\n\r\n", start=b"POST /x HTTP/1.0"),
    "bad chunk size": request(HOST, CHUNKED, body=b"xyz\r\n", start=POST),
    "0x chunk size": request(HOST, CHUNKED, body=b"0x2\r\nab\r\n0\r\n\r\n", start=POST),
    "chunk without CR": request(HOST, CHUNKED, body=b"2\nab\n0\n\n", start=POST),
    "chunk longer than said": request(HOST, CHUNKED, body=b"2\r\nabcd\r\n0\r\n\r\n", start=POST),
    "two Hosts": request(HOST, b"Host: b.example"),
    "the same Host twice": request(HOST, HOST),
    "no Host": request(),
    "empty Host": request(b"Host: "),
    "Host with userinfo": request(b"Host: a.example@b.example"),
    "Host with a port that is none": request(b"Host: a.example:65536"),
    "Host with an address that is none": request(b"Host: [::::]"),
    "of a WebSocket, too": request(b"Host: a:99999", b"Connection: upgrade", b"Upgrade: websocket",
                                   b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + b"A" * 22 + b"=="),
    "Host with a path": request(b"Host: a.example/b"),
    "Host with a space": request(b"Host: a.example b"),
    "Hosts in a list": request(b"Host: a.example, b.example"),
    "Host with a bad port": request(b"Host: a.example:80x"),
    "Host that is not ASCII": request(b"Host: \xc3\xa9.example"),
    "space in a name": request(HOST, b"X Y: 1"),
    "space before the colon": request(HOST, b"X-Y : 1"),
    "tab before the colon": request(HOST, b"X-Y\t: 1"),
    "no colon": request(HOST, b"X-Y"),
    "empty name": request(HOST, b": 1"),
    "folded line": request(HOST, b"X-Y: 1", b" 2"),
    "folded with a tab": request(HOST, b"X-Y: 1", b"\t2"),
    "space before the first field": request(b" " + HOST),
    "bare CR": request(HOST, b"X-Y: 1\rX-Z: 2"),
    "NUL": request(HOST, b"X-Y: 1\x002"),
    "control character": request(HOST, b"X-Y: 1\x012"),
    "bare LF": b"GET /x HTTP/1.1\nHost: a.example\n\n",
    "LF CR": request(HOST, b"X-Y: 1\n\rX-Z: 2"),
    "space in the target": request(HOST, start=b"GET /x y HTTP/1.1"),
    "NUL in the target": request(HOST, start=b"GET /x\x00y HTTP/1.1"),
    "not ASCII in the target": request(HOST, start=b"GET /\xc3\xa9 HTTP/1.1"),
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "HTTP/1.2": request(HOST, start=b"GET /x HTTP/1.2"),
    "no method": request(HOST, start=b" /x HTTP/1.1"),
    "odd method": request(HOST, start=b"G@T /x HTTP/1.1"),
    "CONNECT": request(HOST, start=b"CONNECT b.example:443 HTTP/1.1"),
    "authority form": request(HOST, start=b"GET b.example:80 HTTP/1.1"),
    "asterisk of GET": request(HOST, start=b"GET * HTTP/1.1"),
    "dot segments": request(HOST, start=b"GET /x/../y HTTP/1.1"),
    "dot segments, encoded": request(HOST, start=b"GET /x/%2e%2E/y HTTP/1.1"),
}  # fmt: skip


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
async def test_never_reaches_the_upstream(raw: bytes) -> None:
    answer, heads = await through(raw)
    assert heads == []
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404, 501, 505)
    if b"problem+json" not in answer:
        assert answer.startswith(b"HTTP/1.1 400")  # uvicorn's


async def test_after_what_was_refused_nothing_of_the_connection_is_read() -> None:
    """The request that was hidden in the first one's body."""
    hidden = b"GET /admin HTTP/1.1\r\nHost: a.example\r\n\r\n"
    first = request(HOST, b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n", start=POST)
    answer, heads = await through(first + hidden)
    assert heads == []
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_refusal_of_the_gateways_own_ends_the_connection() -> None:
    answer, heads = await through(
        b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert b"problem+json" in answer
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert heads == []


@pytest.mark.parametrize(
    "target", [b"http://evil.example/x", b"http://a.example@evil.example/x", b"https://evil.example:1/x"]
)
async def test_an_absolute_uri_chooses_nothing(target: bytes) -> None:
    _, heads = await through(request(HOST, start=b"GET " + target + b" HTTP/1.1"))
    for head in heads:  # to the upstream of the description, in origin form, or nowhere
        assert head.startswith(b"GET /x HTTP/1.1\r\n")
        assert b"\r\nhost: a.example\r\n" in head
        assert b"evil" not in head


async def test_trailers_are_no_header_fields() -> None:
    body = b"2\r\nab\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: x\r\nHost: evil.example\r\n\r\n"
    _, heads = await through(request(HOST, CHUNKED, body=body, start=POST))
    (head,) = heads
    assert b"6.6.6.6" not in head
    assert b"authorization" not in head
    assert b"evil" not in head


async def test_pipelined_requests_are_told_apart() -> None:
    one = b"POST /1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
    answer, heads = await through(one + request(HOST, start=b"GET /2 HTTP/1.1"))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [head.split(b" ")[1] for head in heads] == [b"/1", b"/2"]


async def test_names_with_an_underscore_are_no_way_around() -> None:
    _, heads = await through(request(HOST, b"X_Forwarded_For: 6.6.6.6", b"Content_Length: 3", b"X_Other: 1"))
    (head,) = heads
    assert b"6.6.6.6" not in head
    assert b"content_length" not in head
    assert b"x_other: 1" in head


@pytest.mark.parametrize("size", [10_000, 1_000_000])
async def test_heads_are_bounded(size: int) -> None:
    answer, heads = await through(request(HOST, b"X-Y: " + b"a" * size))
    assert answer.startswith(b"HTTP/1.1 200" if size == 10_000 else b"HTTP/1.1 431")
    assert len(heads) == (size == 10_000)


@pytest.mark.parametrize("raw", [b"", b"GET /x HT", b"GET /x HTTP/1.1\r\nHost: a\r\n"])
async def test_a_head_that_does_not_end_is_not_waited_for(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramkit.gateway.server.Protocol.head_timeout", 0.05)
    assert await through(raw) == (b"", [])


async def test_an_endless_head_is_cut_off() -> None:
    async def feed(peer: Peer) -> None:
        await peer.send(b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ")
        while True:
            await peer.send(b"a" * 10_000)
            await asyncio.sleep(0)

    async with (
        asyncio.timeout(PATIENCE),
        gateway_to("http://127.0.0.1:9") as gateway,
        serving(gateway) as url,
        connected(url) as peer,
    ):
        feeding = asyncio.create_task(feed(peer))
        await peer.rest()
        with pytest.raises(ConnectionError):
            await feeding
