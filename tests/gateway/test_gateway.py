"""The gateway as a whole: routes, balancing keys, health checks, reload, TLS, events."""

import asyncio

import pytest
import trustme
from websockets.asyncio.client import connect

from ramkit.gateway import Gateway, GatewayEjection, GatewayRequest, HealthCheck, Route, Upstream
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import no_leaks
from tests.gateway.wire import PATIENCE, Peer, ask, gateway_to, scripted, serving


def get(path: str = "/", host: str = "a.example", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode()


def named(name: str):
    """An app that answers with its name and its path; /health with 200 or, once broken, 503."""

    async def app(scope, receive, send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": name})
            await receive()
            return
        status = 503 if app.broken and scope["path"] == "/health" else 200
        app.checks += scope["path"] == "/health"
        body = f"{name} {scope['raw_path'].decode()}".encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    app.broken, app.checks = False, 0
    return app


async def who(url: str, *args: str) -> str:
    answer = await ask(url, get(*args))
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return answer.decode().split("\r\n")[-4]  # the only chunk


async def test_routes_by_host_and_path() -> None:
    async with serving(named("one")) as one, serving(named("two")) as two, no_leaks():
        upstreams = [Upstream("one", [one]), Upstream("two", [two])]
        routes = [
            Route("/users/*", "one", strip_prefix=True),
            Route("/orders/*", "two"),
            Route("/*", "two", host="b.example"),
        ]
        gateway = Gateway(upstreams, routes)
        async with serving(gateway) as url:
            assert await who(url, "/users/7%2f8?q=1") == "one /7%2f8"
            assert await who(url, "/orders/1") == "two /orders/1"
            assert await who(url, "/anything", "b.example:80") == "two /anything"
            assert (await ask(url, get("/anything"))).startswith(b"HTTP/1.1 404 ")
            assert (await ask(url, get("/usersx"))).startswith(b"HTTP/1.1 404 ")
        await gateway.aclose()


@pytest.mark.parametrize(
    ("hash_on", "requests"),
    [
        ("path", [(f"/{n}", "a", "") for n in range(16)]),
        ("header:X-User", [("/", "a", f"X-User: {n}\r\n") for n in range(16)]),
        ("client", [("/", "a", f"X-Forwarded-For: 203.0.113.{n}\r\n") for n in range(16)]),
    ],
)
async def test_consistent_hash_by_key(hash_on: str, requests: list[tuple[str, str, str]]) -> None:
    from ramkit.kernel.client import TrustedProxies

    async with serving(named("one")) as one, serving(named("two")) as two:
        options = {"balance": "consistent_hash", "hash_on": hash_on, "trusted": TrustedProxies(["127.0.0.1"])}
        async with gateway_to(one, two, **options) as gateway, serving(gateway) as url:
            first = [(await who(url, *each)).split()[0] for each in requests]
            again = [(await who(url, *each)).split()[0] for each in reversed(requests)]
    assert first == again[::-1]
    assert set(first) == {"one", "two"}


async def test_a_server_that_fails_its_checks_gets_nothing_until_it_passes_them() -> None:
    sick, well = named("sick"), named("well")
    sick.broken = True
    health = HealthCheck(path="/health", interval=0.1, healthy=1, unhealthy=1)
    async with (
        serving(sick) as one,
        serving(well) as two,
        gateway_to(one, two, balance="round_robin", health=health) as gateway,
        serving(gateway, lifespan="on") as url,
        asyncio.timeout(PATIENCE),
    ):
        members = gateway._plan.groups["origin"].members
        while members[0].healthy:
            await asyncio.sleep(0.01)
        assert {(await who(url)).split()[0] for _ in range(6)} == {"well"}
        sick.broken = False
        while not members[0].healthy:
            await asyncio.sleep(0.01)
        seen = set()
        while len(seen) < 2:  # it comes back little by little
            seen.add((await who(url)).split()[0])


async def test_reload_takes_the_checks_along() -> None:
    one, two = named("one"), named("two")
    health = HealthCheck(path="/health", interval=0.1)
    async with serving(one) as first, serving(two) as second, no_leaks(), asyncio.timeout(PATIENCE):
        gateway = Gateway([Upstream("x", [first], health=health)])
        await gateway.start()
        while not one.checks:
            await asyncio.sleep(0.01)
        gateway.reload([Upstream("x", [second], health=health)])
        while two.checks < 2:
            await asyncio.sleep(0.01)
        before = one.checks
        while two.checks < 6:
            await asyncio.sleep(0.01)
        assert one.checks <= before + 1  # the last of the old ones may have been under way
        await gateway.aclose()


async def test_a_reload_with_a_mistake_changes_nothing() -> None:
    async with serving(named("one")) as one, gateway_to(one) as gateway, serving(gateway) as url:
        with pytest.raises(ConfigurationError, match="routes"):
            gateway.reload([Upstream("x", ["http://127.0.0.1:9"])], [Route("/", "y")])
        assert await who(url) == "one /"


async def test_connections_that_a_reload_makes_useless_are_closed() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async with (
        scripted(handle) as old,
        scripted(handle) as new,
        gateway_to(old.url) as gateway,
        serving(gateway) as url,
        asyncio.timeout(PATIENCE),
    ):
        await ask(url, get())
        gateway.reload([Upstream("origin", [new.url])])
        while old.tasks:
            await asyncio.sleep(0)
        await ask(url, get())
        assert (old.connections, new.connections) == (1, 1)


async def test_upstreams_over_tls_are_verified(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    files = {"ssl_certfile": str(tmp_path / "server.pem")}
    async with serving(named("tls"), **files) as up:
        server = up.replace("http://127.0.0.1", "https://localhost")
        async with gateway_to(server, retries=0) as gateway, serving(gateway) as url:
            assert (await ask(url, get())).startswith(b"HTTP/1.1 502 ")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with gateway_to(server) as gateway, serving(gateway) as url:
            assert await who(url) == "tls /"
            async with connect(url.replace("http", "ws")) as ws:
                assert await ws.recv() == "tls"
        # the name is the server's in the description, whatever Host the client sent
        other = up.replace("http://127.0.0.1", "https://127.0.0.1")
        async with gateway_to(other, retries=0) as gateway, serving(gateway) as url:
            assert (await ask(url, get(host="localhost"))).startswith(b"HTTP/1.1 502 ")


async def test_observers_hear_of_requests_and_ejections() -> None:
    events: list[object] = []
    async with (
        gateway_to("http://127.0.0.1:9", observers=[events.append], retries=0) as gateway,
        serving(gateway) as url,
    ):
        await ask(url, get())
    assert GatewayRequest("origin", "error", "5xx") in events
    assert not any(isinstance(event, GatewayEjection) for event in events)  # there is no other server


@pytest.mark.parametrize("options", [{"via": "a b"}, {"via": ""}, {"max_message": 0}, {"observers": [1]}])
def test_mistakes_are_found_at_construction(options: dict) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Gateway([Upstream("x", ["http://a"])], **options)
    with pytest.raises(ConfigurationError, match="routes"):
        Gateway([Upstream("x", ["http://a"]), Upstream("y", ["http://b"])])
