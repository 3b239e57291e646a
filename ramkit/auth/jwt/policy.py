"""What a service says and demands of its tokens."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Profile", "TokenPolicy", "check_seconds", "names_of", "policy_of"]

Profile = Literal["jwt", "at+jwt"]

#: RFC 9068 §2.2
_ACCESS_TOKEN = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """``kinds``: values of ``typ`` that are taken, None for a token without one (RFC 8725 §3.11)."""

    kinds: frozenset[str | None]
    required: tuple[str, ...]
    issuer: frozenset[str]
    audience: frozenset[str]
    leeway: float


def policy_of(
    *,
    profile: Profile,
    issuer: str | Collection[str] | None,
    audience: str | Collection[str] | None,
    leeway: float,
    require: Collection[str],
) -> TokenPolicy:
    """From the arguments of a ``JWTService``. Raises ``ConfigurationError``."""
    if profile not in ("jwt", "at+jwt"):
        raise ConfigurationError("profile", f"{profile!r} is neither 'jwt' nor 'at+jwt'")
    issuers, audiences = names_of("issuer", issuer), names_of("audience", audience)
    access = profile == "at+jwt"
    if access and not issuers:
        raise ConfigurationError("issuer", "an access token names its issuer (RFC 9068 §4)")
    if access and not audiences:
        raise ConfigurationError("audience", "an access token is for somebody (RFC 9068 §4)")
    required = ("exp", *names_of("require", require), *(_ACCESS_TOKEN if access else ()))
    return TokenPolicy(
        kinds=frozenset({"at+jwt"} if access else {None, "jwt"}),
        required=tuple(dict.fromkeys(required)),
        issuer=frozenset(issuers),
        audience=frozenset(audiences),
        leeway=check_seconds("leeway", leeway, zero=True),
    )


def names_of(argument: str, value: object) -> tuple[str, ...]:
    """One string or several as a tuple; none for None."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Collection):
        raise ConfigurationError(argument, f"{value!r} is neither a string nor a collection of strings")
    names = tuple(cast(Collection[object], value))
    if not all(isinstance(each, str) and each for each in names):
        raise ConfigurationError(argument, f"{value!r} holds what is not a name")
    return cast(tuple[str, ...], names)


def check_seconds(argument: str, value: object, *, zero: bool = False) -> float:
    """A finite number of seconds, more than 0 or with ``zero`` at least 0."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or cast(float, value) < 0 or (not zero and value == 0):
        raise ConfigurationError(argument, f"{value!r} is not a number of seconds")
    return float(cast(float, value))
