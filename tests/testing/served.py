"""An app behind uvicorn, in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def served(app: ASGIApp, *, lifespan: bool) -> AsyncIterator[str]:
    """The URL of the app, served over a real socket of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    mode = "on" if lifespan else "off"
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", ws="none", lifespan=mode, log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # It listens already: a client waits in its backlog until uvicorn accepts.
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
