"""Errors that handlers raise. Each is answered with its status, as problem+json (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from ramkit.kernel.errors import RamkitError

__all__ = ["HTTPError"]

#: what these statuses call for (RFC 9110 §15.5.8, §15.5.22), and only who raises them knows
_CALLS_FOR = {407: "proxy-authenticate", 426: "upgrade"}


class HTTPError(RamkitError, HTTPException):
    """``raise HTTPError(404, "no such order")``: everything in it is for the client's eyes.

    ``title``: the status's phrase if there is none. ``type``: a URI that names the problem. ``members``:
    further ones (RFC 9457 §3.2), as JSON. Raises ``ValueError`` for a status that is no error.
    """

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        *,
        title: str | None = None,
        type: str = "about:blank",  # noqa: A002 - the name that RFC 9457 gives this member
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"{status!r} is no error")
        needed = _CALLS_FOR.get(status)
        if needed is not None and needed not in {name.lower() for name in headers or ()}:
            raise ValueError(f"a {status} calls for {needed}")
        HTTPException.__init__(self, status, detail, headers)
        self.title, self.type, self.members = title, type, members
