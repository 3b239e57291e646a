"""What a response's headers say of caching, read in one pass."""

from collections.abc import Mapping

from ramkit.cache.core import directives, targeted
from ramkit.kernel.asgi import RawHeaders

__all__ = ["Facts"]

_LISTED = frozenset(
    {b"cache-control", b"cdn-cache-control", b"vary", b"no-vary-search", b"cache-groups",
     b"cache-group-invalidation"}
)  # fmt: skip
_SINGLE = frozenset(
    {b"age", b"date", b"expires", b"etag", b"last-modified", b"content-type", b"content-length",
     b"content-encoding", b"content-language", b"content-range", b"set-cookie", b"pragma", b"location",
     b"content-location"}
)  # fmt: skip


class Facts:
    """Of single fields the first counts. ``control``: the directives that count for this cache, those of
    CDN-Cache-Control where it has any; then it is ``targeted``, and Cache-Control, Expires and Pragma
    are for others (RFC 9213 §2.2). ``no_cache_fields``: what ``no-cache`` is limited to, if it is."""

    __slots__ = ("control", "listed", "no_cache_fields", "single", "targeted")

    def __init__(self, headers: RawHeaders) -> None:
        self.single: dict[bytes, bytes] = {}
        self.listed: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in _SINGLE:
                self.single.setdefault(name, value)
            elif name in _LISTED:
                self.listed.setdefault(name, []).append(value)
        for_this = targeted.parse(self.listed.get(targeted.CDN_CACHE_CONTROL, ()))
        self.targeted = for_this is not None
        self.control: Mapping[str, str] = (
            for_this if for_this is not None else directives.parse(self.listed.get(b"cache-control", ()))
        )
        self.no_cache_fields = directives.field_names(self.control, "no-cache")

    @property
    def length(self) -> int | None:
        """Content-Length, where it is a number."""
        value = self.single.get(b"content-length", b"")
        return int(value) if value.isdigit() and len(value) < 19 else None

    @property
    def no_cache(self) -> bool:
        """Whether each use wants validation (RFC 9111 §5.2.2.4): ``no-cache``, of no fields in particular."""
        return "no-cache" in self.control and not self.no_cache_fields

    @property
    def no_store(self) -> bool:
        return "no-store" in self.control

    @property
    def shareable(self) -> bool:
        """Whether it may answer requests with Authorization (§3.5)."""
        return directives.flag(self.control, "public", "s-maxage", "must-revalidate")

    @property
    def must_revalidate(self) -> bool:
        """Whether it says never to use it stale (§4.2.4)."""
        return self.no_cache or directives.flag(self.control, "must-revalidate", "proxy-revalidate")

    @property
    def has_validator(self) -> bool:
        """§4.3.1"""
        return b"etag" in self.single or b"last-modified" in self.single
