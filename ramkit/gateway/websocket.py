"""One WebSocket through the gateway (RFC 6455): a second one, to a server, and messages both ways."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import EXTERNAL_CLOSE_CODES
from websockets.typing import Subprotocol

from ramkit.gateway.core.forwarding import response_fields
from ramkit.gateway.core.members import Group, Member, Outcome
from ramkit.gateway.errors import (
    BadResponse,
    ClientGone,
    ConnectFailed,
    ConnectTimeout,
    GatewayError,
    NoServer,
    UpstreamTimeout,
)
from ramkit.gateway.exchange import Parts
from ramkit.kernel.asgi import Message, RawHeaders, Receive, Scope, Send
from ramkit.kernel.replies import Reply

__all__ = ["Socket"]

#: Of each handshake, and never of the whole way: extensions are agreed on hop by hop (RFC 6455 §9).
_HANDSHAKE = frozenset(
    {
        b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions",
        b"sec-websocket-protocol", b"sec-websocket-accept",
    }
)  # fmt: skip
#: RFC 6455 §7.4.1 and its registry: no code; too big; the server behind is gone
_NORMAL, _NO_CODE, _GOING_AWAY, _TOO_BIG, _BAD_GATEWAY = 1000, 1005, 1001, 1009, 1014
#: Bytes of the body of a server's refusal that are passed on.
_MAX_REFUSAL = 65536


class _connect(connect):  # noqa: N801 - as websockets spells it
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Never followed: only the description says where to connect to."""
        return exc


class Socket:
    """The state of one WebSocket. ``status`` is the handshake's, None before that."""

    __slots__ = ("_group", "_max_message", "_parts", "_path", "_receive", "_scope", "_send", "status")

    def __init__(
        self,
        parts: Parts,
        group: Group,
        path: bytes,
        max_message: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._parts, self._group, self._path, self._max_message = parts, group, path, max_message
        self._scope, self._receive, self._send = scope, receive, send
        self.status: int | None = None

    async def run(self, key: bytes) -> None:
        """Connect, and carry messages until one side closes. Raises ``GatewayError`` before the handshake."""
        if (await self._receive())["type"] != "websocket.connect":
            raise ClientGone("before the handshake")
        group, clock = self._group, self._parts.tracker.clock
        tried: list[Member] = []
        failed: GatewayError | None = None
        while True:
            now = clock.monotonic()
            member = group.choose(now, key=key, tried=tried)
            if member is None or (failed is not None and not group.may_retry(now)):
                raise failed or NoServer("no server to choose")
            try:
                await self._attempt(member, now)
            except (ConnectFailed, ConnectTimeout) as error:
                tried.append(member)
                if self.status is not None or len(tried) > group.upstream.retries:
                    raise
                failed = error
            else:
                return

    async def _attempt(self, member: Member, now: float) -> None:
        number = self._group.started(member, now)
        outcome = Outcome.ABANDONED
        try:
            outcome = await self._talk(member)
        except UpstreamTimeout:
            outcome = Outcome.TIMEOUT
            raise
        except GatewayError:
            outcome = Outcome.FAILURE
            raise
        finally:
            self._parts.tracker.finish(self._group, member, outcome, number)

    async def _talk(self, member: Member) -> Outcome:
        try:
            server = await self._connect(member)
        except InvalidStatus as refused:
            await self._refuse(refused)
            return Outcome.SUCCESS
        except InvalidHandshake as error:
            raise BadResponse(str(error)) from error
        except TimeoutError as error:
            raise ConnectTimeout("no handshake in time") from error
        except (OSError, EOFError) as error:
            raise ConnectFailed(str(error)) from error
        try:
            response = server.response
            given: RawHeaders = [] if response is None else _pairs(response.headers.raw_items())
            await self._send(
                {
                    "type": "websocket.accept",
                    "subprotocol": server.subprotocol,
                    "headers": [pair for pair in self._fields(101, given) if pair[0] not in _HANDSHAKE],
                }
            )
            self.status = 101
            return await self._carry(server)
        finally:
            # What is left of it is not waited for: whoever is still there has been told.
            server.transport.abort()

    async def _connect(self, member: Member) -> ClientConnection:
        scope, upstream = self._scope, self._group.upstream
        authority = f"[{member.host}]" if ":" in member.host else member.host
        fields = self._parts.forwarding.fields(scope, f"{authority}:{member.port}".encode(), trailers=False)
        host = fields[0][1].decode("latin-1")
        secure = member.scheme == "https"
        tls: dict[str, Any] = {}
        if secure:
            tls = {"ssl": ssl.create_default_context(), "server_hostname": member.host}
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        return await _connect(
            # The Host as the client sent it; where to connect to is said below.
            f"{'wss' if secure else 'ws'}://{host}{(self._path + query).decode('latin-1')}",
            host=member.host,
            port=member.port,
            **tls,
            compression=None,
            subprotocols=[Subprotocol(name) for name in scope.get("subprotocols", ())] or None,
            additional_headers=[
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in fields
                if name not in _HANDSHAKE and name != b"host"
            ],
            user_agent_header=None,
            proxy=None,
            open_timeout=upstream.connect_timeout + upstream.first_byte_timeout,
            max_size=self._max_message,
        )

    async def _refuse(self, refused: InvalidStatus) -> None:
        """The server's answer instead of a handshake, as far as the server in front can give it."""
        response = refused.response
        fields = self._fields(response.status_code, _pairs(response.headers.raw_items()))
        fields = [pair for pair in fields if pair[0] not in _HANDSHAKE and pair[0] != b"content-length"]
        body = bytes(response.body or b"")[:_MAX_REFUSAL]
        self.status = response.status_code
        await Reply(response.status_code, fields, body)(self._scope, self._receive, self._send)

    def _fields(self, status: int, given: RawHeaders) -> RawHeaders:
        parts = self._parts
        return response_fields(
            status, given, parts.forwarding.via, parts.tracker.clock.time(), trailers=False
        )

    # -- messages ------------------------------------------------------------------------------------

    async def _carry(self, server: ClientConnection) -> Outcome:
        """Until either side ends. The outcome says whether the server ended as it should."""
        up = asyncio.create_task(self._upward(server))
        try:
            async for message in server:
                key = "text" if isinstance(message, str) else "bytes"
                await self._send({"type": "websocket.send", key: message})
        except ConnectionClosed:
            pass
        finally:
            left = up.done()
            up.cancel()
            await asyncio.wait([up])
        if left and not up.cancelled():
            up.result()
            return Outcome.SUCCESS
        return await self._server_closed(server)

    async def _server_closed(self, server: ClientConnection) -> Outcome:
        frame = server.protocol.close_rcvd
        sent = server.protocol.close_sent
        if frame is not None:
            code, reason = (_NORMAL if frame.code == _NO_CODE else frame.code), frame.reason
        elif sent is not None and sent.code == _TOO_BIG:
            code, reason = _TOO_BIG, "message too big"
        else:
            code, reason = _BAD_GATEWAY, ""
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
        return Outcome.FAILURE if code == _BAD_GATEWAY else Outcome.SUCCESS

    async def _upward(self, server: ClientConnection) -> None:
        """The client's messages, to the server; then its going. Returns when the server knows."""
        while (message := await self._receive())["type"] == "websocket.receive":
            data = _payload(message)
            if len(data) > self._max_message:
                await self._send({"type": "websocket.close", "code": _TOO_BIG, "reason": "message too big"})
                await server.close(_GOING_AWAY)
                return
            try:
                await server.send(data)
            except ConnectionClosed:
                await asyncio.Event().wait()  # the other direction says with what code
        code = message.get("code", _NO_CODE)
        if code == _NO_CODE:
            code = _NORMAL
        if code not in EXTERNAL_CLOSE_CODES and not 3000 <= code < 5000:
            code = _GOING_AWAY  # such as 1006: the connection was lost
        await server.close(code, message.get("reason") or "")


def _payload(message: Message) -> str | bytes:
    text: str | None = message.get("text")
    return message.get("bytes") or b"" if text is None else text


def _pairs(items: Iterable[tuple[str, str]]) -> RawHeaders:
    return [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in items]
