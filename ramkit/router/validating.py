"""What a request must look like, said by msgspec's types."""

from collections.abc import Callable
from typing import Any, cast, get_args, get_origin

import msgspec
from starlette.datastructures import QueryParams

from ramkit.kernel.errors import ConfigurationError
from ramkit.router.chain import Next
from ramkit.router.context import Context
from ramkit.router.core.checking import Fault, faults_of
from ramkit.router.errors import HTTPError

__all__ = ["Validate", "validate"]

_LISTS = (list, set, frozenset, tuple)


class Validate:
    """A middleware; see ``validate``."""

    def __init__(
        self, body: Any, query: type[msgspec.Struct] | None, params: type[msgspec.Struct] | None
    ) -> None:
        for name, struct in (("query", query), ("params", params)):
            given = cast(object, struct)
            if given is not None and not (isinstance(given, type) and issubclass(given, msgspec.Struct)):
                raise ConfigurationError(name, f"{struct!r} is no msgspec.Struct")
        self.body, self.query, self.params = body, query, params
        try:
            self._decode = None if body is None else msgspec.json.Decoder(body).decode
            self._takes_many = dict[str, bool]() if query is None else _takes_many(query)
        except TypeError as error:
            raise ConfigurationError("body", str(error)) from None

    async def __call__(self, ctx: Context, next: Next) -> None:  # noqa: A002 - as middlewares call it
        told: list[dict[str, str]] = []
        if self.params is not None:
            ctx.valid.params = _converted(ctx.params, self.params, "params", told)
        if self.query is not None:
            ctx.valid.query = self._from_query(ctx.query, told)
        if self._decode is not None:
            told += _told("body", await self._from_body(self._decode, ctx))
        if told:
            raise HTTPError(422, "The request does not fit.", errors=told)
        await next()

    async def _from_body(self, decode: Callable[[bytes], Any], ctx: Context) -> list[Fault]:
        if not ctx.is_json():
            await ctx.json()  # which says so
        try:
            ctx.valid.body = decode(await ctx.body())
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            # Either no JSON, which this says, or JSON that does not fit.
            return faults_of(await ctx.json(), self.body) or [Fault("", str(error))]
        return []

    def _from_query(self, given: QueryParams, told: list[dict[str, str]]) -> Any:
        values: dict[str, Any] = {}
        twice = set[str]()
        for name, value in given.multi_items():
            if self._takes_many.get(name):
                values.setdefault(name, []).append(value)
            elif name not in values:
                values[name] = value
            elif name in self._takes_many:
                twice.add(name)
        told += _told("query", [Fault(f"/{name}", "is there more than once") for name in sorted(twice)])
        return _converted(values, self.query, "query", told)


def validate(
    *, body: Any = None, query: type[msgspec.Struct] | None = None, params: type[msgspec.Struct] | None = None
) -> Validate:
    """A middleware that lets in what fits; the values are in ``ctx.valid.body``, ``.query`` and ``.params``.

    ``body``: whatever msgspec decodes JSON to. ``query`` and ``params``: Structs, whose fields are read from
    text; a field that is a list takes a parameter that is repeated. What does not fit is a 422 whose
    ``errors`` has each fault: ``in`` which part, its ``pointer`` (RFC 6901) and ``detail``. OpenAPI knows it.
    """
    return Validate(body, query, params)


def _converted(values: Any, struct: Any, part: str, told: list[dict[str, str]]) -> Any:
    try:
        return msgspec.convert(values, struct, strict=False)
    except msgspec.ValidationError:
        told += _told(part, faults_of(values, struct, strict=False))
        return None


def _told(part: str, faults: list[Fault]) -> list[dict[str, str]]:
    return [{"in": part, "pointer": f"#{fault.pointer}", "detail": fault.detail} for fault in faults]


def _takes_many(struct: type[msgspec.Struct]) -> dict[str, bool]:
    """Of each parameter, whether it may be repeated."""
    return {field.encode_name: _is_list(field.type) for field in msgspec.structs.fields(struct)}


def _is_list(wanted: Any) -> bool:
    if (get_origin(wanted) or wanted) in _LISTS:
        return True
    # Annotated[list[int], …], list[int] | None
    return get_origin(wanted) is not dict and any(_is_list(each) for each in get_args(wanted))
