"""What a successful unsafe request makes of what is stored (RFC 9111 §4.4; RFC 9110 §9.3.3)."""

from urllib.parse import unquote, urljoin, urlsplit

from ramkit.cache.core import purging
from ramkit.cache.core.facts import Facts
from ramkit.cache.core.groups import groups_of
from ramkit.cache.core.keys import Target, host_of, select_query

__all__ = ["invalidated", "represents_target"]


def invalidated(target: Target, facts: Facts) -> list[str]:
    """The purge names of the target, of Location and Content-Location on the same host, since nobody purges
    another's, and of the groups in Cache-Group-Invalidation (RFC 9875 §3).

    All queries and both schemes of a path: more than the RFC asks for, as the state behind them is one.
    """
    names = [purging.host_path_name(target.host, target.path)]
    for field in (b"location", b"content-location"):
        place = _on_host(target, facts, field)
        if place is not None:
            names.append(purging.host_path_name(target.host, place[0]))
    groups = groups_of(facts.listed.get(b"cache-group-invalidation", ()))
    return names + [purging.group_name(group) for group in groups or ()]


def represents_target(target: Target, facts: Facts) -> bool:
    """Whether Content-Location says that the content is what GET would give at the target (RFC 9110 §8.7)."""
    return _on_host(target, facts, b"content-location") == (target.path, target.query)


def _on_host(target: Target, facts: Facts, field: bytes) -> tuple[str, str] | None:
    """Decoded path and query that a field refers to, if they are on the target's host."""
    reference = facts.single.get(field)
    if not reference:
        return None
    try:
        parts = urlsplit(urljoin(f"{target.scheme}://{target.host}{target.path}", reference.decode()))
        same = host_of(parts.scheme, parts.netloc.encode("latin-1")) == target.host
    except ValueError:
        return None
    query = parts.query.encode()
    if target.rule is not None:
        query = select_query(query, target.rule)
    return (unquote(parts.path) or "/", query.decode("latin-1")) if same else None
