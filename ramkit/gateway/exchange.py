"""One HTTP request through the gateway: to a server, perhaps to a second one, and back."""

import asyncio
from collections.abc import Container

from ramkit.gateway.core.forwarding import Forwarding, body_length, interim_fields, response_fields, target_of
from ramkit.gateway.core.members import Group, Member, Outcome
from ramkit.gateway.errors import (
    BadResponse,
    ClientGone,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    GatewayError,
    IdleTimeout,
    NoServer,
    RequestTimeout,
    UpstreamReset,
    UpstreamTimeout,
)
from ramkit.gateway.events import GatewayRetry
from ramkit.gateway.port import Connection, Head, Request, Transport
from ramkit.gateway.tracking import Tracker
from ramkit.kernel.asgi import Receive, Scope, Send

__all__ = ["Exchange", "Parts"]

#: RFC 9110 §9.2.2
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
#: Bytes of a request's body that are kept so that it can be sent again, and of a response's body that is
#: held until it is whole.
_REPEATABLE = 65536
#: Seconds after which somebody listens for the client's leaving. Most requests are answered before, and
#: a task for each would cost as much as all the rest.
_UNWATCHED = 0.02
#: what says of a server that it cannot serve now (RFC 9110 §15.6.3 to §15.6.5)
_FAILURES = frozenset({502, 503, 504})
_FINAL = 200
#: Messages for interim responses: ASGI's, for the Link fields of a 103, and that of ramkit.gateway.server.
EARLY_HINT = "http.response.early_hint"
INTERIM = "ramkit.response.interim"


class Parts:
    """What all exchanges of a gateway share."""

    __slots__ = ("forwarding", "tracker", "transport")

    def __init__(self, transport: Transport, forwarding: Forwarding, tracker: Tracker) -> None:
        self.transport, self.forwarding, self.tracker = transport, forwarding, tracker


class Exchange:
    """The state of one request. ``status`` is what its client was told, None before that."""

    __slots__ = (
        "_body", "_gone", "_group", "_idempotent", "_link", "_more", "_parts", "_path", "_receive", "_scope",
        "_send", "_streamed", "_timer", "_upstream", "_watcher", "status",
    )  # fmt: skip

    def __init__(
        self, parts: Parts, group: Group, path: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._parts, self._group, self._upstream = parts, group, group.upstream
        self._path, self._scope, self._receive, self._send = path, scope, receive, send
        self._idempotent = scope["method"] in IDEMPOTENT
        self._body, self._more = b"", True
        #: pieces of the body were sent that are not here any more
        self._streamed = False
        self._link: Connection | None = None
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.status: int | None = None

    async def run(self, key: bytes) -> None:
        """Forward, and answer with what comes back. Raises ``GatewayError``; when ``status`` is not
        None by then, the response is broken off."""
        length = body_length(self._scope["headers"], self._scope["http_version"])
        await self._begin_body(length)
        try:
            if not self._more:
                self._timer = asyncio.get_running_loop().call_later(_UNWATCHED, self._watch)
            await self._attempts(key, length)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._watcher is not None:
                self._watcher.cancel()

    @property
    def unread(self) -> bool:
        """Whether there is more of the request's body than was taken."""
        return self._more

    async def _begin_body(self, length: int | None) -> None:
        """The first piece of the body; all of it, if it is small and may have to be sent again."""
        more = await (self._take() if length == 0 else self._take_in_time())
        if more and self._idempotent and length is not None and length <= _REPEATABLE:
            pieces = [self._body]
            while more:
                more = await self._take_in_time()
                pieces.append(self._body)
            self._body = b"".join(pieces)

    async def _take_in_time(self) -> bool:
        """As ``_take``, before there is a connection to a server that keeps the deadline."""
        try:
            async with asyncio.timeout(self._upstream.idle_timeout):
                return await self._take()
        except TimeoutError:
            raise RequestTimeout("the client sent no more of its body") from None

    async def _take(self) -> bool:
        """The next piece of the body; whether there are more."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("before its request was complete")
        self._body, self._more = message.get("body", b""), message.get("more_body", False)
        return self._more

    # -- attempts ----------------------------------------------------------------------------------

    async def _attempts(self, key: bytes, length: int | None) -> None:
        group, clock = self._group, self._parts.tracker.clock
        tried: list[Member] = []
        failed: GatewayError | None = None
        while True:
            now = clock.monotonic()
            member = group.choose(now, key=key, tried=tried)
            if member is None or (failed is not None and not group.may_retry(now)):
                raise failed or NoServer("no server to choose")
            if failed is not None:
                reason = type(failed).__name__
                self._parts.tracker.tell(GatewayRetry(self._upstream.name, reason))
            try:
                await self._attempt(member, now, length)
            except GatewayError as error:
                if self._gone:
                    raise ClientGone("left") from error
                tried.append(member)
                if len(tried) > self._upstream.retries or not self._repeatable(error):
                    raise
                failed = error
            else:
                return

    def _repeatable(self, error: GatewayError) -> bool:
        """Whether another server may get this request (RFC 9110 §9.2.2): nothing of it was sent, or it is
        idempotent and still there. Never after its response has begun."""
        if self.status is not None or self._streamed:
            return False
        if isinstance(error, ConnectFailed | ConnectTimeout):
            return True
        whole = len(self._body) <= _REPEATABLE
        return self._idempotent and whole and isinstance(error, UpstreamReset | UpstreamTimeout | BadResponse)

    async def _attempt(self, member: Member, now: float, length: int | None) -> None:
        group, tracker = self._group, self._parts.tracker
        number = group.started(member, now)
        outcome = Outcome.ABANDONED
        try:
            try:
                status = await self._over(member, now, length, fresh=False)
            except _Stale:
                status = await self._over(member, now, length, fresh=True)
            outcome = Outcome.FAILURE if status in _FAILURES else Outcome.SUCCESS
        except UpstreamTimeout:
            outcome = Outcome.TIMEOUT
            raise
        except (ConnectFailed, UpstreamReset, BadResponse):
            outcome = Outcome.FAILURE
            raise
        finally:
            if self._gone:
                outcome = Outcome.ABANDONED
            tracker.finish(group, member, outcome, number)

    async def _over(self, member: Member, now: float, length: int | None, *, fresh: bool) -> int:
        """Over one connection. The status that came back."""
        upstream = self._upstream
        link = await self._parts.transport.connect(
            member, upstream.connect_timeout, idempotent=self._idempotent and not self._more, fresh=fresh
        )
        self._link = link
        error: Exception | None = ClientGone("left")
        head: Head | None = None
        try:
            self._check_client()
            head = await self._ask(link, member, length)
            self._parts.tracker.answered(self._scope, upstream.name, now)
            await self._answer(link, head)
            error = None
        except GatewayError as problem:
            error = problem
            stale = link.reused and isinstance(problem, UpstreamReset) and not fresh
            if stale and head is None and self._idempotent and not self._streamed and not self._gone:
                # It had been closed when the request arrived: that says nothing of the server.
                raise _Stale from problem
            raise
        finally:
            self._link = None
            link.done(error)
        return head.status

    # -- to the server -----------------------------------------------------------------------------

    async def _ask(self, link: Connection, member: Member, length: int | None) -> Head:
        """Send the request; its final head."""
        scope, upstream = self._scope, self._upstream
        extensions: Container[str] = scope.get("extensions") or ()
        authority = f"[{member.host}]" if ":" in member.host else member.host
        fields = self._parts.forwarding.fields(
            scope,
            f"{authority}:{member.port}".encode(),
            trailers="http.response.trailers" in extensions,
        )
        target = target_of(self._path, scope["query_string"])
        if not self._more and length is None:
            length = len(self._body)
        request = Request(scope["method"].encode(), target, fields, length, self._body, self._more)
        if self._more:
            link.limit(upstream.idle_timeout, IdleTimeout("the request was not taken"))
            await link.send(request)
            self._streamed = True
            self._watcher = asyncio.create_task(self._pump(link))
        else:
            link.limit(upstream.first_byte_timeout, FirstByteTimeout("no response"))
            await link.send(request)
        head = await link.head()
        while head.status < _FINAL:
            await self._hint(head, extensions)
            head = await link.head()
        return head

    async def _hint(self, head: Head, extensions: Container[str]) -> None:
        """Pass an interim response on (RFC 9110 §15.2), if the server in front knows how."""
        if head.status == 100 or self._scope["http_version"] == "1.0":
            return  # answers an Expect, which was not sent; unknown to HTTP/1.0
        if INTERIM in extensions:
            fields = interim_fields(head.headers)
            await self._send({"type": INTERIM, "status": head.status, "headers": fields})
        elif head.status == 103 and EARLY_HINT in extensions:
            links = [value for name, value in head.headers if name == b"link"]
            await self._send({"type": EARLY_HINT, "links": links})

    async def _pump(self, link: Connection) -> None:
        """The rest of the request's body, as it comes; then as ``_listen``."""
        idle = self._upstream.idle_timeout
        try:
            while self._more:
                self._limit(link, idle, RequestTimeout("the client sent no more of its body"))
                await self._take()
                self._limit(link, idle, IdleTimeout("the request was not taken"))
                await link.write(self._body, more=self._more)
                self._body = b""
        except ClientGone:
            self._leave()
        except GatewayError:
            return  # who waits for the response hears of it, or has it already
        else:
            self._limit(link, self._upstream.first_byte_timeout, FirstByteTimeout("no response"))
            await self._listen()

    def _limit(self, link: Connection, seconds: float, error: GatewayError) -> None:
        # From the response's head on, deadlines are about reading it.
        if self.status is None and link is self._link:
            link.limit(seconds, error)

    def _check_client(self) -> None:
        if self._gone:
            raise ClientGone("left")

    def _watch(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        """Returns when the client is gone, and the upstream's work for it with it."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self._gone = True
        if self._link is not None:
            self._link.done(ClientGone("left"))

    # -- to the client -----------------------------------------------------------------------------

    async def _answer(self, link: Connection, head: Head) -> None:
        scope, send, idle = self._scope, self._send, self._upstream.idle_timeout
        supported = "http.response.trailers" in (scope.get("extensions") or {})
        trailers = supported and any(name == b"trailer" for name, _ in head.headers)
        fields = response_fields(
            head.status,
            head.headers,
            self._parts.forwarding.via,
            self._parts.tracker.clock.time(),
            trailers=trailers,
        )
        start = {"type": "http.response.start", "status": head.status, "headers": fields}
        if trailers:
            start["trailers"] = True
        held = await self._hold(link) if self._idempotent and self._holds(head) else None
        link.limit(None, IdleTimeout())
        self.status = head.status
        await send(start)
        ended = held is not None
        if held is not None:
            await send({"type": "http.response.body", "body": held, "more_body": False})
        while not ended:
            link.limit(idle, IdleTimeout("the response stopped"))
            body = await link.read()
            link.limit(None, IdleTimeout())
            ended = link.ended
            await send({"type": "http.response.body", "body": body, "more_body": not ended})
        if trailers:
            await send({"type": "http.response.trailers", "headers": link.trailers, "more_trailers": False})

    def _holds(self, head: Head) -> bool:
        """Whether the response is so short that its client gets it when it is whole: if it breaks off before,
        another server is asked. A request whose body is still under way is not sent again."""
        if self._more or self._streamed:
            return False
        length = next((value for name, value in head.headers if name == b"content-length"), b"")
        return length.isdigit() and len(length) < 10 and int(length) <= _REPEATABLE

    async def _hold(self, link: Connection) -> bytes:
        """The whole body."""
        pieces: list[bytes] = []
        while not link.ended:
            link.limit(self._upstream.idle_timeout, IdleTimeout("the response stopped"))
            pieces.append(await link.read())
        return b"".join(pieces)


class _Stale(Exception):
    """A kept connection turned out to be closed before anything was answered."""
