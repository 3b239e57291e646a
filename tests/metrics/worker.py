"""One worker of several: ``python worker.py FD`` serves on a listening socket that it was handed."""

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from ramkit.metrics import MetricsMiddleware, metrics_app


async def item(request):
    return PlainTextResponse("it")


def main(fd: int) -> None:
    app = Starlette(routes=[Route("/items/{id}", item), Mount("/metrics", metrics_app())])
    app.add_middleware(MetricsMiddleware)
    uvicorn.run(app, fd=fd, log_level="warning", lifespan="on")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(int(sys.argv[1]))
