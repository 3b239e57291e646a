"""Asking the app whether a stored response is still good, and what its answer changes (RFC 9111 §4.3)."""

from ramkit.cache.core.conditional import parse_etag, weak_match
from ramkit.cache.core.entry import OWN_ETAG, Entry
from ramkit.cache.core.facts import Facts
from ramkit.cache.core.serving import unstored_of
from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.headers import find

__all__ = ["can_be_validated", "confirmed", "precondition_of", "same_representation", "updated"]

#: Not replaced by a 304 (§3.2): they describe the body that is kept.
_OF_BODY = frozenset({b"content-encoding", b"content-length", b"content-range", b"content-type"})


def precondition_of(entry: Entry) -> tuple[bytes, bytes] | None:
    """The field that asks whether this entry is still good (§4.3.1), by a validator that the app gave."""
    etag, modified = _etag_of(entry), find(entry.headers, b"last-modified")
    if etag is not None:
        return b"if-none-match", etag
    return (b"if-modified-since", modified) if modified is not None else None


def can_be_validated(entry: Entry) -> bool:
    """Whether the app gave it a validator that it will know again (§4.3.1)."""
    return precondition_of(entry) is not None


def confirmed(entry: Entry, headers: RawHeaders) -> bool:
    """Whether a 304 is about this entry (§4.3.4): by its ETag, and without one it is taken to be."""
    told, known = find(headers, b"etag"), _etag_of(entry)
    if told is None or known is None:
        return True
    one, other = parse_etag(told), parse_etag(known)
    if one is None or other is None:
        return told == known
    return weak_match(one, other)


def same_representation(entry: Entry, facts: Facts) -> bool:
    """Whether a 200 to HEAD is about what is stored (§4.3.5): each validator in it is the stored one,
    and so is the length."""
    etag, modified = facts.single.get(b"etag"), facts.single.get(b"last-modified")
    if etag is not None and etag != _etag_of(entry):
        return False
    if modified is not None and modified != find(entry.headers, b"last-modified"):
        return False
    return facts.length is None or facts.length == len(entry.body)


def updated(stored: RawHeaders, fresh: RawHeaders) -> RawHeaders:
    """§3.2: stored headers with those of a 304 in their place, except what describes the body."""
    unstored = unstored_of(fresh) | _OF_BODY
    news = [pair for pair in fresh if pair[0] not in unstored]
    names = {name for name, _ in news}
    return [pair for pair in stored if pair[0] not in names] + news


def _etag_of(entry: Entry) -> bytes | None:
    return None if entry.flags & OWN_ETAG else find(entry.headers, b"etag")
