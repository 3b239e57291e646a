"""Link (RFC 8288) from one page of a list to those beside it."""

import re
from collections.abc import Mapping
from urllib.parse import unquote_plus, urlencode

__all__ = ["links"]

_OURS = frozenset({"page", "cursor"})

#: Bytes: a proxy in front (nginx, 4 KiB of headers by default) takes more for an answer of a server that is
#: broken, and asks that one no more.
_LONGEST = 2048
_BY_USE = ("next", "prev", "first", "last")

#: What a URI's query cannot hold as it is (RFC 3986, 3.4), and two that it can: httpx and requests take ``;``
#: for the end of a reference, and drop a ``'`` from it.
_UNSAFE = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^%A-Za-z0-9\-._~!$&()*+,=:@/?]")


def links(query: bytes, pages: Mapping[str, Mapping[str, str]]) -> str:
    """The value of Link: for each relation a reference to this same path, with these parameters in place of
    page and cursor. All others are as they were sent; what a reference cannot hold is percent-encoded.

    Where that becomes too long, those that are of less use are left out."""
    fields = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], query).decode("ascii")
    others = [
        field for field in fields.split("&") if field and unquote_plus(field.partition("=")[0]) not in _OURS
    ]
    found = {
        relation: f'<?{"&".join(filter(None, [*others, urlencode(parameters)]))}>; rel="{relation}"'
        for relation, parameters in pages.items()
    }
    room = _LONGEST
    for relation in sorted(found, key=_BY_USE.index):
        room -= len(found[relation]) + 2
        if room < 0:
            del found[relation]
    return ", ".join(found.values())
