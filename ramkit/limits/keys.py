"""Whose limit it is: functions of the scope."""

from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address
from typing import Any

from ramkit.kernel.asgi import Scope
from ramkit.kernel.client import IPAddress, TrustedProxies, parse_address
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import find_all
from ramkit.kernel.principal import principal_name
from ramkit.limits.policy import Key

__all__ = ["ByClient", "by_client", "by_header", "by_principal", "by_route", "store_key"]


class ByClient:
    """The client's address; one key for all clients whose address is not known.

    ``proxies``: whom to believe about it, nobody by default. ``ipv6_prefix``: IPv6 clients are told apart
    by their network of that many bits: whoever has one address there has 2^64 of them.
    """

    __slots__ = ("_proxies", "_shift")

    def __init__(self, proxies: TrustedProxies | None = None, *, ipv6_prefix: int = 64) -> None:
        if not 1 <= ipv6_prefix <= 128:
            raise ConfigurationError("ipv6_prefix", f"{ipv6_prefix!r} is not between 1 and 128 bits")
        self._proxies = proxies
        self._shift = 128 - ipv6_prefix

    def __call__(self, scope: Scope) -> str | None:
        if self._proxies is not None:
            return _network(self._proxies.client_address(scope), self._shift)
        peer = scope.get("client")
        return _network_of(peer[0], self._shift) if peer and len(peer[0]) <= _REMEMBERED else None


#: ``ByClient()``: the peer's address, IPv6 by /64
by_client = ByClient()


def by_principal(otherwise: Key = by_client) -> Key:
    """Who is logged in, by what authenticated them outside of this middleware: the request context's
    principal, or Starlette's ``scope["user"]``. ``otherwise``: the key of those who are not logged in."""

    def key(scope: Scope) -> Any:
        name = _name_of(scope)
        return otherwise(scope) if name is None else f"principal {name}"

    return key


def by_header(name: str, otherwise: Key = by_client) -> Key:
    """A header's value, such as an API key; all of them, if it comes more than once. ``otherwise``: the
    key of requests that lack it.

    Clients choose what they send: it limits nobody unless something checks the value. Give addresses a
    policy, too.
    """
    if not name or not name.isascii():
        raise ConfigurationError("name", f"{name!r} is no header")
    wanted = name.lower().encode()

    def key(scope: Scope) -> Any:
        values = find_all(scope["headers"], wanted)
        return b"header " + b"\0".join(values) if values else otherwise(scope)

    return key


def by_route(scope: Scope) -> str:
    """Method and path: one limit for all who ask for it. Behind a Mount the path within counts.

    Who invents paths gets a new key for each: name the routes, or exempt the rest, where that matters.
    """
    return f"{scope.get('method', 'WS')} {scope['path']}"


#: what is longer than any address or name is hashed each time, so that clients cannot fill the memory
_REMEMBERED = 128


def store_key(policy: str, key: str | bytes | None) -> bytes:
    """What a store gets to see: 128 bits of the key, and the policy's name. The braces keep all policies of
    one key together on a cluster. str, bytes and None are never the same."""
    if key is None or len(key) <= _REMEMBERED:
        return _remembered(policy, key)
    return _store_key(policy, key)


def _store_key(policy: str, key: str | bytes | None) -> bytes:
    if key is None:
        data = b"n"
    else:
        data = b"b" + key if isinstance(key, bytes) else b"s" + key.encode("utf-8", "surrogatepass")
    return b"l:{%s}:%s" % (blake2b(data, digest_size=16).hexdigest().encode(), policy.encode())


_remembered = lru_cache(maxsize=8192)(_store_key)


def _network(address: IPAddress | None, shift: int) -> str | None:
    if address is None:
        return None
    if isinstance(address, IPv6Address):
        return f"ipv6 {int(address) >> shift:x}/{128 - shift}"
    return f"ipv4 {int(address):x}"


@lru_cache(maxsize=4096)
def _network_of(host: str, shift: int) -> str | None:
    return _network(parse_address(host), shift)


def _name_of(scope: Scope) -> str | None:
    found = principal_name(scope)
    return None if found is None else " ".join(filter(None, found))
