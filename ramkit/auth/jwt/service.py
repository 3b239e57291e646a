"""Signs tokens, and says what a token is worth."""

import json
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, cast

from ramkit.auth.jwt.core.claims import Refused, check_claims, window_of
from ramkit.auth.jwt.core.keys import Key, KeySet
from ramkit.auth.jwt.core.remembered import Remembered, Verified
from ramkit.auth.jwt.core.tokens import MAX_BYTES, Malformed, Parts, claims_of, encode_segment, kind_of, split
from ramkit.auth.jwt.errors import InvalidToken, RevocationsUnavailable, UnknownKey
from ramkit.auth.jwt.jwks import JWKSClient
from ramkit.auth.jwt.policy import Profile, check_seconds, names_of, policy_of
from ramkit.auth.jwt.revocation import Revocations
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError

__all__ = ["JWTService"]

#: keys that one token is tried with
_TRIED = 8


class JWTService:
    """Signs and verifies JWTs (RFC 7519, RFC 8725).

    ``secret``: at least 32 random bytes for ``algorithm="HS256"``, 48 for HS384, 64 for HS512. ``keys``: a
    ``KeySet``, whose keys name their algorithms, or a ``JWKSClient``. ``expires_in``: seconds, for tokens
    signed here that bring no ``exp``. ``issuer``, ``audience``: one or several; what is signed names the
    first issuer and all audiences, what is verified must name one of each. A token that names an audience is
    refused where none is given. ``leeway``: seconds by which clocks may differ. ``profile="at+jwt"``: access
    tokens by RFC 9068 and nothing else. ``require``: claims that must be there besides ``exp``.
    ``max_bytes``: of a token that is looked at; ``remember``: bytes for tokens that were verified, 0 for
    none. ``revocations``: what no longer counts.
    """

    def __init__(
        self,
        *,
        secret: str | bytes | None = None,
        keys: KeySet | JWKSClient | None = None,
        algorithm: str = "HS256",
        expires_in: float = 900,
        issuer: str | Collection[str] | None = None,
        audience: str | Collection[str] | None = None,
        leeway: float = 0,
        profile: Profile = "jwt",
        require: Collection[str] = (),
        max_bytes: int = MAX_BYTES,
        remember: int = 16 * 2**20,
        revocations: Revocations | None = None,
        clock: Clock | None = None,
    ) -> None:
        if (secret is None) == (keys is None):
            raise ConfigurationError("secret", "give a secret or keys, one of them")
        if secret is not None:
            keys = KeySet([Key.from_secret(secret, algorithm=algorithm)])
        if not isinstance(keys, KeySet | JWKSClient):
            raise ConfigurationError("keys", f"{type(keys).__name__} is neither a KeySet nor a JWKSClient")
        self._remote = keys if isinstance(keys, JWKSClient) else None
        self.keys: KeySet = keys.keys if isinstance(keys, JWKSClient) else keys
        self._policy = policy_of(
            profile=profile, issuer=issuer, audience=audience, leeway=leeway, require=require
        )
        self._typ = "at+jwt" if profile == "at+jwt" else "JWT"
        self._issuer, self._audience = names_of("issuer", issuer), names_of("audience", audience)
        self.expires_in = check_seconds("expires_in", expires_in)
        for name, value, least in (("max_bytes", max_bytes, 1), ("remember", remember, 0)):
            if value < least:
                raise ConfigurationError(name, f"{value!r} is no number of bytes")
        if revocations is not None and expires_in > revocations.lifetime:
            raise ConfigurationError("expires_in", "longer than the revocations' lifetime")
        self._max_bytes, self._revocations = max_bytes, revocations
        self._remembered = Remembered(remember)
        # With revocations all processes go by one clock: "issued before" must mean the same to each.
        self._now = (clock or SystemClock()).time if revocations is None else revocations.now

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with these claims, and ``iss``, ``aud``, ``iat``, ``exp`` and ``jti`` where they bring
        none.

        ``exp``, ``nbf`` and ``iat`` may be datetimes. With revocations ``iat`` is to the microsecond. Raises
        ``ConfigurationError`` for claims that this service would refuse, or without a key that signs.
        """
        now = self._now()
        said = {**self._defaults(now), **claims}
        for name in ("exp", "nbf", "iat"):
            if isinstance(said.get(name), datetime):
                said[name] = int(cast(datetime, said[name]).timestamp())
        try:
            begins, ends = window_of(said, self._policy.leeway)
            check_claims(said, self._policy, max(now, begins))  # one that counts later may be signed now
            self._check_lifetime(ends, now)
        except ValueError as error:
            raise ConfigurationError("claims", str(error)) from None
        key = self.keys.signing()
        header = {"alg": key.algorithm, "typ": self._typ, **({"kid": key.kid} if key.kid else {})}
        signed = f"{_segment(header)}.{_segment(said)}"
        return f"{signed}.{encode_segment(key.sign(signed.encode('ascii')))}"

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that counts: a dict of the caller's own. Raises ``InvalidToken``, or
        ``Unavailable`` where keys or revocations are not known; ``authenticate`` waits for those."""
        if self._remote is not None:
            self._remote.look()
        known = self._remembered.get(token)
        if (
            known is not None
            and known.version == self.keys.version
            and known.begins <= self._now() < known.ends
        ):
            if self._revocations is not None:
                self._revocations.check(known)
            return known.copy()
        return self._verify(token)

    async def authenticate(self, token: str) -> dict[str, Any]:
        """As ``verify``; waits for keys that have to be fetched and revocations that have to be read
        first."""
        if self._remote is not None:
            await self._remote.ready()
        try:
            return self.verify(token)
        except UnknownKey:
            if self._remote is None or not await self._remote.look_for_more():
                raise
        except RevocationsUnavailable:
            if self._revocations is None:
                raise
            await self._revocations.catch_up()
        return self.verify(token)

    def decode_unverified(self, token: str) -> dict[str, Any]:
        """What a token says, whoever wrote it. Never to be believed. Raises ``InvalidToken`` for what is
        none."""
        try:
            return claims_of(split(token, self._max_bytes).payload)
        except Malformed as error:
            raise InvalidToken(str(error)) from None

    def now(self) -> float:
        """Unix time as ``iat`` has it: in whole seconds, with revocations by theirs and to the
        microsecond."""
        now = self._now()
        return int(now) if self._revocations is None else int(now * 1e6) / 1e6

    async def start(self) -> None:
        """Fetch keys and revocations now; never raises because their servers are away."""
        for each in (self._remote, self._revocations):
            if each is not None:
                await each.start()

    async def aclose(self) -> None:
        for each in (self._remote, self._revocations):
            if each is not None:
                await each.aclose()

    def _verify(self, token: str) -> dict[str, Any]:
        version = self.keys.version
        try:
            parts = split(token, self._max_bytes)
            self._check_signature(parts)
            claims = claims_of(parts.payload)
            now = self._now()
            begins, ends = check_claims(claims, self._policy, now)
            self._check_lifetime(ends, now)
        except (Malformed, Refused) as error:
            raise InvalidToken(str(error)) from None
        verified = Verified(claims, begins, ends, version)
        if self._revocations is not None:
            self._revocations.check(verified)
        try:
            copy = verified.copy()
        except RecursionError:
            raise InvalidToken("The token's claims are nested too deep.") from None
        self._remembered.put(token, verified)
        return copy

    def _check_lifetime(self, ends: float, now: float) -> None:
        if self._revocations is not None and ends - now > self._revocations.lifetime + self._policy.leeway:
            raise Refused("The token lives longer than its revocation would be known.")

    def _check_signature(self, parts: Parts) -> None:
        header = parts.header
        if kind_of(header) not in self._policy.kinds:
            raise Refused("The token is of another kind.")
        candidates = self.keys.candidates(header.get("kid"), header.get("alg", ""))
        if not candidates:
            raise UnknownKey("The token's key is not known.")
        if len(candidates) > _TRIED:  # else who names no key would have us work for many
            raise Refused("The token does not say by which of many keys.")
        if not any(key.verify(parts.signed, parts.signature) for key in candidates):
            raise Refused("The token's signature is wrong.")

    def _defaults(self, now: float) -> dict[str, Any]:
        claims: dict[str, Any] = {}
        if self._issuer:
            claims["iss"] = self._issuer[0]
        if self._audience:
            claims["aud"] = self._audience[0] if len(self._audience) == 1 else list(self._audience)
        return {
            **claims,
            "iat": self.now(),
            "exp": int(now + self.expires_in),
            "jti": secrets.token_urlsafe(16),
        }


def _segment(value: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return encode_segment(text.encode())
    except (ValueError, TypeError) as error:
        raise ConfigurationError("claims", str(error)) from None
