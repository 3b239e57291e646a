import math
from typing import Any

import pytest

from ramkit.gateway.policy import CircuitBreaker, Ejection, HealthCheck, Route, Upstream, check_routes
from ramkit.kernel.errors import ConfigurationError

SERVERS = ["http://127.0.0.1:8000"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://Example.COM", "http://example.com:80"),
        ("https://example.com/", "https://example.com:443"),
        ("HTTP://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_one_server_has_one_spelling(given: str, kept: str) -> None:
    assert Upstream("a", [given]).servers == (kept,)


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:8000", "//h:1", "ftp://h", "http://", "http://:80", "http://h:", "http://h:0",
        "http://h:65536", "http://h:x", "http://user@h", "http://user:pw@h", "http://@h", "http://h/path",
        "http://h?q", "http://h/?", "http://h#f", "http://h /", "http://h\n", "http://h\\@evil", "http://[::1",
        "http://bücher.example", b"http://h", None, 1,
    ],
)  # fmt: skip
def test_what_is_no_server(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="servers: .* is not http"):
        Upstream("a", [url])


@pytest.mark.parametrize(
    "servers",
    [[], (), "http://h", None, {"http://h"}, ["http://h", "http://h"], ["http://h", "http://H:80/"]],
)
def test_what_are_no_servers(servers: Any) -> None:
    with pytest.raises(ConfigurationError, match="servers"):
        Upstream("a", servers)


SECONDS: list[object] = [-1, math.inf, math.nan, "1", None, True]
COUNTS: list[object] = [0, -1, 1.5, "1", None, True]
SHARES: list[object] = [-0.1, 1.1, math.nan, "0.5", None, True]


@pytest.mark.parametrize(
    ("kind", "argument", "values"),
    [
        (Upstream, "name", ["", "a b", "-a", "a/b", None, 1]),
        (Upstream, "balance", ["random", None, 1, []]),
        (Upstream, "hash_on", ["cookie", "header:", "header:a b", "header", None, 1]),
        (Upstream, "connect_timeout", [0, *SECONDS]),
        (Upstream, "first_byte_timeout", [0, *SECONDS]),
        (Upstream, "idle_timeout", [0, *SECONDS]),
        (Upstream, "retries", COUNTS[1:]),
        (Upstream, "retry_budget", SHARES),
        (Upstream, "max_connections", COUNTS),
        (Upstream, "health", [False, "/health", {}]),
        (Upstream, "ejection", [False, HealthCheck()]),
        (Upstream, "breaker", [False, Ejection()]),
        (HealthCheck, "path", ["", "health", "/a b", "/é", "/a\r\nX: y", "/a#b", None]),
        (HealthCheck, "interval", [0, *SECONDS]),
        (HealthCheck, "timeout", [0, *SECONDS]),
        (HealthCheck, "healthy", COUNTS),
        (HealthCheck, "unhealthy", COUNTS),
        (Ejection, "failures", COUNTS),
        (Ejection, "share", [0, *SHARES]),
        (Ejection, "requests", COUNTS),
        (Ejection, "window", [0, *SECONDS]),
        (Ejection, "duration", [0, *SECONDS]),
        (Ejection, "longest", [0, 1, *SECONDS]),
        (Ejection, "max_ejected", SHARES),
        (Ejection, "slow_start", SECONDS),
        (CircuitBreaker, "share", [0, *SHARES]),
        (CircuitBreaker, "requests", COUNTS),
        (CircuitBreaker, "window", [0, *SECONDS]),
        (CircuitBreaker, "cooldown", [0, *SECONDS]),
        (
            Route,
            "path",
            ["", "users", "*", "/a*", "/*/b", "/a?b", "/a%20b", "/../a", "/a/./b", "/a//b", None],
        ),
        (Route, "upstream", ["", None, 1]),
        (Route, "host", ["", "a:80", "*", "*a.b", "a.*", "a..b", "a b", "-a", "a" * 64, "http://a", 1]),
        (Route, "strip_prefix", [1, "yes", None]),
    ],
)
def test_a_mistake_names_its_argument(kind: Any, argument: str, values: list[object]) -> None:
    good: dict[str, Any] = {}
    if kind is Upstream:
        good = {"name": "a", "servers": SERVERS}
    elif kind is Route:
        good = {"path": "/a/*", "upstream": "a"}
    for value in values:
        with pytest.raises(ConfigurationError) as caught:
            kind(**good | {argument: value})
        assert caught.value.argument == argument, value


def test_a_prefix_is_stripped_only_where_there_is_one() -> None:
    with pytest.raises(ConfigurationError, match="strip_prefix"):
        Route("/users", "a", strip_prefix=True)


@pytest.mark.parametrize(
    ("routes", "upstreams", "problem"),
    [
        ([], [Upstream("a", SERVERS)], "routes: there are none"),
        ([Route("/*", "b")], [Upstream("a", SERVERS)], "'b', which is no upstream (there are: a)"),
        ([Route("/*", "a"), Route("/*", "a")], [Upstream("a", SERVERS)], "routes: '/*' is there twice"),
        (
            [Route("/*", "a", host="H.example"), Route("/*", "a", host="h.example")],
            [Upstream("a", SERVERS)],
            "routes: '/*' is there twice",
        ),
        ([Route("/*", "a")], [Upstream("a", SERVERS)] * 2, "upstreams: two of them are named 'a'"),
    ],
)
def test_routes_and_upstreams_fit(routes: list[Route], upstreams: list[Upstream], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_routes(routes, upstreams)
    assert problem in str(caught.value)


def test_one_path_may_have_several_hosts() -> None:
    check_routes([Route("/*", "a"), Route("/*", "a", host="h.example")], [Upstream("a", SERVERS)])
