"""W3C Trace Context: which trace a request belongs to."""

import re
from collections.abc import Iterable

from ramkit.kernel.headers import find_all

__all__ = ["TRACEPARENT", "parent_of"]

TRACEPARENT = b"traceparent"

#: §3.2.2: version, trace-id, parent-id and flags, in lower case; neither id is all zero
_TRACEPARENT = re.compile(
    rb"([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.DOTALL
)


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str] | None:
    """The trace id and the caller's span id that ``traceparent`` says.

    None where it is missing, malformed, or there twice: the trace begins anew (§4.3).
    """
    found = find_all(headers, TRACEPARENT)
    if not found:
        return None
    match = _TRACEPARENT.fullmatch(found[0].strip(b" \t"))
    if match is None or len(found) > 1:
        return None
    version, trace, span, more = match.groups()
    # §3.2.2.1: ff is invalid. §3.2.4: 00 ends with the flags, later versions may go on behind a dash.
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    return trace.decode(), span.decode()
