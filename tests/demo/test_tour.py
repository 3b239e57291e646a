"""The tour against services that are wrong: it has to say so."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from ramkit.db import Database
from ramkit.demo.client import Client
from ramkit.demo.data import world
from ramkit.demo.processes import address, listen, loopback
from ramkit.demo.report import Report
from ramkit.demo.service import WorkerName, create_service
from ramkit.demo.tour import Tour, take
from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send


class Liar:
    """Says of everything that it was a hit, whatever it was."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def lie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-cache", b"HIT")]}
            await send(message)

        await self.app(scope, receive, lie if scope["type"] == "http" else send)


class Broken:
    """Answers nothing but 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})


@asynccontextmanager
async def served(apps: Sequence[ASGIApp]) -> AsyncIterator[list[str]]:
    """Each app on a port of its own."""
    servers: list[uvicorn.Server] = []
    tasks: list[asyncio.Task[None]] = []
    sockets = [listen(loopback(), 0) for _ in apps]
    addresses = [address(each) for each in sockets]
    for app, own in zip(apps, sockets, strict=True):
        config = uvicorn.Config(
            app, log_level="critical", ws="websockets-sansio", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        servers.append(server)
        # Without serve(), which takes over the signals of the test run.
        tasks.append(asyncio.create_task(server._serve([own])))
    try:
        yield addresses
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("wrong", [None, Liar, Broken])
async def test_a_wrong_service_fails_the_tour(
    wrong: type[Liar | Broken] | None, postgres_dsn: str, tmp_path: Path
) -> None:
    out = io.StringIO()
    report = Report(out)
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(world(postgres_dsn))
        apps: list[ASGIApp] = []
        for _ in range(2):
            db = Database(postgres_dsn, min_size=1)
            stack.push_async_callback(db.aclose)
            service: ASGIApp = WorkerName(create_service(db, stopping=stopping))
            apps.append(wrong(service) if wrong is not None else service)
        addresses = await stack.enter_async_context(served(apps))
        client = await stack.enter_async_context(Client.opened(addresses[0], addresses))
        shown = await take(Tour(client, report, tmp_path))
        stopping.set()
    assert not shown
    failed = "\n".join(report.failures)
    if wrong is Broken:
        assert "status: expected 200, seen 500" in failed
        assert "the step came to an end" in failed
    else:
        assert "X-Cache: expected MISS" in failed
        assert "further renders: expected 0, seen 3" in failed
        assert "renders: expected 1, seen 100" in failed
        assert "status and bytes: expected (304, 0)" in failed
        assert "the response carries a floor for this client: expected yes" in failed
    if wrong is Liar:
        assert "not from the cache: expected yes, seen no" in failed
