"""What errors look like to clients."""

from http import HTTPStatus

from starlette.exceptions import HTTPException

from ramkit.kernel.asgi import RawHeaders
from ramkit.kernel.replies import Reply, problem
from ramkit.router.errors import HTTPError

__all__ = ["rendered"]

#: A 401 must say how to log in, a 405 what is allowed (RFC 9110 §15.5.2, §15.5.6), whoever raised it.
_AT_LEAST = {401: (b"www-authenticate", b"Bearer"), 405: (b"allow", b"")}


def rendered(error: HTTPException) -> Reply:
    """Problem details; of Starlette's own what is no error (a 304) as it stands."""
    status = error.status_code
    headers: RawHeaders = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in (error.headers or {}).items()
    ]
    if not 400 <= status <= 599:
        return Reply(status, headers)
    least = _AT_LEAST.get(status)
    if least is not None and least[0] not in {name for name, _ in headers}:
        headers.append(least)
    # Starlette puts the phrase where nobody said anything.
    detail = None if error.detail == _phrase(status) else error.detail or None
    if isinstance(error, HTTPError):
        return problem(
            status, title=error.title, detail=detail, type=error.type, headers=headers, **error.members
        )
    return problem(status, detail=detail, headers=headers)


def _phrase(status: int) -> str | None:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return None
