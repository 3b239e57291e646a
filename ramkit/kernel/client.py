"""Who is asking: the client's address, under an explicit trusted-proxy policy."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal, TypeAlias

from ramkit.kernel.asgi import Scope
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.headers import find_all

__all__ = ["IPAddress", "TrustedProxies", "parse_address"]

IPAddress: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

#: Proxies in a row that are believed; behind more, nobody is known.
_MAX_HOPS = 32

#: A node of either header: an IPv4 address or one in brackets, with a port (RFC 7239 §6).
_NODE = re.compile(r"(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([^\[\]]+)\])(?::(?:\d{1,5}|_[\w.-]+))?", re.ASCII)

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token of HTTP's grammar
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_PAIR = re.compile(rf"[ \t]*+(?:({_TOKEN})=({_TOKEN}|{_QUOTED}))?[ \t]*+(?:;|\Z)")
_ESCAPED = re.compile(r"\\(.)")


class TrustedProxies:
    """Which peers are proxies of ours, and where they write down whom they speak for.

    ``networks``: addresses and networks (``"10.0.0.0/8"``, ``"::1"``), and ``"unix"`` for peers without an
    address, on a Unix socket. By default nobody is trusted: the peer is the client. ``header``: the one
    that those proxies append to, ``x-forwarded-for`` or ``forwarded`` (RFC 7239); the other one is not
    looked at, since clients could write it. Raises ``ConfigurationError``.
    """

    __slots__ = ("_header", "_networks", "_unix")

    def __init__(
        self,
        networks: Iterable[str] = (),
        *,
        header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for",
    ) -> None:
        if isinstance(networks, str):
            raise ConfigurationError("networks", f"{networks!r} is one string: give a list of them")
        if header not in ("x-forwarded-for", "forwarded"):
            raise ConfigurationError("header", f"{header!r} is neither 'x-forwarded-for' nor 'forwarded'")
        given = tuple(networks)
        self._header = header.encode()
        self._unix = "unix" in given
        self._networks = tuple(_network(each) for each in given if each != "unix")

    @property
    def header(self) -> bytes:
        """The name of the field that trusted proxies append to."""
        return self._header

    def trusts_peer(self, scope: Scope) -> bool:
        """Whether the peer itself, who may not be the client, is a trusted proxy."""
        if not (self._networks or self._unix):
            return False
        peer = scope.get("client")
        host: str = peer[0] if peer else ""
        address = parse_address(host)
        return self._trusts(address) if address is not None else self._unix and not host

    def client_address(self, scope: Scope) -> IPAddress | None:
        """The address of the client behind the trusted proxies, remembered in the request's context.

        The header is read from its end, over all its field lines, for as long as it was a trusted
        proxy that wrote: whatever a client sends along stands further left and changes nothing. An
        IPv4-mapped address is the IPv4 address; ports and zones are dropped. Where all are trusted, it is
        the leftmost.

        None when it cannot be known: on a Unix socket that is not trusted, or where a trusted proxy
        wrote ``unknown``, a hidden name (``_gazonk``), or something unreadable.
        """
        context = RequestContext.of(scope)
        if context.client_by is not self:
            context.client, context.client_by = self._resolve(scope), self
        client: IPAddress | None = context.client
        return client

    def _resolve(self, scope: Scope) -> IPAddress | None:
        peer = scope.get("client")
        address = parse_address(peer[0]) if peer else None
        if not self.trusts_peer(scope):
            return address
        for hops, node in enumerate(self._nodes(scope)):
            address = parse_address(node) if node is not None else None
            if address is None or hops == _MAX_HOPS:
                return None
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)

    def _nodes(self, scope: Scope) -> Iterator[str | None]:
        """From the right; None for one that is not said or cannot be read."""
        lines = find_all(scope["headers"], self._header)
        for line in reversed(lines):
            text = line.decode("latin-1")
            if self._header == b"forwarded":
                yield from map(_for_of, _elements(text))
            else:
                yield from (part.strip(" \t") for part in reversed(text.split(",")) if part.strip(" \t"))


def parse_address(node: str) -> IPAddress | None:
    """An address as proxies write it: with a port or without, IPv6 in brackets or bare. None otherwise."""
    return _parse_address(node) if len(node) <= _LONGEST_NODE else None


#: an IPv6 address with a zone, brackets and a port
_LONGEST_NODE = 100


@lru_cache(maxsize=4096)
def _parse_address(node: str) -> IPAddress | None:
    match = _NODE.fullmatch(node)
    if match is not None:
        node = match[1] or match[2]
    try:
        address = ip_address(node)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return None if match is not None and match[2] else address
    # From its number: without the zone, which means something on one machine only.
    return address.ipv4_mapped or IPv6Address(int(address))


def _elements(line: str) -> Iterator[str]:
    """The elements of one Forwarded line, from its end.

    Read backwards, so that a quote which a client left open further left swallows nothing.
    """
    end, quoted = len(line), False
    for position in range(len(line) - 1, -1, -1):
        character = line[position]
        if character == '"' and not (quoted and _is_escaped(line, position)):
            quoted = not quoted
        elif character == "," and not quoted:
            if line[position + 1 : end].strip(" \t"):
                yield line[position + 1 : end]
            end = position
    if line[:end].strip(" \t"):
        yield line[:end]


def _is_escaped(line: str, position: int) -> bool:
    first = position
    while first and line[first - 1] == "\\":
        first -= 1
    return (position - first) % 2 == 1


def _for_of(element: str) -> str | None:
    """The ``for`` of one forwarded-element (RFC 7239 §4); None for none, or for a malformed element."""
    found: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _PAIR.match(element, position)
        if match is None:
            return None
        position = match.end()
        name, value = match[1], match[2]
        if name is None:
            continue
        if name.lower() in found:
            return None
        found[name.lower()] = _ESCAPED.sub(r"\1", value[1:-1]) if value[0] == '"' else value
    node = found.get("for")
    # §6: IPv6 only in brackets
    return None if node is None or (":" in node and not _NODE.fullmatch(node)) else node


def _network(text: Any) -> _Network:
    if not isinstance(text, str):
        raise ConfigurationError("networks", f"{text!r} is no string")
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ConfigurationError("networks", f"{text!r}: {error}") from None
    if network.prefixlen == 0:
        raise ConfigurationError("networks", f"{text!r} trusts everybody: clients could choose their address")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ConfigurationError("networks", f"{text!r}: IPv4-mapped addresses are taken as IPv4; name those")
    return network
