"""The description, of an app that uses everything, as others read it."""

import datetime as dt
import functools
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from openapi_spec_validator import OpenAPIV31SpecValidator

from ramkit.auth.jwt import JWTService
from ramkit.router import (
    RamAPI,
    Router,
    asgi_middleware,
    authenticate,
    cors,
    optional_authenticate,
    rate_limit,
    validate,
)
from ramkit.testing.client import ASGIClient
from ramkit.testing.lint import ASGILint

T = TypeVar("T")


class Item(msgspec.Struct):
    """What is sold."""

    name: Annotated[str, msgspec.Meta(max_length=80)]
    parts: "list[Item]" = []


class Card(msgspec.Struct, tag=True):
    number: str


class Cash(msgspec.Struct, tag=True):
    pass


class Order(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    all_items: list[Item]
    paid_by: Card | Cash
    when: dt.datetime | None = None
    kind: Literal["new", "old"] = "new"
    notes: dict[str, str] = {}


class Page(msgspec.Struct, Generic[T]):
    rows: list[T]


class Filter(msgspec.Struct, rename="kebab"):
    page_size: Annotated[int, msgspec.Meta(ge=1, le=100)]
    tag: list[str] = []


class Place(msgspec.Struct):
    city: Annotated[str, msgspec.Meta(min_length=2)]


async def handler(ctx):
    """What it does.

    And at length.
    """


async def handler_2(ctx): ...


def everything():
    service = JWTService(secret="s" * 32, issuer="https://e.example", audience="shop")
    app = RamAPI(title="Everything", version="1.2", cors=["https://a.example"])
    app.use(rate_limit("1000/s"))
    for method in ("get", "put", "post", "delete", "options", "head", "patch"):
        getattr(app, method)("/methods", handler)
    app.get("/", handler_2)
    app.get("/a/:text/{number:int}/{share:float}/{id:uuid}/*rest", handler)
    app.get("/places/{city}", validate(params=Place, query=Filter), handler)
    app.post("/places/:name", validate(body=Order), handler)
    app.delete("/places/{number:int}", handler)
    app.get("/places/{id:uuid}", handler)
    inside = app.group("/in", cors(["https://b.example"]), authenticate(service, scopes=["a"]))
    inside.post("/bodies", validate(body=list[Item] | Page[Item]), handler)
    router = Router()
    inside.use("/deep", router)
    router.get("/x", optional_authenticate(service), lambda_like())
    router.all("/all", handler)
    router.websocket("/ws", handler)
    app.mount("/mounted", asgi_middleware)
    return app


def lambda_like():
    async def partly(way, ctx): ...

    return functools.partial(partly, "x")


async def test_it_is_valid_and_says_what_there_is():
    app = everything()
    async with ASGIClient(ASGILint(app)) as http:
        got = await http.get("/openapi.json")
    found = got.json()
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []
    assert (got.headers["content-type"], found["openapi"]) == ("application/json", "3.1.0")
    assert found["info"] == {"title": "Everything", "version": "1.2"}
    assert sorted(found["paths"]) == [
        "/", "/a/{text}/{number}/{share}/{id}/{rest}", "/in/bodies", "/in/deep/x", "/methods",
        "/places/{city}",
    ]  # fmt: skip
    assert sorted(found["paths"]["/methods"]) == [
        "delete", "get", "head", "options", "patch", "post", "put"
    ]  # fmt: skip
    names = [each["operationId"] for item in found["paths"].values() for each in item.values()]
    assert len(set(names)) == len(names)
    assert found["paths"]["/methods"]["get"]["summary"] == "What it does."
    assert found["paths"]["/methods"]["get"]["description"] == "And at length."


async def test_parameters_bodies_and_security():
    found = everything().openapi()
    parameters = found["paths"]["/a/{text}/{number}/{share}/{id}/{rest}"]["get"]["parameters"]
    assert [(each["name"], each["schema"].get("type")) for each in parameters] == [
        ("text", "string"), ("number", "integer"), ("share", "number"), ("id", "string"), ("rest", "string")
    ]  # fmt: skip
    place = found["paths"]["/places/{city}"]
    # what differs in names alone is one path: its names are those of the first
    assert sorted(place) == ["delete", "get", "post"]
    assert [each["name"] for each in place["get"]["parameters"]] == ["city", "page-size", "tag"]
    assert place["get"]["parameters"][0]["schema"]["minLength"] == 2
    assert [each["required"] for each in place["get"]["parameters"]] == [True, True, False]
    assert place["delete"]["parameters"][0] == {
        "name": "city", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}
    }  # fmt: skip
    schema = place["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Order"}
    order = found["components"]["schemas"]["Order"]
    assert sorted(order["properties"]) == ["allItems", "kind", "notes", "paidBy", "when"]
    assert order["additionalProperties"] is False
    guarded = found["paths"]["/in/bodies"]["post"]
    assert guarded["security"] == [{"bearer": []}]
    assert "401" in guarded["responses"]
    assert "security" not in found["paths"]["/methods"]["get"]


async def test_it_knows_what_came_later_and_can_be_absent():
    app = RamAPI()
    async with ASGIClient(ASGILint(app)) as http:
        assert (await http.get("/openapi.json")).json()["paths"] == {}
        app.get("/later", handler)
        assert list((await http.get("/openapi.json")).json()["paths"]) == ["/later"]
    async with ASGIClient(ASGILint(RamAPI(openapi=None))) as http:
        assert (await http.get("/openapi.json")).status_code == 404


async def test_the_middlewares_of_the_app_guard_it():
    app = RamAPI(openapi="/docs/api.json")

    async def guard(ctx, next):
        ctx.status(401)

    app.use(guard)
    app.get("/a", handler)
    async with ASGIClient(ASGILint(app)) as http:
        assert (await http.get("/docs/api.json")).status_code == 401


def test_structs_of_one_name_are_told_apart():
    def one():
        class Thing(msgspec.Struct):
            a: int

        return Thing

    def other():
        class Thing(msgspec.Struct):
            b: int

        return Thing

    app = RamAPI()
    app.post("/one", validate(body=one()), handler)
    app.post("/other", validate(body=other()), handler)
    found = app.openapi()
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []
    assert len(found["components"]["schemas"]) == 2
