import asyncio

import httpx
import pytest

from ramkit.testing.servers import NginxServer, ServerUnavailable
from ramkit.testing.servers import nginx as module


async def test_it_forwards_to_an_upstream(nginx_server):
    upstream = nginx_server('location / { return 200 "$http_host $http_x_forwarded_for $request_uri"; }')
    front = nginx_server(upstream=upstream.url)
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{front.url}/path?query")
    peer = "::1" if "[" in front.url else "127.0.0.1"
    assert response.text == f"{front.url.removeprefix('http://')} {peer} /path?query"


async def test_events_pass_one_by_one(nginx_server):
    go = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst")
        await writer.drain()
        await go.wait()
        writer.write(b"second")
        writer.close()
        await writer.wait_closed()

    upstream = await asyncio.start_server(answer, module.loopback(), 0)
    host, port = upstream.sockets[0].getsockname()[:2]
    front = nginx_server(upstream=f"http://{module.netloc(host, port)}")
    async with upstream, httpx.AsyncClient() as client, client.stream("GET", front.url) as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"first"
        go.set()
        assert await anext(chunks) == b"second"


def test_a_mistake_in_the_configuration_is_told(nginx_server):
    nginx_server("return 204;")  # skips where there is none
    with pytest.raises(ServerUnavailable, match='unknown directive "nonsense"'):
        nginx_server("nonsense;")


def test_a_paused_one_does_not_answer(nginx_server):
    server = nginx_server("return 204;")
    assert httpx.get(server.url).status_code == 204
    server.pause()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(server.url, timeout=0.1)
    server.resume()
    assert httpx.get(server.url).status_code == 204


def test_on_a_machine_with_only_ipv6(monkeypatch, ipv6):
    monkeypatch.setattr(module, "loopback", lambda: ipv6)
    with NginxServer.launch("return 204;") as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert httpx.get(server.url).status_code == 204
