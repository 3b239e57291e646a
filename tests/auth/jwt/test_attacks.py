"""What attackers send (RFC 8725 §2, and beyond). Where it matters the signature is good: it must not help."""

import json
import warnings

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ramkit.auth.jwt import InvalidToken, JWTService, Key, KeySet
from ramkit.kernel.errors import ConfigurationError
from tests.auth.jwt.making import PRIVATE, SECRET, b64, forge, hs256, private_pem, public_pem

HEAD = {"alg": "HS256", "typ": "JWT"}
CLAIMS = {"sub": "eve", "exp": 4_000_000_000}


def refused(token, service=None):
    """For the same reason each time."""
    service = service or hs256()
    reasons = []
    for _ in range(2):
        with pytest.raises(InvalidToken) as caught:
            service.verify(token)
        reasons.append(caught.value.reason)
    assert reasons[0] == reasons[1]
    assert caught.value.status_code == 401
    return reasons[0]


def test_the_good_one_is_good():
    assert hs256().verify(forge(HEAD, CLAIMS)) == CLAIMS


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS512", "RS256", "ES256K"]
)
def test_another_algorithm(alg):
    signature = forge(HEAD, CLAIMS).rpartition(".")[2]
    for each in ("", signature):
        refused(f"{b64({'alg': alg})}.{b64(CLAIMS)}.{each}")
    refused(forge({"alg": alg}, CLAIMS))


def test_no_algorithm():
    refused(forge({"typ": "JWT"}, CLAIMS))
    refused(forge({"alg": None}, CLAIMS))
    refused(forge({"alg": ["HS256"]}, CLAIMS))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_public_key_as_secret(algorithm):
    """CVE-2015-9235, CVE-2022-29217, CVE-2026-48526: algorithm confusion."""
    pem = public_pem(PRIVATE[algorithm])
    jwk = Key.from_pem(pem, algorithm=algorithm).public()
    service = JWTService(keys=KeySet.from_pem(pem, algorithm=algorithm))
    for secret in (pem, pem.strip(), json.dumps(jwk), pem.replace("\n", "")):
        assert refused(forge(HEAD, CLAIMS, secret.encode()), service) == "The token's key is not known."
        assert "signature" in refused(forge({"alg": algorithm}, CLAIMS, secret.encode()), service)
    for secret in (pem, json.dumps(jwk)):
        with pytest.raises(ConfigurationError):
            JWTService(secret=secret)


def test_keys_from_the_header_are_never_used():
    """CVE-2018-0114, and jku and x5u as a way to ask servers for things."""
    own = PRIVATE["RS256"]
    jwk = Key.from_pem(private_pem(own), algorithm="RS256").public()
    service = JWTService(
        keys=KeySet.from_pem(private_pem(rsa.generate_private_key(65537, 2048)), algorithm="RS256")
    )
    for brought in (
        {"jwk": jwk},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"kid": "../../dev/null"},
        {"kid": "' UNION SELECT 'x"},
    ):
        token = jwt.encode(CLAIMS, own, "RS256", headers=brought)
        refused(token, service)


def test_kid_is_a_name_and_nothing_else():
    keys = KeySet([Key.from_secret(SECRET, kid="one"), Key.from_secret(b"x" * 32, kid="two")])
    service = JWTService(keys=keys)
    assert service.verify(forge({**HEAD, "kid": "one"}, CLAIMS))
    for kid in ("two", "", "One", "three", "one\0"):
        refused(forge({**HEAD, "kid": kid}, CLAIMS), service)
    for kid in (1, None, ["one"], {}):
        refused(forge({**HEAD, "kid": kid}, CLAIMS), service)


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "exp", ["http://example.com/x"]])
def test_critical_extensions(crit):
    assert "critical" in refused(forge({**HEAD, "crit": crit, "exp": 1, "b64": True}, CLAIMS))


def test_unencoded_payload_without_crit():
    for b64_ in (False, None, 0, "false"):
        assert "not encoded" in refused(forge({**HEAD, "b64": b64_}, CLAIMS))


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", "jwt2"])
def test_tokens_of_another_kind(typ):
    assert "another kind" in refused(forge({"alg": "HS256", "typ": typ}, CLAIMS))


@pytest.mark.parametrize(
    "exp", [None, True, "4000000000", [4e9], {}, float("inf"), float("nan"), 10**400, -1]
)
def test_expiry_that_is_none(exp):
    refused(forge(HEAD, {"sub": "eve", "exp": exp}))
    refused(forge(HEAD, {"sub": "eve"}))


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("value", [True, "0", None, 1e300, [0]])
def test_dates_that_are_none(name, value):
    refused(forge(HEAD, {**CLAIMS, name: value}))


def test_numbers_that_overflow_in_the_text():
    for text in (
        '{"exp": 1e999}',
        '{"exp": Infinity}',
        '{"exp": NaN}',
        '{"exp": 4e9, "x": NaN}',
        "{" + '"a":' * 5,
    ):
        refused(forge(HEAD, text))


@pytest.mark.parametrize("name", ["sub", "jti", "iss", "sid", "client_id"])
def test_names_that_are_none(name):
    for value in (1, None, ["a"], {"a": 1}, True):
        refused(forge(HEAD, {**CLAIMS, name: value}))


def test_names_that_stand_twice():
    refused(forge('{"alg":"HS256","alg":"none"}', CLAIMS))
    refused(forge('{"alg":"none","alg":"HS256"}', CLAIMS))
    refused(forge(HEAD, '{"sub":"ada","exp":4000000000,"sub":"eve"}'))
    refused(forge(HEAD, '{"sub":"ada","exp":4000000000,"x":{"a":1,"\\u0061":2}}'))


@pytest.mark.parametrize(
    "payload",
    [
        "[]",
        "null",
        "1",
        '"x"',
        "",
        "{",
        "{}x",
        "\ufeff{}",
        b"\xff\xfe",
        b'{"a":"\xff"}',
        "[" * 3000,
        '{"a":' * 600,
    ],
)
def test_payloads_that_are_none(payload):
    refused(forge(HEAD, payload))


@pytest.mark.parametrize("header", ["[]", "null", "", "{", b"\xff", '{"alg":"HS256"}{}', "[" * 4000])
def test_headers_that_are_none(header):
    refused(forge(header, CLAIMS))


def test_one_token_has_one_spelling():
    """Else a revoked or remembered one comes back as another."""
    good = forge(HEAD, CLAIMS)
    head, payload, signature = good.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # 32 bytes are 43 characters, of which the last has two bits that say nothing
    twin = signature[:-1] + last[last.index(signature[-1]) ^ 1]
    variants = [
        f"{head}.{payload}.{twin}", f"{good}=", f"{head}=.{payload}.{signature}", f"{good}\n", f" {good}",
        f"{good}.",
        f"{head}.{payload}.{signature}.x", f"{head}.{payload}", f"{head}..{signature}",
        f".{payload}.{signature}",
        "",
        "..", ".", f"{head}.{payload}.", good.replace("_", "/").replace("-", "+") + "/",
        f"{head}.{payload}.{signature}A",
        good + "\0", good.replace(".", "\u002e\u200b", 1), good + "é",
    ]  # fmt: skip
    for each in variants:
        assert each != good
        refused(each)


def test_encrypted_tokens_and_detached_payloads():
    refused(".".join(["eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0", "", "a", "b", "c"]))
    head, _, signature = forge(HEAD, "").split(".")
    refused(f"{head}..{signature}")


def test_long_tokens_are_not_looked_at(monkeypatch):
    service = hs256(max_bytes=1000)
    token = forge(HEAD, {**CLAIMS, "x": "y" * 1000})
    monkeypatch.setattr("binascii.a2b_base64", lambda *_: pytest.fail("it was decoded"))
    assert "too long" in refused(token, service)


def test_a_signature_of_the_wrong_length():
    head, payload, _ = forge(HEAD, CLAIMS).split(".")
    for size in (0, 1, 31, 33, 64):
        refused(f"{head}.{payload}.{b64(bytes(size))}")


def test_psychic_signatures():
    """CVE-2022-21449: zeros for r and s."""
    for algorithm, size in (("ES256", 64), ("ES384", 96), ("ES512", 132)):
        service = JWTService(keys=KeySet.from_pem(public_pem(PRIVATE[algorithm]), algorithm=algorithm))
        refused(f"{b64({'alg': algorithm})}.{b64(CLAIMS)}.{b64(bytes(size))}", service)


def test_a_signature_of_another_scheme_under_the_same_key():
    """RSA keys are for one of PKCS #1 v1.5 and PSS."""
    private, public = PRIVATE["RS256"], public_pem(PRIVATE["RS256"])
    for made, wanted in (("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS384")):
        service = JWTService(keys=KeySet.from_pem(public, algorithm=wanted))
        token = jwt.encode(CLAIMS, private, made)
        refused(token, service)
        _head, payload, signature = token.split(".")
        refused(f"{b64({'alg': wanted})}.{payload}.{signature}", service)


def test_short_and_unfit_keys_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weak = rsa.generate_private_key(65537, 1024)
    for algorithm in ("RS256", "PS256"):
        with pytest.raises(ConfigurationError, match="key"):
            Key.from_pem(private_pem(weak), algorithm=algorithm)
    for algorithm, other in (("ES256", "ES384"), ("ES384", "RS256"), ("EdDSA", "ES256"), ("RS256", "EdDSA")):
        with pytest.raises(ConfigurationError, match="key"):
            Key.from_pem(private_pem(PRIVATE[algorithm]), algorithm=other)
    for jwk in (
        {"kty": "oct", "k": "AAAA"},
        {"kty": "oct", "k": "A" * 43, "alg": "none"},
        {"kty": "oct", "k": "A" * 43, "use": "enc"},
        {"kty": "oct", "k": "A" * 43, "key_ops": ["encrypt"]},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA"}, {}, {"kty": "rsa"}, {"kty": 1}, {"kty": "oct", "k": "A" * 43, "kid": 1},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            Key.from_jwk(jwk)


def test_nothing_that_was_refused_is_remembered():
    service = hs256()
    for payload in ({"exp": 1}, {"sub": "no exp"}, {**CLAIMS, "aud": "x"}):
        refused(forge(HEAD, payload), service)
    assert len(service._remembered) == 0


def test_reasons_survive_as_header_fields():
    for token in ('"\r\nx: y', forge({**HEAD, "typ": '"\r\n'}, CLAIMS)):
        with pytest.raises(InvalidToken) as caught:
            hs256().verify(token)
        value = caught.value.headers["www-authenticate"]
        assert value.isprintable()
        assert value.count('"') == 4


def test_a_token_that_names_no_key_is_not_tried_with_many():
    keys = KeySet([Key.from_secret(bytes([number]) * 32) for number in range(9)])
    service = JWTService(keys=keys)
    token = service.sign({})
    with pytest.raises(InvalidToken, match="many keys"):
        service.verify(token)
    keys.replace(list(keys)[1:])
    assert service.verify(token)


def test_claims_that_are_nested_deep_are_refused_or_given():
    for depth in (300, 500, 900, 2000):
        nested = "[" * depth + "]" * depth
        token = forge({"alg": "HS256"}, f'{{"exp": 99999999999, "x": {nested}}}')
        service = hs256(max_bytes=20_000)
        for _ in range(2):
            try:
                assert service.verify(token)["exp"]
            except InvalidToken:
                assert depth > 300
