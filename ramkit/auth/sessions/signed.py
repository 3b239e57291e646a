"""Sessions whose state is in a signed cookie: nothing on the server."""

import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from secrets import token_urlsafe
from typing import Any, NamedTuple, cast

from starlette.exceptions import HTTPException

from ramkit.auth.sessions.core.cookies import COOKIE_BYTES, Cookie
from ramkit.auth.sessions.core.record import Fields, change_between, decode_map, map_of
from ramkit.auth.sessions.errors import SessionTooLarge
from ramkit.auth.sessions.events import SessionRead, SessionWrite
from ramkit.auth.sessions.keeping import Keeping, Late
from ramkit.auth.sessions.middleware import SessionBase, cookie_of
from ramkit.auth.sessions.policy import Lifetime
from ramkit.auth.sessions.session import Session
from ramkit.auth.sessions.signing import AUDIENCE, Revocable, SecretSigner, Signer
from ramkit.kernel.asgi import ASGIApp, RawHeaders, Scope
from ramkit.kernel.clock import Clock
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.lifespan import Resource
from ramkit.kernel.observers import Observer, notify, observers_of

__all__ = ["SignedSessionMiddleware"]

_log = logging.getLogger("ramkit.auth")

#: the claims with the fields, and with when the session ends at the latest
_STATE, _ENDS = "rks", "rke"


class SignedSessionMiddleware(SessionBase):
    """``request.session`` in a signed JWT in the cookie: readable by the client, changed by nobody else.

    ``secret``: at least 32 random bytes; or ``signer``: what signs, such as a ``JWTService`` for the audience
    ``ramkit.session``, whose clock counts. ``ttl``: seconds since the session was last *changed*;
    ``absolute``: since it began. ``revocations``: what makes a logout final, such as the service's
    ``Revocations``. Without, a copy of the cookie counts until it expires. The cookie is bound to 4 KiB.

    Of requests in flight that change different keys the last response wins, and the other's change is lost.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        secret: str | bytes | None = None,
        signer: Signer | None = None,
        ttl: float = 3600,
        absolute: float = 604_800,
        cookie: str | Cookie | None = None,
        subject: str = "user",
        revocations: Revocable | None = None,
        insecure_over_plain_http: bool = False,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if (secret is None) == (signer is None):
            raise ConfigurationError("secret", "give a secret or a signer, one of them")
        if signer is None:
            signer = SecretSigner(cast("str | bytes", secret), clock=clock)
        elif clock is not None:
            raise ConfigurationError("clock", "is for the signer to say")
        lifetime = Lifetime(ttl, absolute)
        _try_to_sign(signer, lifetime)
        keeper = _InCookie(
            signer,
            lifetime,
            cookie_of(cookie, insecure_over_plain_http=insecure_over_plain_http),
            subject,
            revocations,
            observers_of(observers),
            _resources(signer, revocations),
        )
        super().__init__(app, keeper)


class _InCookie(NamedTuple):
    signer: Signer
    lifetime: Lifetime
    cookie: Cookie
    subject: str
    revocations: Revocable | None
    observers: tuple[Observer, ...]
    resources: tuple[Resource, ...]

    async def load(self, headers: RawHeaders, context: RequestContext) -> Keeping:
        value = self.cookie.read(headers)
        if value is None:
            return _Signed(self, None, Session(context=context))
        try:
            claims = await self._claims(value)
            body = None if claims is None else _body(claims)
        except Unavailable as error:
            self.tell(SessionRead, "unavailable")
            return _Signed(self, None, Session(error=error, context=context))
        self.tell(SessionRead, "unknown" if body is None else "found")
        if claims is None or body is None:
            return _Signed(self, None, Session(context=context))
        return _Signed(self, claims, Session(body, handle=str(claims["jti"]), context=context))

    def tell(self, event: type[SessionRead | SessionWrite], result: str) -> None:
        if self.observers:
            notify(self.observers, event(result))

    async def _claims(self, value: bytes) -> Mapping[str, Any] | None:
        if len(value) > COOKIE_BYTES:
            return None
        try:
            claims = await self.signer.authenticate(value.decode("ascii"))
        except Unavailable:
            raise
        except (ValueError, HTTPException):
            return None
        if not isinstance(claims.get("jti"), str) or type(claims.get(_ENDS)) is not int:
            return None
        return None if await self.revoked(claims) else claims

    async def revoked(self, claims: Mapping[str, Any]) -> bool:
        return self.revocations is not None and await self.revocations.revoked(claims)


class _Signed:
    """One request's session, and the claims that it was read from."""

    __slots__ = ("_claims", "_keeper", "session")

    def __init__(self, keeper: _InCookie, claims: Mapping[str, Any] | None, session: Session) -> None:
        self._keeper, self._claims, self.session = keeper, claims, session

    def pending(self) -> bool:
        return self.session.modified

    async def keep(self, scope: Scope, *, cookie: bool) -> bytes | None:  # noqa: ARG002  # the protocol's
        try:
            return await self._keep(cookie=cookie)
        except Unavailable:
            self._keeper.tell(SessionWrite, "unavailable")
            raise

    async def _keep(self, *, cookie: bool) -> bytes | None:
        session, keeper, was = self.session, self._keeper, self._claims
        if not session.modified:
            return None
        fields = session.fields
        if not fields and was is None:
            return None
        if not cookie:
            raise Late
        login = session.base.get(keeper.subject) != fields.get(keeper.subject)
        if was is not None and await keeper.revoked(was):
            # It ended while this request was under way. Who has logged in just now, has; without the rest.
            fields = change_between(session.base, fields).sets if login and keeper.subject in fields else {}
            if not fields:
                return self._gone()
            was = None
        renewed = was is None or session.cleared or session.renewing or login or not fields
        value = self._sign(fields, was, login=login, renewed=renewed) if fields else b""
        if renewed and was is not None and keeper.revocations is not None:
            await keeper.revocations.revoke_token(was)
        self._tell_write(fields, was, renewed=renewed)
        session.rebase(str(self._claims["jti"]) if self._claims else None)
        return keeper.cookie.kept(value, keeper.lifetime.idle) if fields else keeper.cookie.removed()

    def _gone(self) -> bytes:
        self._claims = None
        self._keeper.tell(SessionWrite, "gone")
        self.session.rebase(None)
        return self._keeper.cookie.removed()

    def _sign(self, fields: Fields, was: Mapping[str, Any] | None, *, login: bool, renewed: bool) -> bytes:
        """The cookie's value; a renewed session has another name, so that the old one can be revoked."""
        keeper, now = self._keeper, self._keeper.signer.now()
        ends = int(now) + int(keeper.lifetime.absolute) if was is None or renewed else int(was[_ENDS])
        claims = {
            "aud": AUDIENCE,
            "jti": token_urlsafe(16) if was is None or renewed else was["jti"],
            # since when its subject is logged in: what a revocation of all that came before goes by
            "iat": now if was is None or login or "iat" not in was else was["iat"],
            "exp": min(int(now) + max(1, int(keeper.lifetime.idle)), ends),
            _ENDS: ends,
            _STATE: urlsafe_b64encode(map_of(fields)).decode(),
        }
        who: Any = (
            decode_map(map_of({"who": fields[keeper.subject]}))["who"] if keeper.subject in fields else None
        )
        if isinstance(who, str | int) and not isinstance(who, bool):
            claims["sub"] = str(who)
        value = keeper.signer.sign(claims).encode()
        if len(value) > keeper.cookie.room():
            keeper.tell(SessionWrite, "too_large")
            raise SessionTooLarge(len(value), keeper.cookie.room())
        self._claims = claims
        return value

    def _tell_write(self, fields: Fields, was: Mapping[str, Any] | None, *, renewed: bool) -> None:
        what = "regenerated" if renewed else "changed"
        self._keeper.tell(SessionWrite, "ended" if not fields else "created" if was is None else what)
        if not fields:
            self._claims = None


def _try_to_sign(signer: Signer, lifetime: Lifetime) -> None:
    """What does not sign a session's claims is found out when the app is made."""
    now = signer.now()
    claims = {"aud": AUDIENCE, "jti": "x", "iat": now, "exp": int(now) + max(1, int(lifetime.idle))}
    try:
        signer.sign({**claims, _ENDS: claims["exp"], _STATE: ""})
    except ConfigurationError as error:
        raise ConfigurationError(
            "signer",
            f"it signs no session that lives {lifetime.idle:g} s, for the audience {AUDIENCE!r}: {error}",
        ) from error


def _resources(*used: Any) -> tuple[Resource, ...]:
    return tuple(each for each in used if hasattr(each, "start") and hasattr(each, "aclose"))


def _body(claims: Mapping[str, Any]) -> bytes | None:
    state = claims.get(_STATE)
    try:
        body = urlsafe_b64decode(state) if isinstance(state, str) else b""
        decode_map(body)
    except (ValueError, RecursionError):
        return None
    return body
