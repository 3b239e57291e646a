"""Single requests through a gateway: what arrives, deadlines, retries, clients that leave."""

import asyncio
import json
import re

import pytest

from ramkit.gateway import GatewayRequest, GatewayRetry
from ramkit.kernel.client import TrustedProxies
from tests.gateway.wire import PATIENCE, Peer, answering, ask, connected, gateway_to, scripted, serving

OK = b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"


def post(body: bytes, method: bytes = b"POST") -> bytes:
    lines = [method + b" /x HTTP/1.1", b"Host: a.example", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"Connection: close", b"", body])


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def problem_of(answer: bytes) -> dict:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert re.search(rb"\r\ndate: \w{3}, ", head)
    return json.loads(body)


class Upstream:
    """A scripted upstream that keeps what it got and does the same for each connection's first request."""

    def __init__(self, act) -> None:
        self.act, self.got = act, []

    async def __call__(self, peer: Peer) -> None:
        self.got.append(await peer.request())
        if self.act is answer_ok and self.got[-1].startswith(b"HEAD "):
            await peer.send(OK[:-2])
        else:
            await self.act(peer)


async def answer_ok(peer: Peer) -> None:
    await peer.send(OK)


async def close(peer: Peer) -> None:
    pass


async def reset(peer: Peer) -> None:
    peer.reset()


async def silent(peer: Peer) -> None:
    await peer.rest()


# -- what is passed on -------------------------------------------------------------------------------


async def test_the_request_arrives_as_it_was() -> None:
    raw = (
        b"GET /a%2fb/%41?q=%20&q=+&x HTTP/1.1\r\nHost: A.Example:8002\r\n"
        b"X-B: 1\r\nAccept: a\r\nX-B: \xe9 2\r\n"
        b"Cookie: a=1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nUpgrade: x\r\n"
        b"Proxy: evil\r\n"
        b"TE: trailers, gzip\r\nExpect: 100-continue\r\n\r\n"
    )
    upstream = Upstream(answer_ok)
    async with scripted(upstream) as up, gateway_to(up.url) as gateway, serving(gateway) as url:
        answer = await ask(url, raw)
    assert answer.endswith(b"\r\n\r\nok")
    assert upstream.got == [
        b"GET /a%2fb/%41?q=%20&q=+&x HTTP/1.1\r\nhost: A.Example:8002\r\n"
        b"x-b: 1\r\naccept: a\r\nx-b: \xe9 2\r\n"
        b"cookie: a=1\r\n"
        b'forwarded: for=127.0.0.1;host="A.Example:8002";proto=http\r\nx-forwarded-for: 127.0.0.1\r\n'
        b"x-forwarded-proto: http\r\nx-forwarded-host: A.Example:8002\r\nvia: 1.1 ramkit\r\n\r\n"
    ]


async def test_the_response_arrives_as_it_was() -> None:
    raw = (
        b"HTTP/1.1 203 Whatever\r\nSet-Cookie: a=1\r\nX: \xe9\r\nSet-Cookie: b=2\r\n"
        b"Connection: x-hop, keep-alive\r\n"
        b"X-Hop: 1\r\nKeep-Alive: timeout=5\r\nVia: 1.0 other\r\nServer: mine\r\nContent-Length: 2\r\n\r\nok"
    )
    async with answering(raw) as up, gateway_to(up.url) as gateway, serving(gateway) as url:
        answer = await ask(url, GET)
    head, _, body = answer.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    assert start.startswith(b"HTTP/1.1 203 ")
    assert lines[:6] == [
        b"set-cookie: a=1",
        b"x: \xe9",
        b"set-cookie: b=2",
        b"via: 1.0 other",
        b"server: mine",
        b"content-length: 2",
    ]
    assert lines[6].startswith(b"date: ")
    assert lines[7:] == [b"via: 1.1 ramkit", b"connection: close"]
    assert body == b"ok"


async def test_a_trusted_proxy_is_continued() -> None:
    upstream = Upstream(answer_ok)
    raw = (
        GET[:-2]
        + b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n\r\n"
    )
    trusted = TrustedProxies(["127.0.0.1"])
    async with (
        scripted(upstream) as up,
        gateway_to(up.url, trusted=trusted) as gateway,
        serving(gateway) as url,
    ):
        await ask(url, raw)
    (head,) = upstream.got
    assert b"\r\nx-forwarded-for: 203.0.113.7, 127.0.0.1\r\n" in head
    assert b"\r\nx-forwarded-proto: https\r\n" in head
    assert b"\r\nforwarded: for=203.0.113.7;" in head


async def test_bodies_are_streamed_as_they_come() -> None:
    """Both ways, each piece seen on the other side before the next is sent."""

    async def handle(peer: Peer) -> None:
        head = await peer.head()
        assert b"\r\ntransfer-encoding: chunked\r\n" in head
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(3):
            await peer.send(await peer.reader.readexactly(len(b"1\r\na\r\n")))

    async with (
        scripted(handle) as up,
        gateway_to(up.url) as gateway,
        serving(gateway) as url,
        asyncio.timeout(PATIENCE),
        connected(url) as peer,
    ):
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number, piece in enumerate([b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n"]):
            await peer.send(piece)
            if number == 0:
                await peer.head()
            assert await peer.reader.readuntil(b"\r\n" + piece + b"\r\n")


async def test_events_are_not_held_back() -> None:
    ready = asyncio.Semaphore(0)

    async def app(scope, receive, send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        for number in range(5):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await ready.acquire()  # until the client has it
        await send({"type": "http.response.body", "body": b""})

    async with (
        serving(app) as up,
        gateway_to(up) as gateway,
        serving(gateway) as url,
        asyncio.timeout(PATIENCE),
        connected(url) as peer,
    ):
        await peer.send(GET)
        for number in range(5):
            await peer.reader.readuntil(b"data: %d\n\n" % number)
            ready.release()
        await peer.rest()


async def test_interim_responses_and_trailers() -> None:
    raw = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-A: 1\r\n"
        b"Content-Length: 9\r\nConnection: x-b\r\nX-B: 1\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTrailer: x-t\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"
    )
    async with answering(raw) as up, gateway_to(up.url) as gateway, serving(gateway) as url:
        answer = await ask(url, GET)
    interim, final, body = answer.split(b"\r\n\r\n", 2)
    assert interim == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nx-a: 1"
    # uvicorn sends no trailers: they are dropped, and not announced
    assert b"trailer" not in final
    assert body == b"2\r\nok\r\n0\r\n\r\n"


async def test_an_early_answer_ends_the_upload() -> None:
    gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        await peer.rest()
        gone.set_result(True)

    async with (
        scripted(handle) as up,
        gateway_to(up.url) as gateway,
        serving(gateway) as url,
        asyncio.timeout(PATIENCE),
        connected(url) as peer,
    ):
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nbegin")
        await peer.reader.readuntil(b"no!")
        assert await gone  # without the rest of the body


async def test_options_with_no_forwards_left_is_answered_here() -> None:
    async with gateway_to("http://127.0.0.1:9") as gateway, serving(gateway) as url:
        answer = await ask(url, GET.replace(b"GET", b"OPTIONS")[:-2] + b"Max-Forwards: 0\r\n\r\n")
        assert status_of(answer) == 200
        assert b"\r\nallow: GET, " in answer
        answer = await ask(url, GET.replace(b"GET", b"TRACE")[:-2] + b"Max-Forwards: 0\r\n\r\n")
        assert status_of(answer) == 405
        problem_of(answer)


# -- what goes wrong ---------------------------------------------------------------------------------


async def test_errors_are_told_apart() -> None:
    async def slow_body(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf")
        await peer.rest()

    quick = {"retries": 0, "first_byte_timeout": 0.1, "idle_timeout": 0.1, "ejection": None, "breaker": None}
    for act, status, word in [
        (close, 502, "closed the connection"),
        (reset, 502, "closed the connection"),
        (silent, 504, "did not begin its response in time"),
    ]:
        async with (
            scripted(Upstream(act)) as up,
            gateway_to(up.url, **quick) as gateway,
            serving(gateway) as url,
        ):
            answer = await ask(url, GET)
            assert status_of(answer) == status
            assert word in problem_of(answer)["detail"]
    async with gateway_to("http://127.0.0.1:9", **quick) as gateway, serving(gateway) as url:
        answer = await ask(url, GET)
        assert status_of(answer) == 502
        assert "refused" in problem_of(answer)["detail"]
    # the response has begun: it is broken off, and nobody can take it for whole
    async with (
        scripted(Upstream(slow_body)) as up,
        gateway_to(up.url, **quick) as gateway,
        serving(gateway) as url,
    ):
        answer = await ask(url, GET)
        assert status_of(answer) == 200
        assert answer.endswith(b"half")
        assert b"content-length: 100000" in answer


async def test_nobody_in_service_is_a_503_with_retry_after() -> None:
    async with (
        scripted(silent) as up,
        gateway_to(up.url, max_connections=1) as gateway,
        serving(gateway) as url,
        connected(url) as first,
    ):
        await first.send(GET)
        while not up.connections:
            await asyncio.sleep(0)
        answer = await ask(url, GET)
    assert status_of(answer) == 503
    assert b"\r\nretry-after: 1\r\n" in answer
    problem_of(answer)


async def test_a_body_without_end_is_broken_off_for_the_client_as_well() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")

    async with scripted(handle) as up, gateway_to(up.url) as gateway, serving(gateway) as url:
        answer = await ask(url, GET)
    assert answer.endswith(b"4\r\nhalf\r\n")  # and no last chunk


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
@pytest.mark.parametrize("act", [close, reset, silent])
async def test_what_is_idempotent_goes_to_another_server(method: bytes, act) -> None:
    bad, good, events = Upstream(act), Upstream(answer_ok), []
    async with scripted(bad) as one, scripted(good) as other:
        options = {"balance": "round_robin", "first_byte_timeout": 0.2, "observers": [events.append]}
        async with gateway_to(one.url, other.url, **options) as gateway, serving(gateway) as url:
            answer = await ask(url, post(b"body", method))
    assert status_of(answer) == 200
    assert len(bad.got) == len(good.got) == 1
    assert bad.got == good.got
    assert bad.got[0].endswith(b"\r\n\r\nbody")
    assert [type(event) for event in events].count(GatewayRetry) == 1
    assert GatewayRequest("origin", "answered", "2xx") in events


@pytest.mark.parametrize("act", [close, reset, silent])
async def test_what_is_not_idempotent_is_never_sent_twice(act) -> None:
    bad, good = Upstream(act), Upstream(answer_ok)
    async with scripted(bad) as one, scripted(good) as other:
        options = {"balance": "round_robin", "first_byte_timeout": 0.2, "retries": 3}
        async with gateway_to(one.url, other.url, **options) as gateway, serving(gateway) as url:
            answer = await ask(url, post(b"body"))
    assert status_of(answer) == (504 if act is silent else 502)
    assert (len(bad.got), len(good.got)) == (1, 0)


async def test_what_was_never_sent_goes_to_another_server_whatever_it_is() -> None:
    good = Upstream(answer_ok)
    async with (
        scripted(good) as up,
        gateway_to("http://127.0.0.1:9", up.url, balance="round_robin") as gateway,
        serving(gateway) as url,
    ):
        for _ in range(2):
            assert status_of(await ask(url, post(b"body"))) == 200
    assert len(good.got) == 2


async def test_nothing_is_sent_again_once_the_response_has_begun() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf")

    good = Upstream(answer_ok)
    async with (
        scripted(handle) as one,
        scripted(good) as other,
        gateway_to(one.url, other.url, balance="round_robin", retries=3) as gateway,
        serving(gateway) as url,
    ):
        answer = await ask(url, GET)
    assert answer.endswith(b"half")
    assert good.got == []


async def test_a_short_response_that_breaks_off_is_asked_for_elsewhere() -> None:
    """Its client has seen nothing of it. What is not idempotent is not held: it could not be repeated."""

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    good = Upstream(answer_ok)
    async with (
        scripted(handle) as one,
        scripted(good) as other,
        gateway_to(one.url, other.url, balance="round_robin") as gateway,
        serving(gateway) as url,
    ):
        assert (await ask(url, GET)).endswith(b"ok")
        answers = [await ask(url, post(b"body")) for _ in range(2)]
    assert sorted(answer.endswith(b"half") for answer in answers) == [False, True]
    assert len(good.got) == 2


async def test_a_large_body_is_not_kept_for_a_second_time() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(100_000)

    good = Upstream(answer_ok)
    async with (
        scripted(handle) as one,
        scripted(good) as other,
        gateway_to(one.url, other.url, balance="round_robin", retries=3) as gateway,
        serving(gateway) as url,
    ):
        answer = await ask(url, post(b"x" * 100_000, b"PUT"))
    assert status_of(answer) == 502
    assert good.got == []


async def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    """The server closes just as the second request arrives: it goes out again, over a new connection."""

    async def handle(peer: Peer) -> None:
        got.append(await peer.request())
        await peer.send(OK)
        got.append(await peer.request())
        if up.connections > 1:
            await peer.send(OK)

    got: list[bytes] = []
    events: list[object] = []
    async with (
        scripted(handle) as up,
        gateway_to(up.url, observers=[events.append]) as gateway,
        serving(gateway) as url,
    ):
        for _ in range(2):
            assert status_of(await ask(url, GET)) == 200
    assert up.connections == 2
    assert len(got) == 3
    assert not any(isinstance(event, GatewayRetry) for event in events)


# -- clients that leave ------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["waiting", "streaming", "uploading"])
async def test_a_client_that_leaves_ends_the_upstreams_work(when: str) -> None:
    began, gone = asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        began.set()
        if when == "streaming":
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\npiece")
        await peer.rest()
        gone.set()

    events: list[object] = []
    async with scripted(handle) as up, gateway_to(up.url, observers=[events.append]) as gateway:
        async with serving(gateway) as url, asyncio.timeout(PATIENCE):
            async with connected(url) as peer:
                if when == "uploading":
                    await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegin")
                else:
                    await peer.send(GET)
                await began.wait()
                if when == "streaming":
                    await peer.reader.readuntil(b"piece")
            await gone.wait()
            while not events or not isinstance(events[-1], GatewayRequest):
                await asyncio.sleep(0)
        (end,) = [event for event in events if isinstance(event, GatewayRequest)]
        assert end.outcome == "abandoned"
        members = gateway._plan.groups["origin"].members
        assert [member.outstanding for member in members] == [0]


@pytest.mark.parametrize(
    ("method", "begin"), [(b"POST", b"begin"), (b"POST", b""), (b"PUT", b"begin"), (b"PUT", b"")]
)
async def test_a_client_that_stops_sending_is_told(method: bytes, begin: bytes) -> None:
    async with (
        scripted(silent) as up,
        gateway_to(up.url, idle_timeout=0.1) as gateway,
        serving(gateway) as url,
    ):
        raw = method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + begin
        answer = await ask(url, raw)
    assert status_of(answer) == 408
    assert b"\r\nconnection: close" in answer


async def test_a_slow_client_holds_the_upstream_back() -> None:
    """And a deadline for the upstream is not the client's."""
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 2**20))
        for _ in range(1024):
            await peer.send(b"x" * 65536)
            sent += 65536

    async with (
        scripted(handle) as up,
        gateway_to(up.url, idle_timeout=0.2) as gateway,
        serving(gateway) as url,
        asyncio.timeout(PATIENCE),
        connected(url) as peer,
    ):
        await peer.send(GET)
        await peer.head()
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.5)
        assert sent < 64 * 2**20
        assert len(await peer.rest()) == 64 * 2**20


async def test_a_slow_upstream_holds_the_client_back() -> None:
    go, sent = asyncio.Event(), 0

    async def handle(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        await peer.reader.readexactly(64 * 2**20)
        await peer.send(OK)

    async def upload(peer: Peer) -> None:
        nonlocal sent
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * 2**20))
        for _ in range(1024):
            await peer.send(b"x" * 65536)
            sent += 65536

    async with (
        scripted(handle) as up,
        gateway_to(up.url) as gateway,
        serving(gateway) as url,
        asyncio.timeout(PATIENCE),
        connected(url) as peer,
    ):
        uploading = asyncio.create_task(upload(peer))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 64 * 2**20
        go.set()
        await uploading
        assert (await peer.head()).startswith(b"HTTP/1.1 200")
