"""Unsafe methods invalidate what they may have changed (RFC 9111 §4.4)."""

import logging
from urllib.parse import unquote, urljoin, urlsplit

from ramkit.cache.cache import Cache
from ramkit.cache.core import purging
from ramkit.cache.core.facts import Facts
from ramkit.cache.core.groups import groups_of
from ramkit.cache.core.keys import authority, host_of
from ramkit.cache.errors import PurgeUnconfirmed
from ramkit.kernel.asgi import ASGIApp, Message, Receive, Scope, Send, raw_headers
from ramkit.kernel.context import RequestContext

__all__ = ["forward_unsafe"]

_log = logging.getLogger("ramkit.cache")


async def forward_unsafe(app: ASGIApp, cache: Cache, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes the request on. A response that is no error starts when its purges are confirmed: of the
    target, of Location and Content-Location on the same host, and of the groups that the response names
    in Cache-Group-Invalidation (RFC 9875 §3)."""

    async def purge_then_send(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] < 400:
            message = {**message, "headers": raw_headers(message)}
            try:
                await cache.purge_names(_names(scope, Facts(message["headers"])))
            except PurgeUnconfirmed:
                pass  # queued; the floor has this client's next requests go past the cache
            except ValueError as error:
                _log.warning("%s %s: %s", scope["method"], scope["path"], error)
        await send(message)

    with RequestContext.of(scope).active():
        await app(scope, receive, purge_then_send)


def _names(scope: Scope, facts: Facts) -> list[str]:
    scheme: str = scope.get("scheme", "http")
    host = authority(scope)
    # All queries and both schemes of the path: more than the RFC asks for, as the state behind them is one.
    names = [purging.host_path_name(host, scope["path"])]
    for field in (b"location", b"content-location"):
        reference = facts.single.get(field)
        path = _path_on(f"{scheme}://{host}{scope['path']}", host, reference) if reference else None
        if path is not None:
            names.append(purging.host_path_name(host, path))
    groups = groups_of(facts.listed.get(b"cache-group-invalidation", ()))
    if groups is None:
        _log.warning("%s %s: Cache-Group-Invalidation is no list of strings", scope["method"], scope["path"])
    return names + [purging.group_name(group) for group in groups or ()]


def _path_on(base: str, host: str, reference: bytes) -> str | None:
    """The path that a URI reference means, if it is on the same host; nobody purges another's (§4.4)."""
    try:
        parts = urlsplit(urljoin(base, reference.decode()))
        same = host_of(parts.scheme, parts.netloc.encode("latin-1")) == host
    except ValueError:
        return None
    return unquote(parts.path) or "/" if same else None
