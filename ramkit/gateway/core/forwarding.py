"""What of a request and a response is passed on (RFC 9110 §7.6), and what must not be passed at all."""

import re
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import quote

from ramkit.kernel.asgi import RawHeaders, Scope
from ramkit.kernel.client import IPAddress, TrustedProxies
from ramkit.kernel.headers import find_all

__all__ = [
    "Forwarding",
    "Refusal",
    "body_length",
    "date",
    "interim_fields",
    "last_recipient",
    "max_forwards",
    "raw_path",
    "refusal",
    "response_fields",
    "target_of",
]

_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: RFC 9110 §5.5: no control character but the tab
_VALUE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
#: RFC 9112 §3.2: no white space; what is not ASCII must be percent-encoded (RFC 3986 §2.1)
_TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x23)
#: RFC 9110 §7.2: uri-host [":" port], so neither userinfo nor a path
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")

_LAST_PORT = 65535

#: Fields about this connection (RFC 9110 §7.6.1), with the older ones of RFC 2616 §13.5.1.
_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
        b"http2-settings", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
    }
)  # fmt: skip
#: What tells whom a proxy speaks for: set here, whatever a client writes.
_CLIENT = frozenset(
    {
        b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port",
        b"x-forwarded-server", b"x-forwarded-scheme", b"x-forwarded-ssl", b"x-forwarded-prefix", b"x-real-ip",
    }
)  # fmt: skip
#: Not passed on as they came. ``proxy`` becomes HTTP_PROXY in a CGI (httpoxy); Expect is answered by the
#: server in front (RFC 9110 §10.1.1); trailers do not arrive by ASGI.
_REWRITTEN = _HOP | _CLIENT | {b"host", b"content-length", b"expect", b"trailer", b"proxy", b"max-forwards"}
#: Names that Connection cannot take away.
_KEPT = frozenset({b"host", b"content-length"})
_RESPONSE_DROPS = _HOP
#: of a status that has no body, which its Content-Length would announce (RFC 9110 §8.6)
_BODILESS = frozenset({204, 304})
#: of the handshake of a WebSocket
_SCHEMES = {"ws": "http", "wss": "https"}
#: 0.9 has no fields, and so no Host
_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})
#: what says to whom a request goes and how long it is
_TELLING = frozenset({b"host", b"content-length", b"transfer-encoding"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PLAIN = frozenset({b"close", b"keep-alive", b""})


class Refusal(Exception):
    """A request that must not be passed on: the status, what is wrong with it, and fields for the answer."""

    def __init__(self, status: int, detail: str, headers: RawHeaders | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or []


def refusal(scope: Scope) -> Refusal | None:
    """Why a request is not passed on, if so.

    Much of this a good server has refused already. It is looked at again because what two parties read
    differently is how requests are smuggled (RFC 9112 §11.2).
    """
    if scope["http_version"] not in _VERSIONS:
        return Refusal(505, "This version of HTTP is not supported.")
    headers: RawHeaders = scope["headers"]
    names = b"\n".join([name for name, _ in headers])
    values = b"\n".join([value for _, value in headers])
    between = b"\n" * (len(headers) - 1)
    # §5.1 of RFC 9112: no white space in or after a name; §5.2: no folded lines
    if names.translate(None, _TOKEN_BYTES) != between or values.translate(None, _VALUE_BYTES) != between:
        return Refusal(400, "A header field is malformed.")
    if headers and b"\n\n" in b"\n%b\n" % names:
        return Refusal(400, "A header field has no name.")
    telling = [pair for pair in headers if pair[0] in _TELLING]
    version: str = scope["http_version"]
    return _host_problem(telling, version) or _framing_problem(telling, version) or _target_problem(scope)


def _host_problem(headers: RawHeaders, version: str) -> Refusal | None:
    """RFC 9112 §3.2: exactly one Host, and it is one. Before HTTP/1.1 there need be none."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) == 1:
        return None if _good_host(hosts[0]) else Refusal(400, "The Host is malformed.")
    if hosts or version != "1.0":
        return Refusal(400, "There must be exactly one Host.")
    return None


@lru_cache(maxsize=1024)
def _good_host(host: bytes) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    try:
        if match[1] is not None:
            IPv6Address(match[1].decode())
    except ValueError:
        return False
    return int(match[2] or 0) <= _LAST_PORT


def _framing_problem(headers: RawHeaders, version: str) -> Refusal | None:
    """RFC 9112 §6.1, §6.3: one length, or chunked, and never both."""
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if not lengths and not codings:
        return None
    if codings:
        if lengths or version != "1.1" or len(codings) > 1:
            return Refusal(400, "The length of the body is said in more than one way.")
        if codings[0].strip().lower() != b"chunked":
            return Refusal(501, "This transfer coding is not supported.")
    elif len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 19:
        return Refusal(400, "The Content-Length is malformed.")
    return None


def _target_problem(scope: Scope) -> Refusal | None:
    """RFC 9112 §3.2: the origin form, or ``*`` of OPTIONS. No target chooses whom to connect to."""
    method: str = scope.get("method", "GET")  # a WebSocket's
    if method == "CONNECT":
        return Refusal(501, "This is no tunnel.")
    if method not in _METHODS and (not method.isascii() or method.encode().translate(None, _TOKEN_BYTES)):
        return Refusal(400, "The method is malformed.")
    path = raw_path(scope)
    if path == b"*" and method == "OPTIONS":
        return None
    if not path.startswith(b"/") or (path + scope["query_string"]).translate(None, _TARGET_BYTES):
        return Refusal(400, "The request target is malformed.")
    return None


def raw_path(scope: Scope) -> bytes:
    """The path as it was sent; where a server does not tell, the decoded one, encoded anew."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"], safe="/:@!$&'()*+,;=~-._").encode() if raw is None else raw.partition(b"?")[0]


def target_of(path: bytes, query: bytes) -> bytes:
    """The request target in origin form (RFC 9112 §3.2.1)."""
    return path + b"?" + query if query else path


def body_length(headers: Iterable[tuple[bytes, bytes]], version: str) -> int | None:
    """Of a request that was not refused: its length; None if it is not known before its end."""
    length: int | None = 0 if version.startswith("1") else None
    for name, value in headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            length = None
    return length


class Forwarding:
    """Request fields as they go upstream. ``via``: the pseudonym of this gateway (RFC 9110 §7.6.3)."""

    __slots__ = ("_trusted", "via")

    def __init__(self, trusted: TrustedProxies, via: bytes) -> None:
        self._trusted, self.via = trusted, via

    def fields(self, scope: Scope, authority: bytes, *, trailers: bool) -> RawHeaders:
        """``authority``: for a request that has no Host. ``trailers``: the server in front can send them."""
        given: RawHeaders = scope["headers"]
        host = next((value for name, value in given if name == b"host"), authority)
        named = _connection_options(given)
        dropped = _REWRITTEN | named if named else _REWRITTEN
        # Host first (RFC 9110 §7.2). An underscore becomes the same variable as a hyphen in CGI and WSGI.
        fields = [(b"host", host)]
        fields += [
            pair
            for pair in given
            if pair[0] not in dropped
            and (b"_" not in pair[0] or pair[0].replace(b"_", b"-") not in _REWRITTEN)
        ]
        if scope["http_version"] >= "2":
            fields = _one_cookie(fields)
        if trailers and any(b"trailers" in value.lower() for value in find_all(given, b"te")):
            # RFC 9110 §10.1.4
            fields += [(b"te", b"trailers"), (b"connection", b"te")]
        self._add_client(fields, scope, host)
        fields.append((b"via", b"%s %s" % (scope["http_version"].encode(), self.via)))
        if scope.get("method") in ("TRACE", "OPTIONS"):
            fields += _fewer_forwards(given)
        return fields

    def _add_client(self, fields: RawHeaders, scope: Scope, host: bytes) -> None:
        """Forwarded (RFC 7239) and its elder siblings, of which each peer but a trusted one knows nothing."""
        peer = scope["client"][0] if scope.get("client") else ""
        scheme = _SCHEMES.get(scope["scheme"], scope["scheme"])
        header = self._trusted.header if self._trusted.trusts_peer(scope) else None
        if header is None:
            fields += _client_fields(peer, scheme, host)
            return
        given: RawHeaders = scope["headers"]
        client = self._trusted.client_address(scope)
        fresh = dict(_client_fields(peer if client is None else str(client), scheme, host))
        if header == b"forwarded":
            fresh[header] = _appended(given, header, dict(_client_fields(peer, scheme, host))[header])
        else:
            fresh[header] = _appended(given, header, peer.encode())
            others = _CLIENT - {b"forwarded", header}
            fresh |= {name: value for name, value in given if name in others}
        fields += fresh.items()


def _connection_options(headers: RawHeaders) -> frozenset[bytes]:
    """The fields that Connection names (RFC 9110 §7.6.1)."""
    for name, value in headers:
        if name == b"connection" and value.lower() not in _PLAIN:
            break
    else:
        return frozenset()
    lines = find_all(headers, b"connection")
    named = {option.strip(b" \t").lower() for line in lines for option in line.split(b",")}
    return frozenset(named - _PLAIN - _KEPT)


def _appended(headers: RawHeaders, name: bytes, value: bytes) -> bytes:
    return b", ".join([*find_all(headers, name), value])


@lru_cache(maxsize=4096)
def _client_fields(client: str, scheme: str, host: bytes) -> tuple[tuple[bytes, bytes], ...]:
    node = _node(client)
    forwarded = b'for=%s;host="%s";proto=%s' % (node, host, scheme.encode())
    return (
        (b"forwarded", forwarded),
        (b"x-forwarded-for", client.encode() or b"unknown"),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-host", host),
    )


def _node(client: "str | IPAddress") -> bytes:
    """RFC 7239 §6: IPv6 in brackets and quoted; a peer without an address is ``unknown``."""
    text = str(client)
    return b'"[%s]"' % text.encode() if ":" in text else text.encode() or b"unknown"


def _one_cookie(fields: RawHeaders) -> RawHeaders:
    """RFC 9113 §8.2.3: the lines of an HTTP/2 request become one."""
    cookies = find_all(fields, b"cookie")
    if len(cookies) < 2:
        return fields
    return [*(pair for pair in fields if pair[0] != b"cookie"), (b"cookie", b"; ".join(cookies))]


def max_forwards(headers: RawHeaders) -> int | None:
    """RFC 9110 §7.6.2: how often a TRACE or OPTIONS may still be forwarded; None if it does not say."""
    value = next((value for name, value in headers if name == b"max-forwards"), b"")
    return int(value) if value.isdigit() and len(value) < 10 else None


def last_recipient(method: str) -> Refusal:
    """§7.6.2, at 0: answered here. OPTIONS gets the answer of ``OPTIONS *``; TRACE, which would tell a
    script what the browser hid from it, is not supported (§9.3.8)."""
    allow = [(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")]
    return Refusal(200 if method == "OPTIONS" else 405, "TRACE is not answered here.", allow)


def _fewer_forwards(headers: RawHeaders) -> RawHeaders:
    left = max_forwards(headers)
    return [] if left is None else [(b"max-forwards", b"%d" % (left - 1))]


def response_fields(
    status: int, headers: RawHeaders, via: bytes, now: float, *, trailers: bool
) -> RawHeaders:
    """Response fields as they go to the client. ``now``: since the epoch. ``trailers``: they follow."""
    dropped = _RESPONSE_DROPS
    named = _connection_options(headers)
    if named:
        dropped = dropped | named
    if status in _BODILESS:
        dropped = dropped | {b"content-length"}
    if not trailers:
        dropped = dropped | {b"trailer"}
    fields = [pair for pair in headers if pair[0] not in dropped]
    if not any(name == b"date" for name, _ in fields):
        fields.append((b"date", date(now)))
    fields.append((b"via", b"1.1 " + via))
    return fields


def interim_fields(headers: RawHeaders) -> RawHeaders:
    """Fields of an interim response (RFC 9110 §15.2) as they go to the client: without a length, which it
    must not have (§8.6) and by which a client might take what follows for its body."""
    dropped = _RESPONSE_DROPS | _connection_options(headers) | {b"content-length"}
    return [pair for pair in headers if pair[0] not in dropped]


def date(now: float) -> bytes:
    """RFC 9110 §5.6.7; a recipient adds it where it is missing (§6.6.1)."""
    return _date(int(now))


@lru_cache(maxsize=4)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
