"""Every fault with its path, and none where there is none."""

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.kernel.errors import ConfigurationError
from ramkit.router import RamAPI, validate
from ramkit.router.core.checking import faults_of
from ramkit.testing.client import ASGIClient
from ramkit.testing.lint import ASGILint

Short = Annotated[str, msgspec.Meta(max_length=2)]


class Colour(enum.Enum):
    RED = "red"


class Item(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=1)]


class Card(msgspec.Struct, tag=True):
    number: str


class Cash(msgspec.Struct, tag=True):
    coins: list[int]


class Row(msgspec.Struct, array_like=True):
    first: int
    second: str


class Everything(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    some_items: list[Item]
    by_number: dict[int, int] = {}
    tags: dict[str, list[Short]] = {}
    pair: tuple[int, Short] | None = None
    many: tuple[int, ...] = ()
    numbers: set[int] = set()
    paid: Card | Cash | None = None
    row: Row | None = None
    colour: Colour = Colour.RED
    exact: Literal["x", 1] = "x"
    when: dt.datetime | None = None
    id: uuid.UUID | None = None
    price: Decimal | None = None
    share: float = 0
    data: bytes = b""


class Filter(msgspec.Struct):
    limit: int
    tag: list[Short] = []
    since: dt.date | None = None
    deep: bool = False


class Place(msgspec.Struct):
    city: Short
    number: Annotated[int, msgspec.Meta(le=9)]


def pointers(value, wanted):
    return [each.pointer for each in faults_of(value, wanted)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, ["/someItems"]),
        ({"someItems": [{}, {"name": "a", "count": 0}, 3]},
         ["/someItems/0/name", "/someItems/0/count", "/someItems/1/count", "/someItems/2"]),
        ({"someItems": [], "tags": {"a/b": ["xxx", "x", 1], "~": 2}},
         ["/tags/a~1b/0", "/tags/a~1b/2", "/tags/~0"]),
        ({"someItems": [], "byNumber": {"1": 2, "2": "x"}}, ["/byNumber/2"]),
        ({"someItems": [], "byNumber": {"x": 2}}, ["/byNumber"]),
        ({"someItems": [], "pair": ["x", "xxx"], "many": [1, "x", 2]}, ["/pair/0", "/pair/1", "/many/1"]),
        ({"someItems": [], "pair": [1]}, ["/pair"]),
        ({"someItems": [], "paid": {"type": "Cash", "coins": ["x"]}}, ["/paid"]),
        ({"someItems": [], "colour": "blue", "exact": 2, "when": "soon", "id": "x"},
         ["/colour", "/exact", "/when", "/id"]),
        ({"someItems": [], "more": 1, "some_items": 2}, ["/more", "/some_items"]),
        ([], [""]),
        (None, [""]),
    ],
)  # fmt: skip
def test_where_the_faults_are(value, found):
    assert pointers(value, Everything) == found


LEAVES = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -1,
        2.5,
        "",
        "a",
        "xxx",
        "1",
        "red",
        "x",
        "aGk=",
        "2020-01-01T00:00:00",
        str(uuid.UUID(int=1)),
    ]
)
ANY = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["1", "a", "name", "count", "type", "coins"]), inner, max_size=3)
    ),
    max_leaves=8,
)
LIKELY = {
    "someItems": st.lists(st.fixed_dictionaries({"name": st.just("a"), "count": LEAVES}), max_size=2),
    "byNumber": st.dictionaries(st.sampled_from(["1", "2", "x"]), st.integers(0, 2)),
    "pair": st.just([1, "a"]),
    "paid": st.sampled_from([{"type": "Card", "number": "1"}, {"type": "Cash", "coins": [1]}]),
    "row": st.just([1, "a"]),
}
BODIES = st.fixed_dictionaries(
    {},
    optional={name: LIKELY.get(name, ANY) | ANY for name in [*Everything.__struct_encode_fields__, "more"]},
)


@given(BODIES)
def test_there_are_faults_exactly_where_msgspec_refuses(value):
    raw = msgspec.json.encode(value)
    try:
        msgspec.json.decode(raw, type=Everything)
        fits = True
    except msgspec.ValidationError:
        fits = False
    assert fits == (faults_of(msgspec.json.decode(raw), Everything) == [])


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (["x"] * 100_000, list[int]),
        ({f"{'k' * 150}{number}": "x" for number in range(10_000)}, dict[str, int]),
        ({"k" * 500_000: ["x"] * 1000}, dict[str, list[int]]),
        ({"someItems": [], "k" * 500_000: 1, **{f"n{number}": 1 for number in range(10_000)}}, Everything),
        ({"someItems": [{"name": 1}] * 50_000}, Everything),
    ],
)
def test_what_is_told_is_bounded(value, wanted):
    """However often a hostile body has its long names in its faults."""
    found = faults_of(value, wanted)
    assert 1 <= len(found) <= 201
    assert sum(len(each.pointer) + len(each.detail) for each in found) < 100_000


def test_the_depth_that_is_looked_at_is_bounded():
    wanted, value = int, "x"
    for _ in range(40):
        wanted, value = list[wanted], [value]
    assert pointers(value, wanted) == ["/0" * 16]


@pytest.fixture
def app():
    app = RamAPI()

    @app.post("/{city}/{number:int}", validate(params=Place, query=Filter, body=Item))
    async def create(ctx):
        valid = ctx.valid
        ctx.json([valid.params, valid.query, valid.body])

    return app


async def test_all_three_at_once(app):
    async with ASGIClient(ASGILint(app)) as http:
        good = await http.post(
            "/ab/7?limit=3&tag=a&tag=b&since=2020-01-02&deep=true&unknown=1&unknown=2",
            json={"name": "a", "count": 1},
        )
        assert good.json() == [
            {"city": "ab", "number": 7},
            {"limit": 3, "tag": ["a", "b"], "since": "2020-01-02", "deep": True},
            {"name": "a", "count": 1},
        ]
        bad = await http.post("/abc/12?limit=1&limit=x&tag=xxx&deep=y&deep=y", json={"count": 0})
    assert bad.status_code == 422
    assert bad.headers["content-type"] == "application/problem+json"
    assert [(each["in"], each["pointer"]) for each in bad.json()["errors"]] == [
        ("params", "#/city"), ("params", "#/number"),
        ("query", "#/deep"), ("query", "#/limit"), ("query", "#/tag/0"), ("query", "#/deep"),
        ("body", "#/name"), ("body", "#/count"),
    ]  # fmt: skip
    assert all(each["detail"] for each in bad.json()["errors"])


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"name":' + b"[" * 100_000, "application/json", 400),
        (b'{"name": "\xff", "count": 1}', "application/json", 400),
        (b'{"name": "a", "count": 1}', "text/plain", 415),
        (b'{"name": "a", "count": 1} ', "application/json", 200),
        (b'{"name": "a", "count": 1, "count": 0}', "application/json", 422),
        (b'{"name": "a", "count": ' + b"1" * 5000 + b"}", "application/json", 400),
        (b"null", "application/json", 422),
        (b" " * 2_000_000, "application/json", 413),
    ],
    ids=["cut", "empty", "deep", "utf-8", "type", "good", "twice", "long", "null", "huge"],
)
async def test_bodies_that_are_not_even_json(app, body, kind, status):
    async with ASGIClient(ASGILint(app)) as http:
        got = await http.post("/ab/1?limit=1", content=body, headers={"content-type": kind})
    assert got.status_code == status


async def test_what_a_route_did_not_validate_is_not_there():
    app = RamAPI()

    @app.get("/", validate(query=Filter))
    async def show(ctx):
        with pytest.raises(AttributeError):
            _ = ctx.valid.body
        ctx.text("")

    async with ASGIClient(ASGILint(app)) as http:
        assert (await http.get("/?limit=1")).status_code == 200
        assert (await http.get("/?limit=" + "1" * 5000)).status_code == 422


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"query": dict}, "query"),
        ({"params": Filter(1)}, "params"),
        ({"body": dict[int, Item] | Item}, "body"),
    ],
)
def test_mistakes(options, said):
    with pytest.raises(ConfigurationError, match=said):
        validate(**options)
