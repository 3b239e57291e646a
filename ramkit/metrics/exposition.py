"""Metrics, served to Prometheus."""

import asyncio
import os
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ramkit.kernel.asgi import ASGIApp, Receive, Scope, Send
from ramkit.kernel.headers import find_all
from ramkit.kernel.replies import Reply, problem
from ramkit.kernel.token import brings_token, token_bytes
from ramkit.metrics.processes import Processes

__all__ = ["metrics_app"]


def metrics_app(
    *, registry: CollectorRegistry = REGISTRY, token: str | None = None, port: int | None = None
) -> ASGIApp:
    """An ASGI app that answers GET with the metrics: OpenMetrics for who accepts it, else Prometheus' text.

    ``token``: asked for as ``Authorization: Bearer …``. ``port``: requests that the server took on another
    one get a 404. With ``PROMETHEUS_MULTIPROC_DIR`` set, the metrics of all processes that write there.
    """
    source: CollectorRegistry | Processes = registry
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        source = Processes(Path(folder))
    return _Exposition(source, None if token is None else token_bytes("token", token), port)


class _Exposition:
    def __init__(
        self, source: "CollectorRegistry | Processes", token: bytes | None, port: int | None
    ) -> None:
        self._source, self._token, self._port = source, token, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"metrics_app does not speak {scope['type']}")  # as ASGI has it
        reply = self._refusal(scope) or await self._answer(scope)
        await reply(scope, receive, send)

    def _refusal(self, scope: Scope) -> Reply | None:
        if scope["type"] != "http" or (
            self._port is not None and (scope.get("server") or ("", 0))[1] != self._port
        ):
            return problem(404)
        if self._token is not None and not brings_token(scope["headers"], self._token):
            return problem(401, headers=[(b"www-authenticate", b'Bearer realm="metrics"')])
        if scope["method"] not in ("GET", "HEAD"):
            return problem(405, headers=[(b"allow", b"GET, HEAD")])
        return None

    async def _answer(self, scope: Scope) -> Reply:
        accepted = b", ".join(find_all(scope["headers"], b"accept")).decode("latin-1")
        try:
            encode, content_type = choose_encoder(accepted)
        except TypeError:  # by versions that are no numbers
            encode, content_type = choose_encoder("")
        # a thousand series take milliseconds, and files of many processes longer
        body = await asyncio.to_thread(encode, self._source)
        headers = [
            (b"content-type", content_type.encode()),
            (b"vary", b"accept"),
            (b"cache-control", b"no-store"),
        ]
        return Reply(200, headers, body)
