"""Lets in who brings a bearer token that counts."""

from collections.abc import Collection, Iterable
from typing import Any

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from ramkit.auth.jwt.core.bearer import PROTOCOL, Flaw, credentials_of, is_public
from ramkit.auth.jwt.errors import InvalidToken, challenge
from ramkit.auth.jwt.events import TokenDecision
from ramkit.auth.jwt.policy import names_of
from ramkit.auth.jwt.port import Verifier
from ramkit.auth.jwt.user import TokenUser
from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.headers import without
from ramkit.kernel.lifespan import follow_lifespan
from ramkit.kernel.observers import Observer, notify, observers_of
from ramkit.kernel.replies import Reply, problem

__all__ = ["BearerAuthMiddleware"]


class BearerAuthMiddleware:
    """Authenticates HTTP requests and WebSockets by their bearer token (RFC 6750).

    ``verifier``: a ``JWTService``, or whatever has its ``authenticate``. ``required``: False lets in who
    brings no token, as Starlette's ``UnauthenticatedUser``; a bad token is refused all the same. ``public``:
    decoded paths that everybody may ask for, exact or ``/docs/*`` (that path and all below it); no token is
    looked at there. ``scopes``: what every token must have. ``realm``: for ``WWW-Authenticate``.

    Sets ``scope["user"]`` (``TokenUser``), ``scope["auth"]`` (Starlette's ``AuthCredentials``: the token's
    scopes and ``authenticated``) and the request context's principal; what was there before counts for
    nothing.

    A WebSocket may bring its token in ``Authorization`` or, from a browser, as ``new WebSocket(url,
    ["bearer", token, "chat.v1"])``. The app sees the other subprotocols only. If it accepts none of them,
    ``bearer`` is accepted, because browsers want one; the token is never sent back.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        verifier: Verifier,
        required: bool = True,
        public: Collection[str] = (),
        scopes: Collection[str] = (),
        realm: str | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if not callable(getattr(verifier, "authenticate", None)):
            raise ConfigurationError("verifier", f"{type(verifier).__name__} has no authenticate()")
        self.app, self._verifier, self._required, self._realm = app, verifier, required, realm
        patterns = names_of("public", public)
        for pattern in patterns:
            if not pattern.startswith("/") or "*" in pattern.removesuffix("/*"):
                raise ConfigurationError(
                    "public", f"{pattern!r} is neither a path nor one with '/*' at its end"
                )
        below = [pattern[:-1] for pattern in patterns if pattern.endswith("/*")]
        self._exact = frozenset(
            [each for each in patterns if not each.endswith("/*")] + [e[:-1] for e in below]
        )
        self._below = tuple(below)
        self._scopes = names_of("scopes", scopes)
        self._observers = observers_of(observers)
        self._resources: list[Any] = (
            [verifier] if hasattr(verifier, "start") and hasattr(verifier, "aclose") else []
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, *self._resources)
        elif scope["type"] in ("http", "websocket"):
            await self._admit(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"] = list(
            scope["headers"]
        )  # any iterable is legal; it is read more than once
        websocket = scope["type"] == "websocket"
        token, protocols = credentials_of(headers, scope.get("subprotocols") if websocket else None)
        if protocols is not None:
            scope, send = _without_token(scope, protocols), _accepting(send)
        self._enter(scope, None)
        if is_public(scope["path"], self._exact, self._below):
            await self.app(scope, receive, send)
        elif isinstance(token, Flaw):
            await self._without(token, scope, receive, send)
        else:
            refusal = await self._judge(token, scope)
            await (refusal or self.app)(scope, receive, send)

    async def _judge(self, token: str, scope: Scope) -> Reply | None:
        """None for a token that counts; its user is then in the scope."""
        try:
            user = TokenUser(await self._verifier.authenticate(token))
        except InvalidToken as error:
            self._tell("invalid")
            return self._refusal(401, error.reason, error="invalid_token", description=error.reason)
        except Unavailable as error:
            self._tell("unavailable")
            headers = [(name.encode(), value.encode()) for name, value in (error.headers or {}).items()]
            return problem(503, detail=error.detail, headers=headers)
        if not set(self._scopes) <= set(user.scopes):
            self._tell("scope")
            wanted = " ".join(self._scopes)
            return self._refusal(
                403, f"The scope {wanted} is needed.", error="insufficient_scope", scope=wanted
            )
        self._tell("accepted")
        self._enter(scope, user)
        return None

    async def _without(self, flaw: Flaw, scope: Scope, receive: Receive, send: Send) -> None:
        if flaw is not Flaw.MISSING:
            # RFC 6750 §3.1: more than one way of giving a token, or a malformed request, is a 400
            self._tell("malformed")
            refusal = self._refusal(400, flaw.value, error="invalid_request", description=flaw.value)
            await refusal(scope, receive, send)
            return
        self._tell("missing")
        await (self._refusal(401, flaw.value) if self._required else self.app)(scope, receive, send)

    def _refusal(self, status: int, detail: str, **said: str) -> Reply:
        header = challenge(realm=self._realm, **said)
        return problem(status, detail=detail, headers=[(b"www-authenticate", header.encode("ascii"))])

    @staticmethod
    def _enter(scope: Scope, user: TokenUser | None) -> None:
        scope["user"] = UnauthenticatedUser() if user is None else user
        scope["auth"] = AuthCredentials(None if user is None else ["authenticated", *user.scopes])
        RequestContext.of(scope).principal = user

    def _tell(self, result: str) -> None:
        if self._observers:
            notify(self._observers, TokenDecision(result))


def _without_token(scope: Scope, protocols: list[str]) -> Scope:
    """A scope in which an app finds no token to log or to accept."""
    headers = without(scope["headers"], b"sec-websocket-protocol")
    if protocols:
        headers.append((b"sec-websocket-protocol", ", ".join(protocols).encode("ascii", "replace")))
    RequestContext.of(scope)  # before the copy, so that both share it
    return {**scope, "subprotocols": protocols, "headers": headers}


def _accepting(send: Send) -> Send:
    async def accept(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": PROTOCOL}
        await send(message)

    return accept
