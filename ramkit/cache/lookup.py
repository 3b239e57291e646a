"""Which stored response a request selects: by its URL, by Vary, by its language, by No-Vary-Search."""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from ramkit.cache.cache import Cache
from ramkit.cache.core import purging
from ramkit.cache.core.entry import VARIANTS, Entry
from ramkit.cache.core.keys import Target, language_alias, variant, wanted_language
from ramkit.cache.core.purging import Verdict
from ramkit.cache.core.serving import State
from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.context import Floor

__all__ = ["SPECIFICATIONS", "Found", "link", "select"]

#: What is remembered of the ways in which one URL's responses vary, or one path's queries do not.
SPECIFICATIONS = 8
#: Seconds that they outlive the responses that they lead to.
_OUTLIVE = 60.0


class Found(NamedTuple):
    """Under which key a response for this request is, or would be; what is there is not judged."""

    key: bytes
    entry: Entry | None


async def select(cache: Cache, target: Target, headers: RawHeaders, floor: Floor | None) -> Found:
    """What is stored for this request (RFC 9111 §4)."""
    found = await _at(cache, target.key, target, headers, floor)
    if found.entry is None and target.query and target.searchable:
        other = await _by_search(cache, target, headers, floor)
        if other is not None:
            return other
    return found


async def _at(cache: Cache, key: bytes, target: Target, headers: RawHeaders, floor: Floor | None) -> Found:
    """By Vary (§4.1)."""
    entry = await cache.find(key, floor)
    if entry is None or entry.status != VARIANTS:
        return Found(key, entry)
    lists = [names.split(b",") for names, _ in entry.headers]
    last = key
    for names in lists:
        last = variant(key, names, headers, target.rule)
        found = await cache.find(last, floor)
        if found is not None and cache.state(found, floor) is not State.GONE:
            return Found(last, found)
    if target.rule is not None and target.rule.accept_language == "negotiate":
        for names in lists:
            other = await _by_language(cache, key, names, headers, floor)
            if other is not None:
                return other
    return Found(last, None)


async def _by_language(
    cache: Cache, key: bytes, names: list[bytes], headers: RawHeaders, floor: Floor | None
) -> Found | None:
    """RFC 9110 §12.5.4: a variant in the language that this request likes best."""
    language = wanted_language(headers) if b"accept-language" in names else None
    if language is None:
        return None
    alias = await cache.find(language_alias(key, names, headers, language), floor)
    entry = await cache.find(alias.body, floor) if alias is not None else None
    if alias is None or entry is None or cache.state(entry, floor) is State.GONE:
        return None
    return Found(alias.body, entry)


async def _by_search(cache: Cache, target: Target, headers: RawHeaders, floor: Floor | None) -> Found | None:
    """What was stored for a query that its No-Vary-Search does not tell from this one."""
    known = await cache.find(target.searches, floor)
    for spoken, _ in known.headers if known is not None else ():
        alias = await cache.find(target.search_alias(spoken), floor)
        found = await _at(cache, alias.body, target, headers, floor) if alias is not None else None
        if (
            found is not None
            and found.entry is not None
            and not _purged_here(cache, target, found.entry, floor)
        ):
            return found
    return None


def _purged_here(cache: Cache, target: Target, entry: Entry, floor: Floor | None) -> bool:
    """Whether a purge of this very URL came since: the entry bears the names of another one."""
    name = purging.url_name(target.scheme, target.host, target.path, target.query)
    return cache.judge(replace(entry, slots=(purging.slot(name),), checked=-1), floor) is not Verdict.VALID


async def link(
    cache: Cache,
    entry: Entry,
    key: bytes,
    lines: Iterable[bytes] = (),
    *,
    to: bytes = b"",
    until: float = 0.0,
) -> None:
    """Keep a list of specifications, or the key that this one leads to, a little longer than the entry,
    and not less than ``until``."""
    until = max(until, entry.fresh_until, entry.revalidate_until, entry.error_until)
    marker = replace(
        entry,
        status=VARIANTS,
        headers=[(line, b"") for line in lines],
        body=to,
        slots=(),
        fresh_until=until + _OUTLIVE,
    )
    await cache.keep(key, marker)
