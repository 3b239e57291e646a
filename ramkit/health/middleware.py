"""Answers load balancers and supervisors."""

import json
from collections.abc import Iterable
from pathlib import Path

from ramkit.health.core import Outcome, Status, asked, detail, overall
from ramkit.health.draining import Draining
from ramkit.health.policy import Access, Check, Question, questions
from ramkit.health.running import Runner
from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send, raw_headers
from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import replace
from ramkit.kernel.lifespan import follow_lifespan
from ramkit.kernel.observers import Observer, observers_of
from ramkit.kernel.replies import Reply, problem
from ramkit.kernel.token import brings_token

__all__ = ["HealthMiddleware"]

#: OPTIONS is what HAProxy's ``option httpchk`` asks with unless it is told otherwise.
_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_ALLOWED = problem(405, headers=[(b"allow", b"GET, HEAD, OPTIONS")])
_JSON = (b"content-type", b"application/health+json")
_FRESH = (b"cache-control", b"no-store")


class HealthMiddleware:
    """Answers ``/livez`` (start me anew when this fails), ``/readyz`` (send me requests) and ``/health``
    (the same, of all checks) with 200 or 503; outside of everything else.

    ``checks``: each with its name. ``drain``: seconds from SIGTERM to when the server hears of it; meanwhile
    the process is not ready, and its HTTP/1.1 responses ask clients to connect anew; 0 leaves SIGTERM alone.
    ``drain_file``: not ready while this file exists, for servers whose signals do not come to Python.
    ``detail_token`` (as a bearer token) and ``detail_to`` (addresses and networks): who may see what each
    check said; nobody by default. ``proxies``: whose word for the client's address is believed.
    ``health``, ``livez``, ``readyz``: other paths.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        checks: Iterable[Check] = (),
        drain: float = 5.0,
        drain_file: str | Path | None = None,
        detail_token: str | None = None,
        detail_to: Iterable[str] = (),
        proxies: TrustedProxies | None = None,
        health: str = "/health",
        livez: str = "/livez",
        readyz: str = "/readyz",
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if not drain >= 0:
            raise ConfigurationError("drain", f"seconds, not {drain!r}")
        found = tuple(checks)
        if len({check.name for check in found}) < len(found):
            raise ConfigurationError("checks", "two have the same name")
        self.app = app
        self._questions = questions(health=health, livez=livez, readyz=readyz)
        self._access = Access.of(detail_token, detail_to)
        self._proxies = proxies if proxies is not None else TrustedProxies()
        seen = observers_of(observers)
        self._runner = Runner(found, clock if clock is not None else SystemClock(), seen)
        self._draining = Draining(drain, Path(drain_file) if drain_file is not None else None, seen)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            question = self._questions.get(_path(scope))
            if question is not None:
                await self._answer(question, scope, receive, send)
                return
            if self._draining.began and scope.get("http_version", "").startswith("1"):
                send = _Closing(send)
        elif kind == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, self._runner, self._draining)
            return
        await self.app(scope, receive, send)

    async def _answer(self, question: Question, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in _METHODS:
            await _NOT_ALLOWED(scope, receive, send)
            return
        draining = self._draining.active and question != "livez"
        # What the checks say changes nothing then, and they may be about what closes already.
        checks = [] if draining else asked(question, self._runner.checks)
        outcomes = await self._runner.outcomes(checks) if checks else {}
        status = overall(question, outcomes, draining=draining)
        await self._reply(scope, status, outcomes, draining=draining)(scope, receive, send)

    def _reply(
        self, scope: Scope, status: Status, outcomes: dict[Check, Outcome], *, draining: bool
    ) -> Reply:
        said = {"status": status}
        if self._may_see(scope):
            said = detail(status, outcomes, draining=draining)
        headers: RawHeaders = [_JSON, _FRESH]
        if status == "fail":
            headers.append((b"retry-after", b"1"))
        body = json.dumps(said, default=str).encode()
        return Reply(503 if status == "fail" else 200, headers, body)

    def _may_see(self, scope: Scope) -> bool:
        access = self._access
        if access.token is not None and brings_token(scope["headers"], access.token):
            return True
        return bool(access.networks) and access.admits(self._proxies.client_address(scope))


def _path(scope: Scope) -> str:
    """Below ``root_path``, which servers put in front of the path (ASGI, HTTP 2.4)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


class _Closing:
    """Asks the client to use another connection (RFC 9112 §9.6): this one ends soon, and a balancer below
    HTTP would go on with it."""

    __slots__ = ("_send",)

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": replace(raw_headers(message), b"connection", b"close")}
        await self._send(message)
