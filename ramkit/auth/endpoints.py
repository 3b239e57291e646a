"""Login, refresh and logout as an ASGI app, for those who want it.

app.mount("/auth", TokenEndpoints(authenticate, tokens=service, refresh=RefreshTokens("redis://localhost")))

``POST /auth/login`` with ``username`` and ``password``, ``POST /auth/refresh`` and ``POST /auth/logout`` with
``refresh_token``, as JSON or as a form. Tokens are answered as OAuth has them (RFC 6749 §5.1).
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl

from ramkit.auth.jwt import InvalidRefreshToken, JWTService, RefreshGrant, RefreshTokens
from ramkit.kernel.asgi import Receive, Scope, Send
from ramkit.kernel.clock import SystemClock
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.headers import find, find_all
from ramkit.kernel.lifespan import follow_lifespan
from ramkit.kernel.replies import Reply, problem

__all__ = ["Authenticate", "TokenEndpoints"]

#: The subject, or claims that hold a ``sub``; None for a wrong name or password.
Who: TypeAlias = str | Mapping[str, Any] | None
Authenticate: TypeAlias = Callable[[str, str], Who | Awaitable[Who]]

_COOKIE: Final = b"__Host-refresh"
_NO_STORE: Final = (b"cache-control", b"no-store")
_BEARER: Final = (b"www-authenticate", b"Bearer")
#: of a form
_MOST_FIELDS: Final = 16
_JSON, _FORM = b"application/json", b"application/x-www-form-urlencoded"


class _Gone(Exception):
    """The client left while its body was read."""


class _Answer(Exception):
    """A reply, from wherever it was decided."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class TokenEndpoints:
    """``authenticate(username, password)``: the subject or claims with ``sub``, None for nobody; it takes the
    same time whether the name is known or not. ``tokens``: signs access tokens with those claims and ``sid``,
    the login's name. ``refresh``: keeps the logins.

    ``refresh_in="cookie"`` gives browsers the refresh token in a cookie (``__Host-``, Secure, HttpOnly,
    SameSite=Strict) that no script reads; requests must then come from this origin or one of ``origins``.
    ``max_body``: bytes.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        tokens: JWTService,
        refresh: RefreshTokens,
        refresh_in: Literal["body", "cookie"] = "body",
        origins: Collection[str] = (),
        max_body: int = 16_384,
    ) -> None:
        if not callable(authenticate):
            raise ConfigurationError("authenticate", f"{authenticate!r} is not callable")
        if refresh_in not in ("body", "cookie"):
            raise ConfigurationError("refresh_in", f"{refresh_in!r} is neither 'body' nor 'cookie'")
        if isinstance(origins, str) or any("://" not in each or each.endswith("/") for each in origins):
            raise ConfigurationError(
                "origins", f"{origins!r} is no list of origins such as https://example.com"
            )
        if max_body < 1:
            raise ConfigurationError("max_body", f"{max_body!r} is no number of bytes")
        self._authenticate, self._tokens, self._refresh = authenticate, tokens, refresh
        self._cookie, self._origins, self._max_body = refresh_in == "cookie", frozenset(origins), max_body
        self._actions = {"/login": self._login, "/refresh": self._renew, "/logout": self._logout}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await follow_lifespan(_lifespan, scope, receive, send, self._tokens, self._refresh)
        elif scope["type"] in ("http", "websocket"):
            try:
                reply = await self._reply(scope, receive)
            except _Gone:
                return
            await reply(scope, receive, send)

    async def start(self) -> None:
        """Open what the services need now. For apps behind a Mount, which gets no lifespan."""
        await self._tokens.start()
        await self._refresh.start()

    async def aclose(self) -> None:
        """Close what the services hold open."""
        await self._refresh.aclose()
        await self._tokens.aclose()

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        action = self._actions.get(scope["path"].removeprefix(scope.get("root_path", "")))
        if action is None or scope["type"] != "http":
            return problem(404)
        if scope["method"] != "POST":
            return problem(405, headers=[(b"allow", b"POST")])
        try:
            if self._cookie:
                self._check_origin(scope)
            return await action(scope, await self._fields(scope, receive))
        except _Answer as answer:
            return answer.reply
        except InvalidRefreshToken:
            return self._refused("The refresh token is not valid.", clear=self._cookie)
        except Unavailable as error:
            pairs = [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
            return problem(503, detail=error.detail, headers=[*pairs, _NO_STORE])

    # -- what is done --

    async def _login(self, scope: Scope, fields: dict[str, str]) -> Reply:  # noqa: ARG002 - as the others
        username, password = fields.get("username"), fields.get("password")
        if username is None or password is None:
            raise _Answer(problem(400, detail="username and password are needed.", headers=[_NO_STORE]))
        began, issued = SystemClock.monotonic(), self._tokens.now()
        found = self._authenticate(username, password)
        who: Who = await found if inspect.isawaitable(found) else found
        if who is None:
            return self._refused("The name or the password is wrong.")
        claims = {"sub": who} if isinstance(who, str) else dict(who)
        if not isinstance(claims.get("sub"), str):
            raise ConfigurationError("authenticate", "it gave claims without sub")
        age = SystemClock.monotonic() - began
        return self._grant(await self._refresh.issue(claims["sub"], claims, age=age), issued)

    async def _renew(self, scope: Scope, fields: dict[str, str]) -> Reply:
        issued = self._tokens.now()
        return self._grant(await self._refresh.refresh(self._presented(scope, fields)), issued)

    async def _logout(self, scope: Scope, fields: dict[str, str]) -> Reply:
        await self._refresh.revoke(self._presented(scope, fields))
        return Reply(204, [_NO_STORE, *([_set_cookie("", 0)] if self._cookie else [])])

    def _grant(self, grant: RefreshGrant, issued: float) -> Reply:
        """``issued``: when it was asked for, so that who is logged out everywhere meanwhile, is."""
        access = self._tokens.sign({**grant.data, "sub": grant.subject, "sid": grant.family, "iat": issued})
        said: dict[str, Any] = {
            "access_token": access, "token_type": "Bearer", "expires_in": int(self._tokens.expires_in)
        }  # fmt: skip
        headers = [_NO_STORE, (b"content-type", _JSON)]
        if self._cookie:
            headers.append(_set_cookie(grant.token, int(self._refresh.idle)))
        else:
            said["refresh_token"] = grant.token
        return Reply(200, headers, json.dumps(said).encode())

    def _refused(self, detail: str, *, clear: bool = False) -> Reply:
        cookies = [_set_cookie("", 0)] if clear else []
        return problem(401, detail=detail, headers=[_BEARER, _NO_STORE, *cookies])

    # -- what is read --

    def _presented(self, scope: Scope, fields: dict[str, str]) -> str:
        if not self._cookie:
            return fields.get("refresh_token", "")
        pairs = [pair.strip() for line in find_all(scope["headers"], b"cookie") for pair in line.split(b";")]
        found = [pair.partition(b"=")[2] for pair in pairs if pair.partition(b"=")[0] == _COOKIE]
        return found[0].decode("latin-1") if len(found) == 1 else ""

    def _check_origin(self, scope: Scope) -> None:
        """A cookie comes along with whatever another site has a browser send; browsers say from where."""
        headers = scope["headers"]
        origin, host = find(headers, b"origin"), find(headers, b"host") or b""
        if origin is None:
            good = find(headers, b"sec-fetch-site") == b"same-origin"
        else:
            own = {b"https://" + host, scope.get("scheme", "http").encode() + b"://" + host}
            good = origin in own or origin.decode("latin-1") in self._origins
        if not good:
            raise _Answer(problem(403, detail="The request comes from another origin.", headers=[_NO_STORE]))

    async def _fields(self, scope: Scope, receive: Receive) -> dict[str, str]:
        body = await self._body(receive)
        if not body:
            return {}
        kind = (find(scope["headers"], b"content-type") or b"").partition(b";")[0].strip().lower()
        try:
            if kind == _JSON:
                parsed: Any = json.loads(body)
                pairs: list[tuple[Any, Any]] = list(parsed.items())
            elif kind == _FORM:
                pairs = [
                    *parse_qsl(
                        body.decode("utf-8"),
                        keep_blank_values=True,
                        strict_parsing=True,
                        errors="strict",
                        max_num_fields=_MOST_FIELDS,
                    )
                ]
            else:
                raise _Answer(problem(415, detail="JSON or a form is understood.", headers=[_NO_STORE]))
        except (ValueError, AttributeError, RecursionError):
            pairs = [("", None)]
        fields = dict(pairs)
        if len(fields) != len(pairs) or not all(isinstance(value, str) for value in fields.values()):
            raise _Answer(problem(400, detail="The body is malformed.", headers=[_NO_STORE]))
        return fields

    async def _body(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_body:
                raise _Answer(problem(413, headers=[_NO_STORE]))
        return bytes(body)


def _set_cookie(value: str, max_age: int) -> tuple[bytes, bytes]:
    text = f"{_COOKIE.decode()}={value}; Max-Age={max_age}; Path=/; Secure; HttpOnly; SameSite=Strict"
    return b"set-cookie", text.encode("ascii")


async def _lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
