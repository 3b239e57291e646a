"""What probes are told."""

import asyncio
import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ramkit.health import Check, HealthMiddleware
from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope
from tests.health.counting import Counted

TOKEN = "a-token-of-some-length"


def broken():
    raise RuntimeError("postgres://user:secret@db is away")


async def hello(request):
    return PlainTextResponse("hello")


def app(**options):
    return HealthMiddleware(Starlette(routes=[Route("/", hello)]), **options)


async def statuses(asgi_client, **options):
    async with asgi_client(app(**options)) as client:
        return {path: (await client.get(path)).status_code for path in ("/health", "/livez", "/readyz", "/")}


async def test_without_checks_all_is_well(asgi_client) -> None:
    assert await statuses(asgi_client) == {"/health": 200, "/livez": 200, "/readyz": 200, "/": 200}


async def test_a_critical_check_makes_it_unready_and_no_less_alive(asgi_client) -> None:
    found = await statuses(asgi_client, checks=[Check("db", broken)])
    assert found == {"/health": 503, "/livez": 200, "/readyz": 503, "/": 200}


async def test_a_live_check_has_it_started_anew(asgi_client) -> None:
    found = await statuses(asgi_client, checks=[Check("loop", broken, critical=False, live=True)])
    assert found == {"/health": 200, "/livez": 503, "/readyz": 200, "/": 200}


async def test_what_is_not_critical_is_a_warning(asgi_client) -> None:
    async with asgi_client(app(checks=[Check("cache", broken, critical=False)])) as client:
        whole, ready = await client.get("/health"), await client.get("/readyz")
    assert (whole.status_code, whole.json()) == (200, {"status": "warn"})
    assert (ready.status_code, ready.json()) == (200, {"status": "pass"})


async def test_a_failure_says_nothing_to_strangers(asgi_client) -> None:
    async with asgi_client(app(checks=[Check("db", broken)], detail_token=TOKEN)) as client:
        answers = [
            await client.get("/health"),
            await client.get("/health", headers={"authorization": "Bearer wrong"}),
            await client.get("/health", headers={"authorization": f"Basic {TOKEN}"}),
            await client.get("/health", headers={"authorization": "Bearer é".encode()}),
        ]
    assert {answer.text for answer in answers} == {'{"status": "fail"}'}
    assert answers[0].headers["content-type"] == "application/health+json"
    assert answers[0].headers["cache-control"] == "no-store"
    assert answers[0].headers["retry-after"] == "1"


async def test_detail_for_who_has_the_token(asgi_client, clock) -> None:
    checks = [Check("db", broken), Check("disk", lambda: {"free": 12})]
    async with asgi_client(app(checks=checks, detail_token=TOKEN, clock=clock)) as client:
        answer = await client.get("/health", headers={"authorization": f"bearer {TOKEN}"})
    said = answer.json()
    assert said["status"] == "fail"
    (db,) = said["checks"]["db"]
    assert db["status"] == "fail"
    assert db["output"] == "RuntimeError: postgres://user:secret@db is away"
    (disk,) = said["checks"]["disk"]
    assert disk["status"] == "pass"
    assert disk["free"] == 12
    assert disk["observedUnit"] == "ms"
    assert "output" not in disk


async def test_detail_by_address(asgi_client) -> None:
    options = {
        "checks": [Check("db", broken)],
        "detail_to": ["10.0.0.0/8"],
        "proxies": TrustedProxies(["192.0.2.1"]),
    }

    async def seen(peer, **headers):
        async with asgi_client(app(**options), client=(peer, 1234)) as client:
            return "checks" in (await client.get("/health", headers=headers)).json()

    assert await seen("10.1.2.3")
    assert not await seen("192.0.2.7")
    assert await seen("192.0.2.1", **{"x-forwarded-for": "10.1.2.3"})
    # Only proxies are believed.
    assert not await seen("192.0.2.7", **{"x-forwarded-for": "10.1.2.3"})
    assert not await seen("192.0.2.1", **{"x-forwarded-for": "10.1.2.3, 192.0.2.7"})


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"drain": -1}, "drain"),
        ({"detail_token": "short"}, "detail_token"),
        ({"detail_token": "x" * 20 + " "}, "detail_token"),
        ({"detail_token": "\ud800" * 20}, "detail_token"),
        ({"detail_to": "10.0.0.0/8"}, "detail_to"),
        ({"detail_to": ["0.0.0.0/0"]}, "detail_to"),
        ({"detail_to": ["nowhere"]}, "detail_to"),
        ({"livez": "/health"}, "health"),
        ({"readyz": "readyz"}, "readyz"),
        ({"checks": [Check("a", broken), Check("a", broken)]}, "checks"),
    ],
)
def test_mistakes_are_found_at_once(options, argument) -> None:
    with pytest.raises(ConfigurationError) as error:
        app(**options)
    assert error.value.argument == argument


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (("", broken), "name"),
        (('a"b', broken), "name"),
        (("a", None), "call"),
    ],
)
def test_mistakes_in_checks(arguments, argument) -> None:
    with pytest.raises(ConfigurationError) as error:
        Check(*arguments)
    assert error.value.argument == argument
    for name in ("deadline", "keep"):
        with pytest.raises(ConfigurationError):
            Check("a", broken, **{name: -1})


async def test_methods(asgi_client) -> None:
    async with asgi_client(app()) as client:
        head, options = await client.head("/readyz"), await client.options("/readyz")
        post = await client.post("/readyz")
    assert (head.status_code, head.content) == (200, b"")
    assert options.status_code == 200
    assert post.status_code == 405
    assert post.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_other_paths_are_the_apps(asgi_client) -> None:
    async with asgi_client(app(health="/up")) as client:
        assert (await client.get("/up")).status_code == 200
        assert (await client.get("/health")).status_code == 404
        assert (await client.get("/livez/")).status_code == 404


async def test_below_a_root_path() -> None:
    start, body = await drive(app(), http_scope(path="/api/readyz", root_path="/api"))
    assert start["status"] == 200
    assert json.loads(body["body"]) == {"status": "pass"}


async def test_a_drain_file(asgi_client, tmp_path) -> None:
    file = tmp_path / "drain"
    async with asgi_client(app(drain_file=str(file))) as client:
        before = (await client.get("/readyz")).status_code
        file.touch()
        meanwhile = {path: (await client.get(path)).status_code for path in ("/readyz", "/health", "/livez")}
        file.unlink()
        after = (await client.get("/readyz")).status_code
    assert (before, meanwhile, after) == (200, {"/readyz": 503, "/health": 503, "/livez": 200}, 200)


async def test_a_drain_file_that_may_not_be_looked_for(asgi_client, monkeypatch) -> None:
    def refused(path):
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refused)
    async with asgi_client(app(drain_file="/root/drain")) as client:
        assert (await client.get("/readyz")).status_code == 200


async def probe(health, path="/readyz"):
    return (await drive(health, http_scope(path=path)))[0]["status"]


async def test_a_thousand_probes_are_one_check() -> None:
    counted = Counted()
    health = app(checks=[Check("counted", counted)])
    probes = [asyncio.create_task(probe(health, path)) for path in ("/readyz", "/health") * 500]
    while not counted.begun:
        await asyncio.sleep(0)
    counted.go.set()
    assert await asyncio.gather(*probes) == [200] * 1000
    assert counted.begun == 1


async def test_a_probe_that_leaves_takes_no_check_with_it() -> None:
    counted = Counted()
    health = app(checks=[Check("counted", counted)])
    leaver, stayer = asyncio.create_task(probe(health)), asyncio.create_task(probe(health))
    while not counted.begun:
        await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.wait([leaver])
    assert leaver.cancelled()
    counted.go.set()
    assert await stayer == 200
    assert counted.begun == 1
