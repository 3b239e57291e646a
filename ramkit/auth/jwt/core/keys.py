"""Keys that sign and verify (RFC 7517, RFC 7518), each for one algorithm."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError
from jwt.algorithms import Algorithm, get_default_algorithms

from ramkit.auth.jwt.core.tokens import encode_segment
from ramkit.kernel.errors import ConfigurationError

__all__ = ["ALGORITHMS", "Key", "KeySet", "public_part"]

#: RFC 7518 §3.1 and RFC 8037 §3.1. ``none`` is no algorithm here (RFC 8725 §3.2).
ALGORITHMS: Final = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip

#: What PyJWT and cryptography raise on keys that are none.
_BAD_KEY = (
    PyJWTError,
    UnsupportedAlgorithm,
    NotImplementedError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
#: RFC 7638 §3.2: the members that a thumbprint is made of
_THUMBPRINT = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


class Key:
    """A key for one algorithm (RFC 8725 §3.1), made by ``from_secret``, ``from_pem``, ``from_jwk`` or
    ``from_pyjwk``.

    ``signs``: whether it has its private part. Raises ``ConfigurationError`` for a key that does not fit its
    algorithm or is shorter than RFC 7518 §3.2 and §3.3 and RFC 8725 §3.5 want: 256, 384 or 512 bits for HMAC,
    2048 for RSA.
    """

    __slots__ = ("_algorithm", "_signing", "_verifying", "algorithm", "kid", "signs")

    def __init__(self, material: Any, algorithm: str, kid: str | None) -> None:
        if algorithm not in ALGORITHMS:
            raise ConfigurationError("algorithm", f"{algorithm!r} is none of {', '.join(ALGORITHMS)}")
        if kid is not None and (not isinstance(cast(object, kid), str) or not kid):
            raise ConfigurationError("kid", f"{kid!r} is no name")
        self.algorithm, self.kid = algorithm, kid
        self._algorithm: Algorithm = get_default_algorithms()[algorithm]
        try:
            key: Any = self._algorithm.prepare_key(material)
            problem = self._algorithm.check_key_length(key)
        except _BAD_KEY as error:
            raise ConfigurationError("key", f"it is none for {algorithm}: {error}") from None
        if problem:
            raise ConfigurationError("key", problem)
        private: bool = isinstance(key, bytes) or hasattr(key, "sign")
        self.signs = private
        self._signing: Any = key if self.signs else None
        self._verifying: Any = getattr(key, "public_key", lambda: key)()

    def __repr__(self) -> str:
        return f"Key({self.kid!r}, {self.algorithm})"

    @classmethod
    def from_secret(cls, secret: str | bytes, *, algorithm: str = "HS256", kid: str | None = None) -> "Key":
        """A shared secret for HS256, HS384 or HS512: random bytes, as many as the hash has."""
        if not algorithm.startswith("HS"):
            raise ConfigurationError("algorithm", f"a secret is for HS256, HS384 or HS512, not {algorithm}")
        return cls(secret, algorithm, kid)

    @classmethod
    def from_pem(cls, pem: str | bytes, *, algorithm: str, kid: str | None = None) -> "Key":
        """A private or public key in PEM. Without ``kid`` it is named by its thumbprint (RFC 7638)."""
        if algorithm.startswith("HS"):
            raise ConfigurationError("algorithm", f"{algorithm} takes a secret, no PEM")
        key = cls(pem, algorithm, kid)
        key.kid = kid or _thumbprint(key.public())
        return key

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], *, algorithm: str | None = None) -> "Key":
        """A JWK (RFC 7517). ``algorithm`` is for one that names none; without it its type and curve say."""
        if not isinstance(cast(object, jwk), Mapping):
            raise ConfigurationError("jwk", f"{jwk!r} is no JSON object")
        operations: Any = jwk.get("key_ops", ("verify",))
        if jwk.get("use", "sig") != "sig" or not {"sign", "verify"} & set(_strings(operations)):
            raise ConfigurationError("jwk", "it is not for signatures (RFC 7517 §4.2, §4.3)")
        if algorithm is not None and jwk.get("alg", algorithm) != algorithm:
            raise ConfigurationError("algorithm", f"the key is for {jwk['alg']}")
        try:
            made = PyJWK(dict(jwk), jwk.get("alg") or algorithm)
        except _BAD_KEY as error:
            raise ConfigurationError("jwk", str(error) or type(error).__name__) from None
        return cls(made.key, made.algorithm_name, jwk.get("kid"))

    @classmethod
    def from_pyjwk(cls, key: PyJWK) -> "Key":
        """A key as PyJWT has it."""
        return cls(key.key, key.algorithm_name, key.key_id)

    def sign(self, message: bytes) -> bytes:
        """The signature. Raises ``ConfigurationError`` for a public key."""
        if not self.signs:
            raise ConfigurationError("keys", f"{self!r} has no private part")
        return self._algorithm.sign(message, self._signing)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether it is this key's; never raises."""
        return self._algorithm.verify(message, self._verifying, signature)

    def public(self) -> dict[str, Any]:
        """The public part as a JWK. Raises ``ConfigurationError`` for a secret, which has none."""
        if isinstance(self._verifying, bytes):
            raise ConfigurationError("keys", "a secret is not for publishing")
        jwk: dict[str, Any] = self._algorithm.to_jwk(self._verifying, as_dict=True)
        jwk.pop("key_ops", None)
        return {**jwk, **({"kid": self.kid} if self.kid else {}), "alg": self.algorithm, "use": "sig"}


class KeySet:
    """Keys by name. The one that was given or added last and can sign, signs; all verify.

    ``keys``: ``Key``, JWK objects or PyJWT's ``PyJWK``. To rotate, ``add`` the new key; when the last token
    of the old one has expired, ``remove`` that. With verifiers elsewhere that fetch the set, add the new
    key's public part there first.

    ``version`` changes with every change: what was verified before is looked at anew.
    """

    def __init__(self, keys: Iterable["Key | PyJWK | Mapping[str, Any]"] = ()) -> None:
        self.version = 0
        self._keys: list[Key] = []
        for key in keys:
            self.add(key)

    @classmethod
    def from_jwks(cls, document: str | bytes | Mapping[str, Any]) -> "KeySet":
        """A JWK Set (RFC 7517 §5), as JSON or as an object. Raises ``ConfigurationError`` if one key is
        none."""
        try:
            parsed: Any = json.loads(document) if isinstance(document, str | bytes) else document
            keys: Any = parsed["keys"]
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError("document", "it is no JWK Set") from None
        if not isinstance(keys, list) or not keys:
            raise ConfigurationError("document", "it is no JWK Set with keys")
        return cls(cast(list[Mapping[str, Any]], keys))

    @classmethod
    def from_pem(cls, *pems: str | bytes, algorithm: str) -> "KeySet":
        """Keys in PEM, all for one algorithm, named by their thumbprints."""
        return cls(Key.from_pem(pem, algorithm=algorithm) for pem in pems)

    def __iter__(self) -> Iterator[Key]:
        return iter(tuple(self._keys))

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: "Key | PyJWK | Mapping[str, Any]") -> Key:
        """Verify with this one, too, and sign with it if it can. Another of its name and algorithm is
        replaced."""
        made = _key_of(key)
        same = (made.kid, made.algorithm)
        kept = self._keys
        if made.kid is not None:
            kept = [each for each in kept if (each.kid, each.algorithm) != same]
        self.replace([*kept, made])
        return made

    def remove(self, kid: str | None) -> None:
        """Tokens of the keys of that name no longer count. Raises ``KeyError`` if there are none."""
        kept = [each for each in self._keys if each.kid != kid]
        if len(kept) == len(self._keys):
            raise KeyError(kid)
        self.replace(kept)

    def replace(self, keys: Iterable[Key]) -> None:
        """These and no others."""
        self._keys = list(keys)
        self.version += 1

    def candidates(self, kid: str | None, algorithm: str) -> list[Key]:
        """The keys that a token of that header may have been signed with: the algorithm is the key's,
        whatever the token says (RFC 8725 §3.1). Keys without a name may be any; so may all for a token that
        names none."""
        return [
            key
            for key in self._keys
            if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid)
        ]

    def signing(self) -> Key:
        """The key that signs. Raises ``ConfigurationError`` if there is none."""
        for key in reversed(self._keys):
            if key.signs:
                return key
        raise ConfigurationError("keys", "none of them can sign")

    def jwks(self) -> dict[str, Any]:
        """The public parts as a JWK Set, to be published. Secrets are left out."""
        return {"keys": [key.public() for key in self._keys if not key.algorithm.startswith("HS")]}


def public_part(jwk: object) -> dict[str, Any]:
    """A JWK of someone else's without what would be secret. Raises ``ConfigurationError`` for what is no JWK,
    and for a shared secret, which is nothing that one publishes."""
    if not isinstance(jwk, dict) or cast(dict[str, Any], jwk).get("kty") == "oct":
        raise ConfigurationError("jwk", "it is no public key")
    return {name: value for name, value in cast(dict[str, Any], jwk).items() if name not in _PRIVATE}


def _key_of(key: object) -> Key:
    if isinstance(key, Key):
        return key
    if isinstance(key, PyJWK):
        return Key.from_pyjwk(key)
    if isinstance(key, Mapping):
        return Key.from_jwk(cast(Mapping[str, Any], key))
    raise ConfigurationError("keys", f"{type(key).__name__} is no Key, JWK or PyJWK")


def _strings(value: object) -> list[str]:
    return (
        [each for each in cast(list[object], value) if isinstance(each, str)]
        if isinstance(value, list | tuple)
        else []
    )


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    members = {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return encode_segment(hashlib.sha256(canonical.encode()).digest())
