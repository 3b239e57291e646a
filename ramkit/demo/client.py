"""The tour's HTTP client: one connection a request, and a floor of its own."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import perf_counter
from typing import Any

import httpx
from websockets.asyncio.client import connect

__all__ = ["Client", "Reply"]

_FLOOR = "RamKit-Floor"
#: Seconds: longer than anything in the demo may take.
_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, with what the tour looks at. ``seconds``: from the request to the body's end."""

    request: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float

    @property
    def worker(self) -> str:
        """Who answered."""
        return self.headers.get("x-worker", "?")

    @property
    def render(self) -> str:
        """Which render this is; it begins with the worker that made it."""
        return self.headers.get("x-render", "")

    @property
    def cache(self) -> str:
        """HIT, MISS, …; ``none`` where no cache was."""
        return self.headers.get("x-cache", "none")

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.content)


class Client:
    """Asks the service as one user does: the ``floor`` of a response goes with the next request.

    ``public``: host and port of the shared socket; ``workers``: of each worker's own. A request to
    ``worker=0`` goes to that worker's socket and names the shared one as its host, so that it is
    about the same URL.
    """

    def __init__(self, public: str, workers: Sequence[str], http: httpx.AsyncClient) -> None:
        self._public, self._workers, self._http = public, workers, http
        self.floor: str | None = None

    @classmethod
    @asynccontextmanager
    async def opened(cls, public: str, workers: Sequence[str]) -> AsyncGenerator["Client", None]:
        """A client whose connections end with it."""
        limits = httpx.Limits(max_keepalive_connections=0)
        # Users share it: no cookie of one may go to another. And no proxy stands between here and here.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        async with httpx.AsyncClient(
            cookies=no_cookies, trust_env=False, limits=limits, timeout=_TIMEOUT
        ) as http:
            yield cls(public, workers, http)

    def other(self) -> "Client":
        """Another user."""
        return Client(self._public, self._workers, self._http)

    @property
    def workers(self) -> range:
        """The numbers of the workers."""
        return range(len(self._workers))

    async def get(
        self, path: str, *, worker: int | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """GET from one worker, or from whichever takes the connection. Raises ``httpx.HTTPError``."""
        return await self._send("GET", path, worker, headers or {}, None)

    async def put(self, path: str, body: Any, *, worker: int | None = None) -> Reply:
        """PUT JSON."""
        return await self._send("PUT", path, worker, {}, body)

    async def first_lines(self, path: str, count: int) -> list[str]:
        """The first lines of a response that does not end, as they come."""
        lines: list[str] = []
        async with self._http.stream("GET", f"http://{self._public}{path}") as response:
            async for line in response.aiter_lines():
                lines.append(line)
                if len(lines) == count:
                    break
        return lines

    async def first_messages(self, path: str, count: int) -> list[str]:
        """The first messages of a WebSocket."""
        async with connect(f"ws://{self._public}{path}", proxy=None, open_timeout=_TIMEOUT) as socket:
            return [str(await socket.recv()) for _ in range(count)]

    async def _send(
        self, method: str, path: str, worker: int | None, headers: Mapping[str, str], body: Any
    ) -> Reply:
        where = self._public if worker is None else self._workers[worker]
        sent = {**headers, "Host": self._public, **({_FLOOR: self.floor} if self.floor else {})}
        begun = perf_counter()
        response = await self._http.request(method, f"http://{where}{path}", headers=sent, json=body)
        seconds = perf_counter() - begun
        self.floor = response.headers.get(_FLOOR, self.floor)
        return Reply(f"{method} {path}", response.status_code, response.headers, response.content, seconds)
