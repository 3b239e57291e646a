"""The apps whose requests are counted: Starlette with few routes or many, asked for the last of them."""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.driver import BODY, Subject

FEW, MANY = 5, 500


async def city(request: Any) -> Response:
    return Response(BODY, media_type="application/json")


def routed(number: int) -> Starlette:
    others = [Route(f"/others/{each}/{{name}}", city) for each in range(number - 1)]
    return Starlette(routes=[*others, Route("/cities/{name}", city)])


def subjects_of(add: Callable[[Starlette], None]) -> dict[str, Subject]:
    """With what ``add`` adds, and without, for both numbers of routes."""
    found: dict[str, Subject] = {}
    for number in (FEW, MANY):
        with_it = routed(number)
        add(with_it)
        found[f"{number} routes"] = Subject(app=with_it)
        found[f"{number} routes, alone"] = Subject(app=routed(number))
    return found
