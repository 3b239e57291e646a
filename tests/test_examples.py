"""docs/examples: each is written twice, and both do the same, on real servers."""

import asyncio
import importlib.util
import secrets
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn

from ramkit.auth.passwords import PasswordService
from ramkit.testing.client import ASGIClient
from ramkit.testing.servers.postgres import fetch

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
FRAMEWORKS = ["fastapi", "ramapi"]
HOST = {"host": "shop.example"}
PASSWORD = "correct horse battery"


def example(name: str, framework: str) -> ModuleType:
    path = EXAMPLES / f"{name}_{framework}.py"
    spec = importlib.util.spec_from_file_location(f"examples.{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="on"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        if running.done():
            await running
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


@pytest.fixture(params=FRAMEWORKS)
def framework(request):
    return request.param


@pytest.fixture
async def users():
    passwords = PasswordService(time_cost=1, memory_cost=1024)
    yield {"ada": await passwords.hash(PASSWORD)}
    await passwords.aclose()


async def test_login_with_a_session(framework, redis_url, users):
    app = example("login_session", framework).create_app(redis_url, users)
    browser = {"sec-fetch-site": "same-origin"}
    async with ASGIClient(app, base_url="https://shop.example", headers=browser) as client:
        assert (await client.get("/me")).json() == {"user": None}
        wrong = await client.post("/login", data={"name": "ada", "password": "wrong password"})
        assert wrong.status_code == 401
        assert (await client.post("/login", data={"name": "ada", "password": PASSWORD})).status_code == 200
        assert (await client.get("/me")).json() == {"user": "ada"}
        copied = dict(client.cookies)
        elsewhere = await client.post("/logout", headers={"sec-fetch-site": "cross-site"})
        assert elsewhere.status_code == 403
        await client.post("/logout?everywhere=1")
        assert (await client.get("/me")).json() == {"user": None}
        client.cookies.update(copied)
        assert (await client.get("/me")).json() == {"user": None}, "the old id is dead"


async def test_login_with_a_jwt(framework, redis_url, users):
    app = example("login_jwt", framework).create_app(redis_url, secrets.token_hex(16), users)
    async with ASGIClient(app, base_url="https://shop.example") as client:
        assert (await client.get("/me")).status_code == 401
        wrong = await client.post("/login", data={"name": "ada", "password": "wrong password"})
        assert wrong.status_code == 401
        first = (await client.post("/login", data={"name": "ada", "password": PASSWORD})).json()
        bearer = {"authorization": f"Bearer {first['access_token']}"}
        assert (await client.get("/me", headers=bearer)).json() == {"user": "ada"}
        second = (await client.post("/refresh", data={"refresh_token": first["refresh_token"]})).json()
        bearer = {"authorization": f"Bearer {second['access_token']}"}
        assert (await client.post("/logout", headers=bearer)).status_code == 200
        assert (await client.get("/me", headers=bearer)).status_code == 401, "revoked by its family"


async def test_cached_users(framework, redis_url):
    module, names = example("cached_users", framework), {1: "Ada", 2: "Grace"}
    async with (
        served(module.create_app(redis_url, names)) as here,
        served(module.create_app(redis_url, names)) as there,
        httpx.AsyncClient(base_url=here, headers=HOST) as one,
        httpx.AsyncClient(base_url=there, headers=HOST) as other,
    ):
        for client, seen in ((one, "MISS"), (other, "HIT")):
            for path in ("/users/1", "/users"):
                answer = await client.get(path)
                assert (answer.status_code, answer.headers["x-cache"]) == (200, seen)
        assert (await one.put("/users/1?name=Ada Lovelace")).status_code == 200
        changed = [await one.get("/users/1"), await one.get("/users")]
        assert changed[0].json() == {"number": 1, "name": "Ada Lovelace"}
        assert changed[1].json() == ["Ada Lovelace", "Grace"]
        async with asyncio.timeout(5):  # whoever did not write sees it once its process has read the log
            while (await other.get("/users")).json() != ["Ada Lovelace", "Grace"]:
                await asyncio.sleep(0.01)
        assert (await one.get("/users/9")).status_code == 404


async def test_users_and_orders_behind_the_gateway(framework, redis_url):
    module = example("behind_the_gateway", framework)
    async with served(module.create_users()) as users, served(module.create_orders()) as orders:
        gateway = module.create_gateway(redis_url, [users], [orders])
        async with ASGIClient(gateway, base_url="https://shop.example") as client:
            answers = [await client.get("/users/7") for _ in range(2)]
            assert [answer.json() for answer in answers] == [{"user": 7}] * 2
            assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "HIT"]
            assert "ratelimit" in answers[0].headers
            ordered = await client.post("/orders?of=7")
            assert (ordered.status_code, ordered.json()) == (201, {"order": 1, "of": 7})
            assert (await client.get("/others")).status_code == 404


async def test_reads_on_a_replica_and_writes_on_the_primary(
    framework, redis_url, postgres_dsn, postgres_replica
):
    fetch(postgres_dsn, "CREATE TABLE notes (text text PRIMARY KEY)")
    postgres_replica.caught_up()
    module = example("replicas", framework)
    app = module.create_app(postgres_dsn, [postgres_replica.dsn], redis_url, "s" * 32)
    async with ASGIClient(app, base_url="https://shop.example") as writer:
        assert (await writer.get("/notes")).json() == []
        postgres_replica.pause()
        assert (await writer.post("/notes?text=first")).status_code == 201
        assert (await writer.get("/notes")).json() == ["first"], "not from the replica, which lacks it"
        postgres_replica.resume()
