"""``JWTService`` and ``Revocations`` under ``SignedSessionMiddleware``, which do not know each other."""

import asyncio
from typing import Any

import pytest

from ramkit.auth.jwt import BearerAuthMiddleware, JWTService, KeySet, RefreshTokens, Revocations
from ramkit.auth.sessions import SignedSessionMiddleware
from ramkit.kernel.errors import ConfigurationError
from ramkit.testing.client import drive, http_scope
from tests.auth.jwt.making import PRIVATE, SECRET, hs256, private_pem
from tests.auth.sessions.helpers import acting, ask

SESSION = "ramkit.session"


def signed(revocations: Revocations, **options: Any) -> SignedSessionMiddleware:
    service = hs256(audience=SESSION, revocations=revocations, expires_in=3600)
    return SignedSessionMiddleware(acting, signer=service, revocations=revocations, **options)


@pytest.mark.parametrize("change", ["user=b", "regenerate=", "clear=", "clear=&user=a"])
async def test_what_is_renewed_or_ended_is_revoked_in_every_process(change, redis_url):
    here, there = Revocations(redis_url), Revocations(redis_url)
    one, other = signed(here), signed(there)
    old = (await ask(one, "user=a&x=1")).id
    assert (await ask(other, "touch=", old)).session == {"user": "a", "x": "1"}  # waited for the log
    answer = await ask(one, change, old)
    await there.catch_up()
    assert (await ask(other, "touch=", old)).session == {}
    assert (await ask(other, "touch=", answer.id)).session == answer.session
    await asyncio.gather(here.aclose(), there.aclose())


async def test_logging_out_everywhere():
    revocations = Revocations()
    app = signed(revocations)
    old = (await ask(app, "user=ada")).id
    changed = (await ask(app, "x=1", old)).id
    bob = (await ask(app, "user=bob")).id
    await RefreshTokens(revocations=revocations).revoke_subject("ada")
    for each in (old, changed):
        assert (await ask(app, "touch=", each)).session == {}
    assert (await ask(app, "touch=", bob)).session == {"user": "bob"}
    assert (await ask(app, "touch=", (await ask(app, "user=ada")).id)).session == {"user": "ada"}


async def test_revocations_that_are_away_are_a_503_for_who_touches_its_session(redis_url, redis_server):
    revocations = Revocations(redis_url)
    id_ = (await ask(signed(revocations), "user=a")).id
    await revocations.aclose()
    redis_server.pause()
    try:
        app = signed(Revocations(redis_url))
        assert (await ask(app, "", id_)).status == 200
        assert (await ask(app, "touch=", id_)).status == 503
        for each in app._keeper.resources:
            await each.aclose()
    finally:
        redis_server.resume()


async def test_keys_rotate(clock):
    keys = KeySet.from_pem(private_pem(PRIVATE["ES256"]), algorithm="ES256")
    service = JWTService(keys=keys, audience=SESSION, clock=clock)
    app = SignedSessionMiddleware(acting, signer=service)
    id_ = (await ask(app, "user=a")).id
    keys.add(KeySet.from_pem(private_pem(PRIVATE["EdDSA"]), algorithm="EdDSA").signing())
    answer = await ask(app, "x=1", id_)
    assert answer.session == {"user": "a", "x": "1"}
    keys.remove(next(iter(keys)).kid)
    assert (await ask(app, "touch=", id_)).session == {}
    assert (await ask(app, "touch=", answer.id)).session == answer.session


async def test_neither_is_taken_for_the_other():
    app = SignedSessionMiddleware(acting, signer=hs256(audience=SESSION))
    cookie = (await ask(app, "user=ada")).id
    for service in (hs256(), hs256(audience="orders")):
        bearer = BearerAuthMiddleware(acting, verifier=service)
        scope = http_scope(headers=[(b"authorization", f"Bearer {cookie}".encode())])
        assert (await drive(bearer, scope))[0]["status"] == 401
    for token in (hs256().sign({"sub": "ada"}), hs256(audience=SESSION).sign({"sub": "ada"})):
        assert (await ask(app, "touch=", token)).session == {}


@pytest.mark.parametrize(
    "service",
    [
        JWTService(secret=SECRET),
        JWTService(secret=SECRET, audience="orders"),
        JWTService(secret=SECRET, audience=SESSION, require=["client_id"]),
        JWTService(secret=SECRET, audience=SESSION, expires_in=60, revocations=Revocations(lifetime=600)),
    ],
)
def test_a_service_that_cannot_sign_sessions_is_refused(service):
    with pytest.raises(ConfigurationError, match="^signer:"):
        SignedSessionMiddleware(acting, signer=service)
