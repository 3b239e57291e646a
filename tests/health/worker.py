"""One worker: ``python worker.py PORT DRAIN LOOP`` writes to ``PORT.log`` what has ended."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from ramkit.health import HealthMiddleware

PORT, DRAIN, LOOP = sys.argv[1:]
#: Seconds that uvicorn waits for what is open.
GRACE = 2


def tell(what):
    with Path(f"{PORT}.log").open("a") as log:
        log.write(what + "\n")


@asynccontextmanager
async def lifespan(app):
    yield
    tell("closed")


async def hello(request):
    await asyncio.sleep(0.002)
    return PlainTextResponse(str(os.getpid()), headers=dict(request.query_params))


async def upload(request):
    body = await request.body()
    tell("uploaded")
    return PlainTextResponse(body)


async def events(request):
    async def forever():
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(forever(), media_type="text/event-stream")


async def socket(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
    tell("websocket")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", hello),
        Route("/upload", upload, methods=["POST"]),
        Route("/events", events),
        WebSocketRoute("/socket", socket),
    ],
)
app.add_middleware(HealthMiddleware, drain=float(DRAIN))
uvicorn.run(
    app, port=int(PORT), loop=LOOP, lifespan="on", log_level="warning", timeout_graceful_shutdown=GRACE
)
