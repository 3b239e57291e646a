"""An upstream that sends what it should not: no client is harmed, and nothing is left behind."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from tests.gateway.wire import PATIENCE, Peer, Script, ask, connected, gateway_to, scripted, serving

GET = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def answer_to(
    handle: Callable[[Peer], Awaitable[None]], request: bytes = GET, **options: object
) -> tuple[bytes, Script]:
    """What a client gets from a gateway before that upstream, without a retry."""
    settings = {"retries": 0, "first_byte_timeout": PATIENCE, "idle_timeout": PATIENCE, **options}
    async with (
        scripted(handle) as script,
        gateway_to(script.url, **settings) as gateway,
        serving(gateway) as url,
    ):
        return await ask(url, request), script


def sends(*pieces: bytes, close: bool = True) -> Callable[[Peer], Awaitable[None]]:
    async def handle(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)
        if not close:
            await peer.rest()

    return handle


# -- what is no response ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x00" * 100,
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 No\r\n\r\n",
        b"HTTP/1.1 600 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b": no name\r\n\r\n",
        OK + b"na me: x\r\n\r\n",
        OK + b"name : x\r\n\r\n",
        OK + b"a: b\r\n folded\r\n\r\n",
        OK + b"a: b\x00c\r\ncontent-length: 0\r\n\r\n",
        OK + b"a: b\rset-cookie: c\r\ncontent-length: 0\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 1, 2\r\n\r\nxx",
        OK + b"content-length: +1\r\n\r\nx",
        OK + b"content-length: 0x1\r\n\r\nx",
        OK + b"content-length: 99999999999999999999999\r\n\r\nx",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        # a head that stops
        b"HTTP/1.1 200",
        OK + b"content-length: 5\r\n",
        # an upgrade that nobody asked for
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw bytes",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    ],
)
async def test_what_is_no_response_is_a_502(response: bytes) -> None:
    answer, script = await answer_to(sends(response))
    assert status_of(answer) == 502
    assert b"application/problem+json" in answer
    # nothing of it reaches the client
    assert b"set-cookie" not in answer
    assert b"folded" not in answer
    assert script.connections == 1


@pytest.mark.parametrize("name", [b"x-a", b"set-cookie"])
async def test_a_control_character_cannot_split_a_response(name: bytes) -> None:
    for evil in (b"a\nset-cookie: evil=1", b"a\r\n\r\nHTTP/1.1 200 OK", b"a\x0bb", b"a\x00b", b"a\x7fb"):
        answer, _ = await answer_to(sends(OK + name + b": " + evil + b"\r\ncontent-length: 2\r\n\r\nok"))
        head = answer.partition(b"\r\n\r\n")[0]
        assert b"\n" not in head.replace(b"\r\n", b"")
        assert not any(char in head for char in (b"\x0b", b"\x00", b"\x7f")), evil


# -- how long and how much -------------------------------------------------------------------------


async def test_a_head_that_never_ends_meets_its_bound() -> None:
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK)
        while True:
            await peer.send(b"x-%d: %b\r\n" % (sent, b"y" * 1000))
            sent += 1000

    answer, _ = await answer_to(handle)
    assert status_of(answer) == 502
    # 64 KiB, and what the kernel's buffers took
    assert sent < 20_000_000


@pytest.mark.parametrize("endless", [b"HTTP/1.1 200 ", OK + b"x-", OK + b"x: "])
async def test_a_line_that_never_ends_meets_its_bound(endless: bytes) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(endless)
        while True:
            await peer.send(b"a" * 10_000)

    answer, _ = await answer_to(handle)
    assert status_of(answer) == 502


async def test_a_trailer_that_never_ends_meets_its_bound() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        while True:
            await peer.send(b"x: %b\r\n" % (b"y" * 1000))

    answer, _ = await answer_to(handle)
    # it had begun: it is broken off, so that nobody takes it for whole
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_chunk_extension_that_never_ends_meets_its_bound() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"transfer-encoding: chunked\r\n\r\n2;a=")
        while True:
            await peer.send(b"a" * 10_000)

    answer, _ = await answer_to(handle)
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_head_that_drips_meets_the_deadline_of_the_first_byte() -> None:
    """Slowloris: each byte in time, and never all of them. A deadline for each read would never pass."""
    dripped = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        while True:
            await peer.send(b"x: y\r\n")
            dripped.set()
            await asyncio.sleep(0.01)

    async with asyncio.timeout(PATIENCE):
        answer, _ = await answer_to(handle, first_byte_timeout=0.3)
    assert dripped.is_set()
    assert status_of(answer) == 504


async def test_an_early_hint_does_not_wait_for_the_response() -> None:
    hinted = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </s.css>\r\n\r\n")
        await hinted.wait()
        await peer.send(OK + b"content-length: 2\r\n\r\nok")

    async with (
        asyncio.timeout(PATIENCE),
        scripted(handle) as script,
        gateway_to(script.url) as gateway,
        serving(gateway) as url,
        connected(url) as peer,
    ):
        await peer.send(GET)
        assert (await peer.head()).startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </s.css>")
        hinted.set()
        assert (await peer.rest()).endswith(b"ok")


async def test_interim_responses_do_not_move_the_deadline() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.05)

    async with asyncio.timeout(PATIENCE):
        answer, _ = await answer_to(handle, first_byte_timeout=0.3)
    *interim, final = answer.split(b"HTTP/1.1 ")[1:]
    assert interim
    assert {each[:3] for each in interim} == {b"102"}
    assert final[:3] in (b"502", b"504")


async def test_a_body_that_the_client_does_not_read_stays_with_the_upstream() -> None:
    """Back-pressure: a server that sends without end fills no memory."""
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK + b"\r\n")
        while True:
            await peer.send(b"x" * 100_000)
            sent += 100_000

    async with (
        scripted(handle) as script,
        gateway_to(script.url, idle_timeout=PATIENCE) as gateway,
        serving(gateway) as url,
        connected(url) as peer,
    ):
        tracemalloc.start()
        try:
            await peer.send(GET)
            await peer.head()
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.2)
            # what the kernel took for four sockets is not the gateway's
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()


# -- lengths that are not true ---------------------------------------------------------------------


async def test_a_long_body_that_ends_early_is_broken_off() -> None:
    answer, _ = await answer_to(sends(OK + b"content-length: 1000000\r\n\r\n" + b"x" * 1000))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: 1000000" in head.lower()
    assert len(body) < 1_000_000


async def test_a_short_body_that_ends_early_is_a_502() -> None:
    answer, _ = await answer_to(sends(OK + b"content-length: 10\r\n\r\nhalf"))
    assert status_of(answer) == 502


async def test_a_chunked_body_that_ends_early_is_broken_off() -> None:
    answer, _ = await answer_to(sends(OK + b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"))
    assert status_of(answer) == 200
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "chunks",
    [
        b"x\r\n",
        b"-1\r\nx\r\n",
        b"2\r\nxyz\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nx",
        b"2\nxy\n0\n\n",
        b"0x2\r\nxy\r\n",
    ],
)
async def test_bad_chunks_are_never_a_whole_response(chunks: bytes) -> None:
    answer, _ = await answer_to(sends(OK + b"transfer-encoding: chunked\r\n\r\n" + chunks))
    assert status_of(answer) == 502 or not answer.endswith(b"0\r\n\r\n")


async def test_what_follows_a_response_reaches_no_other_client() -> None:
    """Response smuggling: the second response answers no request, and must not answer the next one."""
    second = OK + b"content-length: 6\r\n\r\npoison"

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"content-length: 2\r\n\r\nok" + second)
        await peer.request()
        await peer.send(OK + b"content-length: 4\r\n\r\ngood")

    async with scripted(handle) as script, gateway_to(script.url) as gateway, serving(gateway) as url:
        answers = [await ask(url, GET) for _ in range(4)]
    assert not any(b"poison" in answer for answer in answers)


async def test_bytes_sent_between_two_requests_reach_no_client() -> None:
    asked = 0

    async def handle(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            await peer.send(OK + b"content-length: 4\r\n\r\ngood")
            await asyncio.sleep(0)
            await peer.send(OK + b"content-length: 6\r\n\r\npoison")

    async with scripted(handle) as script, gateway_to(script.url) as gateway, serving(gateway) as url:
        for _ in range(20):
            answer = await ask(url, GET)
            assert b"poison" not in answer
    assert asked >= 20


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_a_body_where_there_can_be_none_is_not_passed_on(status: bytes) -> None:
    poison = OK + b"content-length: 6\r\n\r\npoison"
    response = b"HTTP/1.1 " + status + b"\r\ncontent-length: %d\r\n\r\n%b" % (len(poison), poison)
    async with (
        scripted(sends(response, close=False)) as script,
        gateway_to(script.url, retries=0) as gateway,
        serving(gateway) as url,
    ):
        for _ in range(3):
            assert b"poison" not in await ask(url, GET)


async def test_a_body_for_head_is_not_passed_on() -> None:
    response = OK + b"content-length: 6\r\n\r\npoison"
    async with (
        scripted(sends(response, close=False)) as script,
        gateway_to(script.url, retries=0) as gateway,
        serving(gateway) as url,
    ):
        for _ in range(3):
            assert b"poison" not in await ask(url, GET.replace(b"GET", b"HEAD"))


# -- what names the connection, not the message ----------------------------------------------------


async def test_hop_by_hop_fields_of_the_upstream_stay_there() -> None:
    hop = (
        b"connection: x-secret, keep-alive\r\nx-secret: 1\r\nkeep-alive: timeout=9999\r\n"
        b"proxy-authenticate: Basic\r\nupgrade: h2c\r\nproxy-connection: keep-alive\r\n"
    )
    answer, _ = await answer_to(sends(OK + hop + b"content-length: 2\r\nx-kept: 1\r\n\r\nok"))
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"x-kept: 1" in head
    for name in (b"x-secret", b"keep-alive", b"upgrade", b"proxy-connection"):
        assert name not in head, name


async def test_a_cookie_goes_to_whom_it_was_set_for() -> None:
    """No jar: what one client was told is not sent for the next."""
    seen: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(OK + b"set-cookie: sid=first\r\ncontent-length: 2\r\n\r\nok")

    async with scripted(handle) as script, gateway_to(script.url) as gateway, serving(gateway) as url:
        for _ in range(3):
            assert b"sid=first" in await ask(url, GET)
    assert not any(b"cookie" in request.lower() for request in seen)


async def test_a_redirect_is_the_clients_to_follow() -> None:
    answer, script = await answer_to(
        sends(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
    )
    assert status_of(answer) == 302
    assert script.connections == 1
