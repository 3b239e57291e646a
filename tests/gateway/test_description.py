import pytest

from ramkit.gateway.description import Description, address, parse
from ramkit.gateway.policy import CircuitBreaker, Ejection, HealthCheck, Route, Upstream
from ramkit.kernel.errors import ConfigurationError

FULL = """
listen = "127.0.0.1:8002"
trusted_proxies = ["10.0.0.0/8", "unix"]

[upstreams.users]
servers = ["http://127.0.0.1:8001", "http://127.0.0.1:8003"]
balance = "two_choices"
retries = 2
health = { path = "/health", interval = 2 }

[upstreams.users.ejection]
failures = 3

[upstreams.orders]
servers = ["https://orders.internal"]
ejection = false
breaker = false

[[routes]]
path = "/users/*"
upstream = "users"
strip_prefix = true

[[routes]]
path = "/orders/*"
upstream = "orders"
host = "shop.example.com"

[cache]
store = "memory://"
"""


def test_a_description_becomes_what_code_would_write() -> None:
    assert parse(FULL) == Description(
        listen=("127.0.0.1", 8002),
        trusted_proxies=("10.0.0.0/8", "unix"),
        upstreams=(
            Upstream(
                "users",
                ["http://127.0.0.1:8001", "http://127.0.0.1:8003"],
                balance="two_choices",
                retries=2,
                health=HealthCheck(path="/health", interval=2),
                ejection=Ejection(failures=3),
                breaker=CircuitBreaker(),
            ),
            Upstream("orders", ["https://orders.internal"], ejection=None, breaker=None),
        ),
        routes=(
            Route("/users/*", "users", strip_prefix=True),
            Route("/orders/*", "orders", host="shop.example.com"),
        ),
        cache="memory://",
    )


def test_the_least_that_is_a_description() -> None:
    text = '[upstreams.a]\nservers=["http://h:1"]\n[[routes]]\npath="/*"\nupstream="a"'
    assert parse(text) == Description(
        upstreams=(Upstream("a", ["http://h:1"]),), routes=(Route("/*", "a"),), listen=None, cache=None
    )


GOOD = {
    "top": 'listen = "127.0.0.1:8002"',
    "users": 'servers = ["http://127.0.0.1:8001"]',
    "route": 'path = "/users/*"\nupstream = "users"',
    "cache": 'store = "memory://"',
}


@pytest.mark.parametrize(
    ("part", "text", "argument", "problem"),
    [
        ("top", "listen = 8002", "listen", "8002 is not host:port"),
        ("top", 'listen = "127.0.0.1"', "listen", "is not host:port"),
        ("top", 'listem = "127.0.0.1:1"', "listem", "'listen' is meant"),
        ("top", 'xyzzy = "1"', "xyzzy", "there are cache, listen, routes"),
        ("top", 'trusted_proxies = "10.0.0.0/8"', "trusted_proxies", "must be a list of strings"),
        ("top", "trusted_proxies = [1]", "trusted_proxies", "must be a list of strings"),
        ("top", 'trusted_proxies = ["10.0.0.0/99"]', "trusted_proxies", "10.0.0.0/99"),
        ("top", "listen = ", "description", "line 1"),
        ("users", "", "upstreams.users.servers", "is missing"),
        ("users", "servers = []", "upstreams.users.servers", "there are none"),
        ("users", 'servers = "http://h:1"', "upstreams.users.servers", "must be a list"),
        ("users", "servers = [1]", "upstreams.users.servers", "1 is not http"),
        ("users", 'servers = ["http://h:1/path"]', "upstreams.users.servers", "without user, path or query"),
        ("users", 'servers = ["http://h:1"]\nretry = 1', "upstreams.users.retry", "'retries' is meant"),
        ("users", 'servers = ["http://h:1"]\nretries = "1"', "upstreams.users.retries", "whole number"),
        ("users", 'servers = ["http://h:1"]\nretries = true', "upstreams.users.retries", "whole number"),
        ("users", 'servers = ["http://h:1"]\nbalance = "best"', "upstreams.users.balance", "none of"),
        ("users", 'servers = ["http://h:1"]\nname = "x"', "upstreams.users.name", "already"),
        ("users", 'servers = ["http://h:1"]\nhealth = "/h"', "upstreams.users.health", "must be a table"),
        ("users", 'servers = ["http://h:1"]\nhealth = true', "upstreams.users.health", "must be a table"),
        (
            "users",
            'servers = ["http://h:1"]\nhealth = {interval = -1}',
            "upstreams.users.health.interval",
            "seconds",
        ),
        (
            "users",
            'servers = ["http://h:1"]\nbreaker = {shar = 1}',
            "upstreams.users.breaker.shar",
            "'share'",
        ),
        ("route", 'path = "/users/*"', "routes[0].upstream", "is missing"),
        ("route", 'upstream = "users"', "routes[0].path", "is missing"),
        ("route", 'path = "users"\nupstream = "users"', "routes[0].path", "must begin with '/'"),
        (
            "route",
            'path = "/*"\nupstream = "usres"',
            "routes",
            "'usres', which is no upstream (there are: users)",
        ),
        ("route", 'path = "/*"\nupstream = "users"\nhost = 1', "routes[0].host", "1 is neither"),
        ("route", 'path = "/*"\nupstream = "users"\nprefix = 1', "routes[0].prefix", "no such key"),
        ("route", 'path = "/a/*"\nupstream = "users"\nstrip_prefix = 1', "routes[0].strip_prefix", "neither"),
        ("cache", "", "cache.store", "is missing"),
        ("cache", "store = 1", "cache.store", "1 is not a URL"),
        ("cache", 'stor = "memory://"', "cache.stor", "'store' is meant"),
    ],
)
def test_a_mistake_names_its_key_and_place(part: str, text: str, argument: str, problem: str) -> None:
    parts = GOOD | {part: text}
    description = (
        f"{parts['top']}\n[upstreams.users]\n{parts['users']}\n"
        f"[[routes]]\n{parts['route']}\n[cache]\n{parts['cache']}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        parse(description)
    assert caught.value.argument == argument
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("", "routes"),
        ('[upstreams.a]\nservers=["http://h:1"]', "routes"),
        ('upstreams = 1\n[[routes]]\npath="/*"\nupstream="a"', "upstreams"),
        ('[upstreams]\na = "http://h"\n[[routes]]\npath="/*"\nupstream="a"', "upstreams.a"),
        ('[routes]\npath="/*"\nupstream="a"', "routes"),
        ('routes = ["/*"]', "routes[0]"),
        (
            '[upstreams."a b"]\nservers=["http://h:1"]\n[[routes]]\npath="/*"\nupstream="a b"',
            "upstreams.a b.name",
        ),
        ("cache = 1\n[[routes]]\npath='/*'\nupstream='a'\n[upstreams.a]\nservers=['http://h']", "cache"),
    ],
)
def test_a_wrong_shape_names_its_place(text: str, argument: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8002", ("::1", 8002)), ("localhost:0", ("localhost", 0))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address("listen", text) == expected


@pytest.mark.parametrize(
    "text",
    ["", ":80", "h", "h:", "h:x", "::1:80", "[::1]", "[h]:80", "h:65536", "h:-1", "h :1", "a/b:1", "h:²"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigurationError, match="listen"):
        address("listen", text)
