import asyncio
import gc
from datetime import UTC, datetime

import jwt
import pytest

from ramkit.auth.jwt import InvalidToken, JWTService, Key, KeySet
from ramkit.kernel.errors import ConfigurationError
from tests.auth.jwt.making import PRIVATE, SECRET, forge, hs256, private_pem, public_pem


def test_what_is_signed_is_verified_also_by_pyjwt(clock):
    service = hs256(issuer="https://a.example", audience="shop", expires_in=60, clock=clock)
    token = service.sign({"sub": "ada", "roles": ["x", {"deep": [1]}]})
    claims = service.verify(token)
    assert claims["sub"] == "ada"
    assert claims["exp"] - claims["iat"] == 60
    assert claims == jwt.decode(
        token, SECRET, ["HS256"], audience="shop", issuer="https://a.example",
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert service.decode_unverified(token) == claims


@pytest.mark.parametrize("algorithm", sorted(PRIVATE))
def test_each_algorithm(algorithm):
    private, public = private_pem(PRIVATE[algorithm]), public_pem(PRIVATE[algorithm])
    signer = JWTService(keys=KeySet.from_pem(private, algorithm=algorithm))
    verifier = JWTService(keys=KeySet.from_pem(public, algorithm=algorithm))
    token = signer.sign({"sub": "ada"})
    assert verifier.verify(token) == signer.verify(token)
    assert JWTService(keys=KeySet.from_jwks(signer.keys.jwks())).verify(token)["sub"] == "ada"
    assert jwt.decode(token, public, [algorithm])["sub"] == "ada"
    with pytest.raises(ConfigurationError, match="sign"):
        verifier.sign({"sub": "ada"})


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_secrets_of_each_length(algorithm, size):
    token = JWTService(secret=b"x" * size, algorithm=algorithm).sign({})
    assert JWTService(secret=b"x" * size, algorithm=algorithm).verify(token)
    with pytest.raises(ConfigurationError):
        JWTService(secret=b"x" * (size - 1), algorithm=algorithm)


def test_time_is_exact_and_leeway_is_said(clock):
    service, lenient = hs256(expires_in=60, clock=clock), hs256(leeway=5, clock=clock)
    token = service.sign({})
    for verifier, seconds in ((service, 60), (lenient, 5)):
        clock.advance(seconds - 0.001)
        verifier.verify(token)
        clock.advance(0.001)
        for _ in range(2):  # remembered or not
            with pytest.raises(InvalidToken, match="expired"):
                verifier.verify(token)


def test_what_was_remembered_is_not_valid_before_its_time_again(clock):
    service = hs256(clock=clock)
    token = service.sign({"nbf": clock.time() + 10})
    with pytest.raises(InvalidToken, match="not valid yet"):
        service.verify(token)
    clock.advance(10)
    service.verify(token)
    clock.step(-1)
    with pytest.raises(InvalidToken, match="not valid yet"):
        service.verify(token)


def test_claims_are_the_callers_own():
    service = hs256()
    token = service.sign({"sub": "ada", "roles": ["x", {"deep": [1]}]})
    service.verify(token)
    for _ in range(3):
        claims = service.verify(token)
        assert claims["roles"] == ["x", {"deep": [1]}]
        claims["roles"][1]["deep"].append("admin")
        claims["sub"] = "eve"


def test_the_second_verification_does_not_look_at_the_signature(monkeypatch):
    service, seen = hs256(), []
    token = service.sign({})
    verify = Key.verify
    monkeypatch.setattr(Key, "verify", lambda self, *args: seen.append(1) or verify(self, *args))
    for _ in range(5):
        service.verify(token)
    assert len(seen) == 1


def test_what_is_remembered_is_bounded():
    service = hs256(remember=20_000)
    tokens = [service.sign({"sub": str(number)}) for number in range(100)]
    for token in tokens:
        service.verify(token)
    kept = len(service._remembered)
    assert 5 <= kept < 20
    for token in tokens:
        service.verify(token)
    assert len(service._remembered) == kept
    none = hs256(remember=0)
    none.verify(tokens[0])
    assert len(none._remembered) == 0


def test_rotation_with_overlap():
    keys = KeySet([Key.from_pem(private_pem(PRIVATE["ES256"]), algorithm="ES256", kid="old")])
    service = JWTService(keys=keys)
    old = service.sign({})
    service.verify(old)
    keys.add(Key.from_pem(private_pem(PRIVATE["EdDSA"]), algorithm="EdDSA", kid="new"))
    new = service.sign({})
    assert [jwt.get_unverified_header(each)["kid"] for each in (old, new)] == ["old", "new"]
    service.verify(old)
    service.verify(new)
    keys.remove("old")
    with pytest.raises(InvalidToken, match="key is not known"):
        service.verify(old)  # although it was remembered
    service.verify(new)
    with pytest.raises(KeyError):
        keys.remove("old")


def test_keys_without_names_rotate_too():
    keys = KeySet([Key.from_secret(b"a" * 32)])
    service = JWTService(keys=keys)
    old = service.sign({})
    keys.add(Key.from_secret(b"b" * 32))
    assert service.verify(old)
    assert service.verify(service.sign({}))


def test_keys_of_pyjwt():
    key = jwt.PyJWK({"kty": "oct", "k": "A" * 43, "alg": "HS256", "kid": "one"})
    service = JWTService(keys=KeySet([key]))
    assert jwt.decode(service.sign({"sub": "a"}), key, ["HS256"])["sub"] == "a"


def test_access_tokens_of_rfc9068():
    options = {"issuer": "https://a.example", "audience": "api"}
    service = hs256(profile="at+jwt", **options)
    token = service.sign({"sub": "ada", "client_id": "app"})
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    service.verify(token)
    with pytest.raises(ConfigurationError, match="client_id"):
        service.sign({"sub": "ada"})
    claims = service.decode_unverified(token)
    with pytest.raises(InvalidToken, match="another kind"):
        service.verify(forge({"alg": "HS256", "typ": "JWT"}, claims))
    with pytest.raises(InvalidToken, match="another kind"):
        hs256(**options).verify(token)
    assert service.verify(forge({"alg": "HS256", "typ": "application/AT+JWT"}, claims))
    for name in ("iss", "exp", "aud", "sub", "client_id", "iat", "jti"):
        without = {key: value for key, value in claims.items() if key != name}
        with pytest.raises(InvalidToken, match=name):
            service.verify(forge({"alg": "HS256", "typ": "at+jwt"}, without))


def test_issuer_and_audience():
    service = hs256(issuer=["a", "b"], audience=["x", "y"])
    claims = service.verify(service.sign({}))
    assert (claims["iss"], claims["aud"]) == ("a", ["x", "y"])
    assert service.verify(service.sign({"iss": "b", "aud": ["z", "y"]}))
    for other in ({"iss": "c"}, {"aud": "z"}, {"aud": []}, {"aud": ["z"]}, {"iss": None}, {"aud": None}):
        with pytest.raises(InvalidToken):
            service.verify(forge({"alg": "HS256"}, {**claims, **other}))
    with pytest.raises(InvalidToken, match="audience"):
        hs256().verify(service.sign({}))


def test_sign_says_what_is_wrong():
    service = hs256(require=["tenant"])
    for claims in (
        {},
        {"tenant": 1, "exp": 0},
        {"tenant": 1, "sub": 5},
        {"tenant": {1, 2}},
        {"tenant": float("nan")},
    ):
        with pytest.raises(ConfigurationError, match="claims"):
            service.sign(claims)
    at = datetime(2040, 1, 1, tzinfo=UTC)
    assert service.verify(service.sign({"tenant": 1, "exp": at}))["exp"] == at.timestamp()


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("secret", {}),
        ("secret", {"secret": SECRET, "keys": KeySet()}),
        ("keys", {"keys": {"keys": []}}),
        ("key", {"secret": "short"}),
        ("key", {"secret": public_pem(PRIVATE["ES256"])}),
        ("algorithm", {"secret": SECRET, "algorithm": "none"}),
        ("algorithm", {"secret": SECRET, "algorithm": "RS256"}),
        ("leeway", {"secret": SECRET, "leeway": -1}),
        ("expires_in", {"secret": SECRET, "expires_in": 0}),
        ("issuer", {"secret": SECRET, "issuer": ""}),
        ("issuer", {"secret": SECRET, "profile": "at+jwt", "audience": "a"}),
        ("audience", {"secret": SECRET, "profile": "at+jwt", "issuer": "a"}),
        ("profile", {"secret": SECRET, "profile": "dpop"}),
        ("require", {"secret": SECRET, "require": [1]}),
        ("max_bytes", {"secret": SECRET, "max_bytes": 0}),
        ("remember", {"secret": SECRET, "remember": -1}),
    ],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        JWTService(**options)
    assert caught.value.argument == argument


async def test_a_service_holds_nothing_open():
    service = hs256()
    await service.start()
    await service.authenticate(service.sign({}))
    await service.aclose()
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}
