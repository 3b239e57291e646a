"""The tree against a naive matcher, and what a path means."""

import re
import string
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.kernel.errors import ConfigurationError
from ramkit.router.core.pattern import Parameter, join, parse
from ramkit.router.core.tree import Tree, segments_of

NAMES = st.sampled_from(["a", "b", "1", "22", "1.5", "é"])
SEGMENTS = st.one_of(NAMES, st.sampled_from([":p", "{p:int}", "{p:float}"]))
RANKS = {"int": 1, "float": 2, "uuid": 3, "str": 4}


@st.composite
def templates(draw):
    parts = draw(st.lists(SEGMENTS, max_size=4))
    parts = [
        part.replace("p", f"p{index}", 1) if part[0] in ":{" else part for index, part in enumerate(parts)
    ]
    if draw(st.booleans()) and draw(st.booleans()):
        parts.append("*tail")
    return "/" + "/".join(parts)


def choices(pattern, path):
    """How narrow each segment's match is, or None: compared segment by segment, the least is the route."""
    parts = path[1:].split("/")
    ranks = []
    for index, segment in enumerate(pattern.segments):
        if index == len(parts):
            return None
        part = parts[index]
        if not isinstance(segment, Parameter):
            if segment != part:
                return None
            ranks.append(0)
        else:
            fits = {"int": r"[0-9]+", "float": r"[0-9]+(\.[0-9]+)?", "str": r".+"}[segment.converter]
            if not re.fullmatch(fits, part, re.DOTALL):
                return None
            ranks.append(RANKS[segment.converter])
    if pattern.tail is None:
        return ranks if len(parts) == len(ranks) else None
    return [*ranks, 9] if len(parts) > len(ranks) else None


@given(
    st.lists(st.tuples(st.sampled_from(["GET", "POST"]), templates()), max_size=12),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.lists(
        st.one_of(NAMES, st.just(""), st.text(string.ascii_lowercase, max_size=2)), min_size=1, max_size=6
    ),
)
def test_it_finds_what_looking_at_every_route_finds(routes, method, parts):
    tree, added = Tree(), {}
    for each, template in routes:
        pattern = parse(template)
        shape = (
            each,
            tuple(
                getattr(s, "converter", s) if isinstance(s, Parameter) else f"={s}" for s in pattern.segments
            ),
        )
        shape += (pattern.tail is not None,)
        if shape in added:
            with pytest.raises(ConfigurationError, match="there already"):
                tree.add(each, pattern, template)
            continue
        added[shape] = pattern
        tree.add(each, pattern, template)
    path = "/" + "/".join(parts)
    fitting = [
        (choices(pattern, path), pattern.template)
        for shape, pattern in added.items()
        if shape[0] == method and choices(pattern, path) is not None
    ]
    found = tree.find(method, path, quote(path).encode())
    assert (found and found[0]) == (min(fitting)[1] if fitting else None)
    others = {shape[0] for shape, pattern in added.items() if choices(pattern, path) is not None}
    if found is None:
        assert set(tree.allowed(path)) == others


def tree_of(*templates):
    tree = Tree()
    for each in templates:
        tree.add("GET", parse(each), each)
    return tree


def test_the_last_segment_of_a_static_path_beats_an_earlier_parameter():
    tree = tree_of("/:a/b", "/a/:b", "/a/*", "/a/c/d")
    assert tree.find("GET", "/a/b") == ("/a/:b", ["b"], None)
    assert tree.find("GET", "/x/b") == ("/:a/b", ["x"], None)
    assert tree.find("GET", "/a/c/e") == ("/a/*", ["c/e"], None)
    assert tree.find("GET", "/a/c/d") == ("/a/c/d", [], None)


def test_what_leads_nowhere_is_given_up_with_its_values():
    tree = tree_of("/:a/x/:c/end", "/:a/:b/:c/other")
    assert tree.find("GET", "/1/x/3/other") == ("/:a/:b/:c/other", ["1", "x", "3"], None)


def test_another_method_goes_on_looking():
    tree = tree_of("/users/me")
    tree.add("POST", parse("/users/:id"), "post")
    assert tree.find("POST", "/users/me") == ("post", ["me"], None)
    assert tree.find("PUT", "/users/me") is None
    assert set(tree.allowed("/users/me")) == {"GET", "POST"}


@pytest.mark.parametrize(
    ("template", "path", "value"),
    [
        ("/{x:int}", "/12", 12), ("/{x:int}", "/-1", None), ("/{x:int}", "/٣", None),
        ("/{x:int}", "/" + "9" * 20, None),
        ("/:x:int", "/7", 7), ("/{x:float}", "/1.5", 1.5), ("/{x:float}", "/nan", None),
        ("/{x:float}", "/1e9", None),
        ("/{x:uuid}", f"/{UUID(int=1)}", UUID(int=1)), ("/{x:uuid}", "/1", None), ("/:x", "/", None),
        ("/{x:float}", "/" + "9" * 309, None), ("/{x:int}", "/1_0", None), ("/:x", "/a b", "a b"),
        ("/{x:path}", "/a//b", "a//b"), ("/*", "/", ""),
    ],
)  # fmt: skip
def test_converters(template, path, value):
    found = tree_of(template).find("GET", path)
    assert (None if found is None else found[1][0]) == value


def test_an_encoded_slash_separates_nothing():
    tree = tree_of("/files/:name", "/files/:dir/:name")
    assert tree.find("GET", "/files/a/b", b"/files/a%2Fb") == ("/files/:name", ["a/b"], None)
    assert tree.find("GET", "/files/a/b", b"/files/a/b") == ("/files/:dir/:name", ["a", "b"], None)
    # a raw path that is another path does not count
    assert tree.find("GET", "/files/a/b", b"/other%2Fx") == ("/files/:dir/:name", ["a", "b"], None)


def test_double_encoding_is_decoded_once():
    assert tree_of("/:x").find("GET", "/a%2Fb", b"/a%252Fb") == ("/:x", ["a%2Fb"], None)


def test_a_hostile_path_is_cut_into_no_more_pieces_than_routes_have():
    assert len(segments_of("/" * 100_000, None, 4)) == 5
    tree = tree_of("/a/:b", "/:c/*")
    assert tree.find("GET", "/" + "x/" * 50_000)[1] == ["x", "x/" * 49_999]


def test_work_does_not_grow_with_routes(monkeypatch):
    looked = []
    real = Tree._straight
    monkeypatch.setattr(
        Tree, "_straight", lambda self, method, parts: looked.append(len(parts)) or real(self, method, parts)
    )
    for count in (5, 5000):
        tree = tree_of(*(f"/r{number}/:id" for number in range(count)))
        assert tree.find("GET", f"/r{count - 1}/7")[1] == ["7"]
        # a node for each segment, whatever stands beside; one dict look-up each
        assert len(tree._root.static) == count
        assert tree._root.parameters == []
    assert looked == [3, 3]


@pytest.mark.parametrize(
    "template",
    ["", "users", "/a//b", "/{x", "/x}", "/a{x}", "/{x}.json", "/*a/b", "/{a:path}/b", "/a*",
    "/{x:hex}", "/:", "/{}",
     "/:a/:a", "/:path/*", "/a%20b", "/a?b", "/a#b", "/a b", "/\r\n", "/{x:int:int}", "/:a-b"],
)  # fmt: skip
def test_what_is_no_template(template):
    with pytest.raises(ConfigurationError, match="^path: "):
        parse(template)


def test_conflicts_name_both():
    tree = tree_of("/users/:id")
    with pytest.raises(ConfigurationError, match=r"'/users/\{name\}' is there already: /users/:id"):
        tree.add("GET", parse("/users/{name}"), "other")
    tree.mount(parse("/static"), "mount")
    with pytest.raises(ConfigurationError, match="below"):
        tree.add("GET", parse("/static/*"), "x")
    with pytest.raises(ConfigurationError, match="below"):
        tree.mount(parse("/static"), "x")


def test_join():
    assert [join("/api", "/"), join("/", "/x"), join("/api/", "/x"), join("/", "/"), join("/a", "/x/")] == [
        "/api", "/x", "/api/x", "/", "/a/x/",
    ]  # fmt: skip
