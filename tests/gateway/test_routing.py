import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.gateway.core.routing import Routes, stripped
from ramkit.gateway.policy import Route

ROUTES = [
    Route("/users/*", "users", strip_prefix=True),
    Route("/users/admin/*", "admin"),
    Route("/users/me", "me"),
    Route("/files/*", "files"),
    Route("/straße/*", "streets"),
    Route("/*", "shop", host="shop.example.com"),
    Route("/users/*", "shop-users", host="shop.example.com"),
    Route("/only", "wild", host="*.example.com"),
    Route("/*", "deep", host="*.deep.example.com"),
    Route("/*", "six", host="[::1]"),
]
TABLE = Routes(ROUTES)


def upstream(path: str, host: str = "other.example") -> str | None:
    route = TABLE.match(host, path)
    return route.upstream if route is not None else None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users", "users"),
        ("/users/", "users"),
        ("/users/7", "users"),
        ("/users/7/orders", "users"),
        ("/usersx", None),
        ("/user", None),
        ("/users/me", "me"),
        ("/users/me/x", "users"),
        ("/users/admin", "admin"),
        ("/users/admin/x/y/z", "admin"),
        ("/users/administrator", "users"),
        ("/Users/7", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("users/7", None),
        ("http://h/users/7", None),
        ("/files/.well-known", "files"),
        ("/files/a..b/...", "files"),
        # unreserved characters mean the same encoded (RFC 3986 §6.2.2.2)
        ("/%75sers/7", "users"),
        ("/users/%61dmin/x", "admin"),
        ("/stra%C3%9Fe/1", "streets"),
        ("/stra\u00c3\u009fe/1", "streets"),
        ("/stra%DFe/1", None),
        ("/users/100%", "users"),
        ("/users/%zz", "users"),
    ],
)
def test_the_longest_path_in_whole_segments(path: str, expected: str | None) -> None:
    assert upstream(path) == expected


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("shop.example.com", "/", "shop"),
        ("SHOP.example.com:8443", "/x", "shop"),
        ("shop.example.com.", "/x", "shop"),
        ("shop.example.com", "/users/admin/x", "shop-users"),
        ("a.example.com", "/only", "wild"),
        ("a.b.example.com", "/only", "wild"),
        # what a host's routes do not have, the general ones may
        ("a.example.com", "/users/1", "users"),
        ("example.com", "/only", None),
        ("badexample.com", "/only", None),
        ("x.deep.example.com", "/only", "deep"),
        ("[::1]:80", "/x", "six"),
        ("[::1]", "/x", "six"),
        ("", "/x", None),
        ("." * 8000, "/users", "users"),
    ],
)
def test_a_host_comes_before_the_general(host: str, path: str, expected: str | None) -> None:
    assert upstream(path, host) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/users/../files/x", "/users/..", "/users/.", "/./users", "/users/%2e%2e/files", "/users/.%2E/files",
        "/users/..%2Ffiles", "/users%2F..%2Ffiles", "/users/..%5Cfiles", "/users/..\\files", "/users\\..\\x",
        "/users/..;/files", "/users/..;a=b/files", "/users/%2e%2e%3b/files", "/users/..%00/../x",
    ],
)  # fmt: skip
def test_dot_segments_take_no_route(path: str) -> None:
    assert upstream(path) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # below /files it is the same for everybody, so it goes there as it was sent
        ("/files/a%2Fb", "files"),
        ("/files/a%5Cb\\c", "files"),
        ("/files//a", "files"),
        ("/files/a;v=1", "files"),
        # but here one reading goes elsewhere
        ("/users%2Fadmin", None),
        ("/users/admin%2Fx", None),
        ("/users/a%2F..%2Fadmin", None),
        ("/users%5Cadmin", None),
        ("/users\\admin", None),
        ("//users/admin", None),
        ("/users//admin/x", None),
        ("/users/admin;x/y", None),
        ("/users;x/7", None),
        # decoded once, as servers do
        ("/users/admin%252Fx", "users"),
        ("/users/%252e%252e/admin", "users"),
    ],
)
def test_a_path_that_servers_read_differently(path: str, expected: str | None) -> None:
    assert upstream(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users", "/"),
        ("/users/", "/"),
        ("/users/7", "/7"),
        ("/users/7/", "/7/"),
        ("/%75sers/a%2Fb%20c", "/a%2Fb%20c"),
        ("/users/a//b", "/a//b"),
    ],
)
def test_a_prefix_is_stripped_by_segments(path: str, expected: str) -> None:
    assert stripped(ROUTES[0], path) == expected


def test_without_strip_prefix_the_path_stays() -> None:
    assert stripped(ROUTES[3], "/files/a") == "/files/a"
    assert stripped(Route("/a/b/*", "u", strip_prefix=True), "/a/b/c/d") == "/c/d"
    assert stripped(Route("/*", "u", strip_prefix=True), "/c/d") == "/c/d"


SEGMENT = st.sampled_from(["a", "b", "ab", "*"])
PATHS = st.lists(SEGMENT, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(
    patterns=st.sets(
        PATHS.filter(lambda path: "*" not in path[:-1] and (path[-1] != "*" or path[-2:] == "/*"))
    ),
    path=st.lists(st.sampled_from(["a", "b", "ab"]), max_size=5).map(lambda parts: "/" + "/".join(parts)),
)
def test_lookup_is_the_search_through_all(patterns: set[str], path: str) -> None:
    routes = [Route(pattern, pattern) for pattern in patterns]
    fitting = [
        pattern
        for pattern in patterns
        if pattern == path or (pattern.endswith("/*") and f"{path}/".startswith(pattern[:-1]))
    ]
    # an exact one is longer than any prefix
    best = max(fitting, key=lambda pattern: (pattern == path, len(pattern)), default=None)
    found = Routes(routes).match("h", path)
    assert (found.path if found is not None else None) == best


@given(path=st.text(alphabet="/%25eEfF.;\\ab\u00c3", max_size=20))
def test_no_reading_takes_another_route(path: str) -> None:
    """An independent reading, by rewriting step by step, agrees or the path has no route."""
    table = Routes([Route("/a/*", "a"), Route("/b/*", "b"), Route("/*", "rest")])
    found = table.match("h", "/" + path)
    if found is None:
        return
    text = "/" + path
    for code, char in (("%2F", "/"), ("%2E", "."), ("%5C", "\\"), ("%25", "%"), ("\\", "/")):
        text = text.replace(code, char).replace(code.lower(), char).replace(code.title(), char)
    segments: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            segments = segments[:-1]
        elif segment not in ("", "."):
            segments.append(segment)
    first = segments[0] if segments else ""
    assert found.upstream == (first if first in ("a", "b") else "rest")
