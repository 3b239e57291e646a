"""What a token's claims must say (RFC 7519 §4.1, RFC 8725 §3, RFC 9068 §4). Time is passed in."""

import math
from typing import Any, cast

from ramkit.auth.jwt.core.tokens import Malformed
from ramkit.auth.jwt.policy import TokenPolicy

__all__ = ["Refused", "check_claims", "scopes_of", "window_of"]


class Refused(ValueError):
    """A good signature under claims that do not count here. The text is for the client, too."""


def check_claims(claims: dict[str, Any], policy: TokenPolicy, now: float) -> tuple[float, float]:
    """Raises ``Refused`` or ``Malformed``; returns from when until when (Unix time) that holds."""
    for name in policy.required:
        if claims.get(name) is None:
            raise Refused(f"The token has no {name}.")
    for name in ("sub", "jti", "iss", "client_id", "sid"):
        if not isinstance(claims.get(name, ""), str):
            raise Malformed(f"The token's {name} is no string.")
    if policy.issuer and claims.get("iss") not in policy.issuer:
        raise Refused("The token is of another issuer.")
    _check_audience(claims.get("aud"), policy.audience)
    begins, ends = window_of(claims, policy.leeway)
    if now >= ends:
        raise Refused("The token has expired.")
    if now < begins:
        raise Refused("The token is not valid yet.")
    return begins, ends


def window_of(claims: dict[str, Any], leeway: float) -> tuple[float, float]:
    """From when until when a token counts (§4.1.4 to §4.1.6); without ``exp`` for ever."""
    begins = max(_date(claims, "nbf", -math.inf), _date(claims, "iat", -math.inf)) - leeway
    return begins, _date(claims, "exp", math.inf) + leeway


def _date(claims: dict[str, Any], name: str, default: float) -> float:
    """A NumericDate (§2): finite, and no truth value, which Python takes for a number."""
    value: Any = claims.get(name)
    if name not in claims:
        return default
    if type(value) not in (int, float) or not -(2**53) < value < 2**53:
        raise Malformed(f"The token's {name} is no date.")
    return float(value)


def _check_audience(said: Any, ours: frozenset[str]) -> None:
    """§4.1.3: who does not find itself among those that are named must refuse, also who has no name."""
    if said is None:
        if ours:
            raise Refused("The token is for no audience.")
        return
    named = cast(list[object], said) if isinstance(said, list) else [said]
    if not all(isinstance(each, str) for each in named):
        raise Malformed("The token's aud is no string.")
    if ours.isdisjoint(named):
        raise Refused("The token is for another audience.")


def scopes_of(claims: dict[str, Any]) -> list[str]:
    """``scope`` (RFC 8693 §4.2, RFC 9068 §2.2.3): words in a string, or the list that some issuers make of
    it."""
    said: Any = claims.get("scope", ())
    words: Any = said.split() if isinstance(said, str) else said
    if not isinstance(words, list):
        return []
    return [each for each in cast(list[object], words) if isinstance(each, str)]
