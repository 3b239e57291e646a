"""The examples of the RFCs, against ``verify``. vectors.json names where they are from."""

import json
from pathlib import Path

import pytest

from ramkit.auth.jwt import InvalidToken, JWTService, Key, KeySet
from ramkit.testing.clock import ManualClock

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))
#: RFC 7515's tokens are by joe and expire at 1300819380
BEFORE = ManualClock(time=1_300_819_379)


@pytest.mark.parametrize("vector", VECTORS["signed"], ids=lambda each: each["name"])
def test_signed(vector):
    service = JWTService(keys=KeySet([vector["jwk"]]), clock=BEFORE)
    head, payload, signature = vector["token"].split(".")
    try:
        claims = json.loads(vector["payload"])
    except ValueError:
        # The signature was good: what is inside is looked at only then.
        with pytest.raises(InvalidToken, match="not JSON"):
            service.verify(vector["token"])
    else:
        assert service.verify(vector["token"]) == claims
        later = JWTService(keys=KeySet([vector["jwk"]]), clock=ManualClock(time=1_300_819_380))
        with pytest.raises(InvalidToken, match="expired"):
            later.verify(vector["token"])
    wrong = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    for token in (f"{head}.{payload}.{wrong}", f"{head}.{'A' + payload[1:]}.{signature}"):
        with pytest.raises(InvalidToken, match="signature is wrong"):
            service.verify(token)


@pytest.mark.parametrize("vector", VECTORS["unencoded"], ids=lambda each: each["name"])
def test_unencoded_payloads_are_refused(vector):
    service = JWTService(keys=KeySet([VECTORS["unencoded_key"]]))
    # "hello" as it stands is not even base64url; without b64 it is a token whose payload is no claims
    why = (
        "not base64url"
        if "safe" in vector["name"]
        else "critical extension"
        if "b64" in vector["name"]
        else "not JSON"
    )
    with pytest.raises(InvalidToken, match=why):
        service.verify(vector["token"])


def test_key_set_of_rfc7517():
    for document in VECTORS["key_sets"].values():
        ec, rsa = document["keys"]
        with pytest.raises(ValueError, match="not for signatures"):
            Key.from_jwk(ec)  # its use is "enc"
        key = Key.from_jwk(rsa)
        assert (key.algorithm, key.kid) == ("RS256", "2011-04-29")
        assert key.signs == ("d" in rsa)


def test_thumbprint_of_rfc7638():
    """RFC 8037 A.3 prints the thumbprint of its key."""
    jwk = next(each["jwk"] for each in VECTORS["signed"] if each["name"] == "RFC 8037 A.4")
    from jwt import PyJWK

    from tests.auth.jwt.making import private_pem

    pem = private_pem(PyJWK(jwk).key)
    assert Key.from_pem(pem, algorithm="EdDSA").kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
