"""The description of routes, OpenAPI 3.1.0, from their patterns, their structs and their docstrings."""

import inspect
import re
from collections.abc import Iterable
from itertools import count
from typing import Any, NamedTuple

import msgspec

from ramkit.router.core.pattern import Parameter, Pattern

__all__ = ["Operation", "document"]

_SCHEMAS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
}
_REFERENCE = "#/components/schemas/"
_PROBLEM: dict[str, Any] = {
    "description": "Problem details (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}


class Operation(NamedTuple):
    """A route. Of its middlewares those with ``body``, ``query``, ``params`` or ``security`` are told of."""

    method: str
    pattern: Pattern
    handler: Any
    middleware: tuple[Any, ...]

    def said(self, what: str) -> list[Any]:
        found = (getattr(each, what, None) for each in self.middleware)
        return [each for each in found if each is not None]


def document(title: str, version: str, operations: Iterable[Operation]) -> dict[str, Any]:
    """Raises ``TypeError`` for a type that has no JSON schema."""
    operations = list(operations)
    parts = ("body", "query", "params")
    wanted = [kind for each in operations for part in parts for kind in each.said(part)]
    unique = list({id(kind): kind for kind in wanted}.values())
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REFERENCE + "{name}")
    known = _Known({id(kind): schema for kind, schema in zip(unique, schemas, strict=True)}, components)
    paths: dict[str, dict[str, Any]] = {}
    templates: dict[str, Pattern] = {}
    taken, security = set[str](), dict[str, Any]()
    for each in operations:
        # Paths that differ in names alone are one (OpenAPI 3.1.0, Paths Object); the first counts.
        pattern = templates.setdefault(re.sub(r"{.*?}", "{}", _path(each.pattern)), each.pattern)
        item = paths.setdefault(_path(pattern), {})
        if each.method.lower() in item:
            continue
        item[each.method.lower()] = described = _described(
            each, known, _name(each.handler, taken), pattern.names
        )
        for scheme in each.said("security"):
            security |= scheme
            described.setdefault("security", []).append({name: [] for name in scheme})
            described["responses"]["401"] = _PROBLEM
    found = {"schemas": components, "securitySchemes": security}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {name: content for name, content in found.items() if content},
    }


class _Known(NamedTuple):
    schemas: dict[int, dict[str, Any]]
    components: dict[str, Any]

    def fields(self, struct: Any) -> tuple[dict[str, Any], list[str]]:
        """Of a struct: the schema of each, and which are required."""
        schema = self.schemas[id(struct)]
        if "$ref" in schema:
            schema = self.components[schema["$ref"].removeprefix(_REFERENCE)]
        return schema.get("properties", {}), schema.get("required", [])


def _path(pattern: Pattern) -> str:
    segments = [f"{{{each.name}}}" if isinstance(each, Parameter) else each for each in pattern.segments]
    if pattern.tail is not None:
        segments.append(f"{{{pattern.tail}}}")
    return "/" + "/".join(segments)


def _name(handler: Any, taken: set[str]) -> str:
    name = getattr(handler, "__name__", "handler").strip("_<>") or "handler"
    numbered = (name if number == 1 else f"{name}_{number}" for number in count(1))
    found = next(each for each in numbered if each not in taken)
    taken.add(found)
    return found


def _described(operation: Operation, known: _Known, name: str, names: tuple[str, ...]) -> dict[str, Any]:
    """``names``: what its parameters are called where it stands."""
    described: dict[str, Any] = {"operationId": name}
    summary, _, rest = (inspect.getdoc(operation.handler) or "").partition("\n")
    if summary:
        described["summary"] = summary
    if rest.strip():
        described["description"] = rest.strip()
    if parameters := [*_of_path(operation, known, names), *_of_query(operation, known)]:
        described["parameters"] = parameters
    for body in operation.said("body"):
        content = {"application/json": {"schema": known.schemas[id(body)]}}
        described["requestBody"] = {"required": True, "content": content}
    described["responses"] = {"200": {"description": "OK"}, "default": _PROBLEM}
    return described


def _of_path(operation: Operation, known: _Known, names: tuple[str, ...]) -> list[dict[str, Any]]:
    fields: dict[str, Any] = {}
    for struct in operation.said("params"):
        fields |= known.fields(struct)[0]
    pattern = operation.pattern
    schemas = {each.name: _SCHEMAS[each.converter] for each in pattern.parameters}
    if pattern.tail is not None:
        schemas[pattern.tail] = _SCHEMAS["str"]
    return [
        {"name": name, "in": "path", "required": True, "schema": fields.get(own, schema)}
        for name, (own, schema) in zip(names, schemas.items(), strict=True)
    ]


def _of_query(operation: Operation, known: _Known) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for struct in operation.said("query"):
        fields, required = known.fields(struct)
        for name, schema in fields.items():
            found[name] = {"name": name, "in": "query", "required": name in required, "schema": schema}
    return list(found.values())
