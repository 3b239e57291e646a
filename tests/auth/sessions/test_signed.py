import asyncio
import base64
import json
from typing import Any

import jwt
import pytest

from ramkit.auth.sessions import SessionTooLarge, SignedSessionMiddleware
from ramkit.auth.sessions.signing import SecretSigner
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.testing.client import drive, http_scope
from tests.auth.sessions.helpers import NAME, acting, ask

SECRET = "s" * 32


class Revocations:
    def __init__(self) -> None:
        self.jtis: set[str] = set()
        self.away = False

    async def revoked(self, claims):
        if self.away:
            raise Unavailable("away")
        return claims["jti"] in self.jtis

    async def revoke_token(self, claims):
        if self.away:
            raise Unavailable("away")
        assert claims["exp"] > 0
        self.jtis.add(claims["jti"])


@pytest.fixture
def revocations():
    return Revocations()


@pytest.fixture
def app(clock, revocations):
    return SignedSessionMiddleware(
        acting, secret=SECRET, clock=clock, revocations=revocations, ttl=600, absolute=3000
    )


async def test_state_is_in_the_cookie(app):
    assert (await ask(app, "touch=")).cookies == []
    first = await ask(app, "a=1")
    (line,) = first.cookies
    assert line.endswith("; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax")
    read = await ask(app, "touch=", first.id)
    assert (read.session, read.cookies, read.get("vary")) == ({"a": "1"}, [], "Cookie")
    second = await ask(app, "b=2", first.id)
    assert (await ask(app, "touch=", second.id)).session == {"a": "1", "b": "2"}
    # the last write wins, and nothing but revocation ends a copy
    assert (await ask(app, "touch=", first.id)).session == {"a": "1"}


@pytest.mark.parametrize("change", ["user=b", "-user=", "regenerate=", "clear=", "clear=&user=a"])
async def test_what_is_renewed_or_ended_is_revoked(app, change):
    old = (await ask(app, "user=a&x=1")).id
    same = (await ask(app, "x=2", old)).id
    answer = await ask(app, change, old)
    assert (await ask(app, "touch=", answer.id)).session == answer.session
    for each in (old, same):
        assert (await ask(app, "touch=", each)).session == {}


async def test_expiry(app, clock):
    id_ = (await ask(app, "a=1")).id
    clock.advance(599)
    assert (await ask(app, "touch=", id_)).session == {"a": "1"}
    clock.advance(1)
    assert (await ask(app, "touch=", id_)).session == {}
    id_ = (await ask(app, "a=0")).id
    for number in range(6):
        clock.advance(499)
        id_ = (await ask(app, f"a={number + 1}", id_)).id
    clock.advance(5)
    assert (await ask(app, "touch=", id_)).session == {"a": "6"}
    clock.advance(2)  # 3001 seconds after its beginning
    assert (await ask(app, "touch=", id_)).session == {}


async def test_revocations_that_are_not_known(app, revocations):
    id_ = (await ask(app, "a=1")).id
    revocations.away = True
    assert (await ask(app, "", id_)).status == 200
    assert (await ask(app, "touch=", id_)).status == 503


def forged(**changes: Any) -> list[str]:
    """Tokens that are not ours, one way or another."""
    state = base64.urlsafe_b64encode(b"\x80").decode()
    claims = {
        "jti": "x",
        "iat": 0,
        "exp": 2**40,
        "rke": 2**40,
        "rks": state,
        "aud": "ramkit.session",
        **changes,
    }
    none = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none", "typ": "JWT"}, claims)
    )
    return [
        jwt.encode(claims, "x" * 32, algorithm="HS256"),
        jwt.encode({**claims, "aud": "other"}, SECRET, algorithm="HS256"),
        jwt.encode({key: value for key, value in claims.items() if key != "aud"}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "rks": 7}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "rks": "AAAA"}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "rks": "a"}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "rke": "x"}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "jti": None}, SECRET, algorithm="HS256"),
        jwt.encode({**claims, "exp": 1}, SECRET, algorithm="HS256"),
        none + ".",
        "not a token",
        "ü",
    ]


async def test_what_is_not_ours_is_no_session(app):
    for token in forged():
        answer = await ask(app, "a=1", token)
        assert answer.session == {"a": "1"}
        assert answer.status == 200


async def test_tossed_cookies_do_not_count(app):
    one, other = (await ask(app, "user=me")).id, (await ask(app, "user=eve")).id
    assert (await ask(app, "touch=", one, other)).session == {}


async def test_it_fits_into_a_cookie(app):
    assert (await ask(app, "a=" + "x" * 2000)).status == 200
    sent: list[Any] = []
    with pytest.raises(SessionTooLarge, match="of 40"):
        await drive(app, http_scope(query=b"a=" + b"x" * 3000), sent=sent)
    assert sent[0]["status"] == 500


async def test_secrets_rotate(clock):
    old = SignedSessionMiddleware(acting, secret=SECRET, clock=clock)
    new = SignedSessionMiddleware(acting, signer=SecretSigner("n" * 32, previous=(SECRET,), clock=clock))
    id_ = (await ask(old, "a=1")).id
    answer = await ask(new, "b=2", id_)
    assert answer.session == {"a": "1", "b": "2"}
    assert (await ask(old, "touch=", answer.id)).session == {}


def test_mistakes_are_named():
    for arguments in ({}, {"secret": "short"}, {"secret": SECRET, "signer": SecretSigner(SECRET)}):
        with pytest.raises(ConfigurationError, match="^secret:"):
            SignedSessionMiddleware(acting, **arguments)
    assert NAME.startswith("__Host-")


async def test_a_logged_out_session_in_flight_is_not_brought_back(clock, revocations):
    gate, waits = asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send):
        scope["session"].touch()
        if b"slow" in scope["path"].encode():
            waits.set()
            await gate.wait()
        await acting(scope, receive, send)

    app = SignedSessionMiddleware(slow, secret=SECRET, clock=clock, revocations=revocations)
    for change, left in (
        ("b=2", {}), ("regenerate=", {}), ("user=a&regenerate=", {}),
        ("user=new&b=2", {"user": "new", "b": "2"}),
    ):  # fmt: skip
        gate.clear()
        waits.clear()
        old = (await ask(app, "user=a&x=1")).id
        late = asyncio.ensure_future(ask(app, change, old, path="/slow"))
        await waits.wait()
        await ask(app, "clear=", old)
        gate.set()
        assert (await ask(app, "touch=", (await late).id)).session == left


async def test_deep_and_long_values_are_no_session(app):
    head = base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=")
    for value in (f"{head}.e30.AAAA", "a" * 60_000, "." * 3000):
        assert (await ask(app, "touch=", value)).session == {}
