"""FastAPI dependencies for pages, which appear in OpenAPI. Needs FastAPI."""

from typing import Annotated, Any

from fastapi import Depends, Query
from starlette.requests import Request

from ramkit.db.pages import PageRequest

__all__ = ["CursorRequested", "PageRequested"]

# Declared for OpenAPI alone: what was sent is read from the scope, where nothing was converted or dropped.
_Number = Annotated[Any, Query(json_schema_extra={"type": "integer", "minimum": 1})]
_Cursor = Annotated[Any, Query(json_schema_extra={"type": "string"})]


def _page(request: Request, page: _Number = None, limit: _Number = None) -> PageRequest:  # noqa: ARG001 - above
    return PageRequest.of(request.scope)


def _cursor(request: Request, cursor: _Cursor = None, limit: _Number = None) -> PageRequest:  # noqa: ARG001 - above
    return PageRequest.of(request.scope)


#: ``page`` and ``limit`` of this request, as they were sent: for ``paginate``
PageRequested = Annotated[PageRequest, Depends(_page)]
#: ``cursor`` and ``limit``: for ``cursor_page``
CursorRequested = Annotated[PageRequest, Depends(_cursor)]
