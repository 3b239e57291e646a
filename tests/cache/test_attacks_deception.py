"""Web cache deception: a path that a rule takes for a file, and the app for somebody's page.

Gil, "Web Cache Deception" (2017); Mirheidari et al., "Cached and Confused" (2020); Doyhenard, "Gotta cache
'em all" (2024). The app below ignores all but the beginning of its path.
"""

import pytest

from ramkit.cache import CacheMiddleware, Rule
from ramkit.kernel.context import RequestContext
from tests.cache.test_middleware import cached
from tests.cache.wire import ask, cacheable

TAILS = [
    "/x.css", "%2Fx.css", "%0Ax.css", "%0ax.css", "%0d%0ax.css", ";x.css", "%3Bx.css", "%00x.css", "%3Fx.css",
    "%23x.css", "%20x.css", "%5Cx.css", "/..%2fstatic/x.css", "/%2e%2e/x.css", "!x.css", ",x.css", ".css",
    "/.css", "%E2%80%A8x.css", "%ffx.css", "$x.css",
]  # fmt: skip
COOKIE, BEARER = {"cookie": "session=ada"}, {"authorization": "Bearer ada"}


class Account:
    """``/account…`` is the page of whoever asks; ``reads``: how the app knows."""

    def __init__(self, reads, *headers):
        self.reads, self.headers = reads, list(headers)

    async def __call__(self, scope, receive, send):
        body = b"nobody's" + str(self.reads(scope)).encode()
        headers = [*self.headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def of_session(scope):
    scope["session"] = {"user": "ada"} if b"cookie" in dict(scope["headers"]) else {}
    return scope["session"].get("user")


def of_user(scope):
    scope["user"] = "ada"
    return scope["user"]


def of_auth(scope):
    scope["auth"] = "ada"
    return scope["auth"]


def of_field(name):
    return lambda scope: dict(scope["headers"]).get(name, b"-")


def of_context(scope):
    RequestContext.of(scope).personal = True
    return "ada"


READERS = [
    (of_session, COOKIE),
    (of_user, {}),
    (of_auth, {}),
    (of_context, {}),
    (of_field(b"cookie"), COOKIE),
    (of_field(b"authorization"), BEARER),
    (of_field(b"x-api-key"), {"x-api-key": "ada"}),
]
IDS = ["session", "user", "auth", "context", "cookie", "authorization", "api-key"]


@pytest.mark.parametrize(("reads", "headers"), READERS, ids=IDS)
async def test_nothing_private_is_stored_whatever_the_tail(cache, reads, headers):
    """Breaks when a rule's ttl is given to what was rendered for somebody."""
    app = CacheMiddleware(Account(reads), cache=cache, rules=[Rule("*.css", ttl=60)])
    for tail in TAILS:
        victim = await ask(app, f"/account{tail}", headers=headers)
        assert b"ada" in victim.body
        attacker = await ask(app, f"/account{tail}")
        assert attacker.x_cache == "MISS", tail


@pytest.mark.parametrize(("reads", "headers"), READERS, ids=IDS)
async def test_nor_by_a_range_a_head_or_a_post(cache, reads, headers):
    """Breaks when another way into the store asks for less than the plain one."""
    app = CacheMiddleware(Account(reads), cache=cache, rules=[Rule("*.css", ttl=60)])
    for method, more in (("GET", {"range": "bytes=0-"}), ("HEAD", {}), ("POST", {})):
        await ask(app, f"/account/{method}.css", method, headers | more)
        assert (await ask(app, f"/account/{method}.css", headers={"range": "bytes=0-"})).x_cache == "MISS"


@pytest.mark.parametrize("reads", [of_session, of_user, of_auth, of_context], ids=IDS[:4])
@pytest.mark.parametrize("control", ["max-age=60", "public, max-age=60", "s-maxage=60"])
async def test_a_principal_that_was_read_counts_more_than_the_lifetime_that_a_server_gives(reads, control):
    """Breaks when a blanket Cache-Control for .css overrules that somebody was looked at."""
    app = cached(Account(reads, *cacheable(control)))
    await ask(app, "/account/x.css", headers=COOKIE)
    assert (await ask(app, "/account/x.css")).x_cache == "MISS"


@pytest.mark.parametrize(
    "reads", [of_session, of_user, of_field(b"authorization")], ids=["session", "user", "authorization"]
)
async def test_cookies_that_do_not_matter_do_not_make_sessions_shared(reads):
    """Breaks when cookies="ignore" has identities ignored, too."""
    app = cached(Account(reads), Rule("*.css", cookies="ignore"))
    await ask(app, "/account/x.css", headers=COOKIE | BEARER)
    assert (await ask(app, "/account/x.css")).x_cache == "MISS"


DOTTED = [
    "/static/..%2faccount", "/static/%2e%2e/account", "/static/../account", "/static/..%5caccount",
    "/static/..", "/static/..;/account", "/static/..;x=1/account", "/static/.%2e/account",
    "/static/x/..%2f..%2faccount",
    "/static%2f..%2faccount", "/static/./account", "/static\\..\\account",
]  # fmt: skip


@pytest.mark.parametrize("path", DOTTED)
async def test_a_path_that_leads_out_of_a_rules_is_not_its(path):
    """Breaks when rules match what an app, or a server behind the gateway, resolves to another path: static
    files are everybody's, /account is not."""
    rules = [Rule("/static/*", cookies="ignore", identity="ignore"), Rule("/static*", cookies="ignore")]
    app = cached(Account(of_field(b"cookie")), *rules)
    await ask(app, path, headers=COOKIE)
    assert (await ask(app, path)).x_cache == "MISS"


@pytest.mark.parametrize(
    "path", ["/static/a..b", "/static/...", "/static/.well-known/x", "/static/a/..x", "/static/a..;"]
)
async def test_dots_that_are_no_segments_are_names(path):
    """Breaks when the test above passes by refusing every dot."""
    app = cached(Account(of_field(b"x")), Rule("/static/*"))
    await ask(app, path)
    assert (await ask(app, path)).x_cache == "HIT"


HIDDEN = ["%3B", ";", "%0A", "%00", "%23", "%3F", "%2F", "%2f", "%5C", "%7F"]


@pytest.mark.parametrize("delimiter", HIDDEN)
async def test_a_rule_that_shares_does_not_share_what_hides_a_delimiter(delimiter):
    """Breaks when a rule for files ignores cookies where a server further back ends the path before ".css":
    the page of whoever asked first would be everybody's. Its groups and ttl stay."""
    rule = Rule("*.css", cookies="ignore", identity="ignore", set_cookie="everybody", groups=["files"])
    app = cached(Account(of_field(b"cookie")), rule)
    assert b"ada" in (await ask(app, f"/account{delimiter}x.css", headers=COOKIE)).body
    assert (await ask(app, f"/account{delimiter}x.css")).x_cache == "MISS"
    assert (await ask(app, f"/account{delimiter}x.css")).x_cache == "HIT"
    assert (await ask(app, f"/account{delimiter}x.css", headers=COOKIE)).x_cache == "MISS"
    await app.cache.purge_groups("files")
    assert (await ask(app, f"/account{delimiter}x.css")).x_cache == "MISS"


@pytest.mark.parametrize(
    "path", ["/account/x.css", "/account%20x.css", "/account!x.css", "/account%C3%A9.css"]
)
async def test_a_rule_that_shares_shares_the_rest(path):
    """Breaks when the test above passes by refusing all."""
    app = cached(Account(of_field(b"x")), Rule("*.css", cookies="ignore"))
    await ask(app, path, headers=COOKIE)
    assert (await ask(app, path)).x_cache == "HIT"


@pytest.mark.parametrize(
    "control",
    ["private; max-age=60", "max-age=60; private", "max-age=60, no-store;x", "s-maxage=60;no-store"],
)
async def test_private_is_heard_behind_a_semicolon(control):
    """Breaks when a directive is hidden by a separator that is none (RFC 9111 §5.2), and that many write."""
    app = cached(Account(of_field(b"x"), *cacheable(control)), Rule("/*"))
    await ask(app, "/a")
    assert (await ask(app, "/a")).x_cache == "MISS"


# -- RFC 9213: what Cache-Control says is not for a cache that is spoken to itself ---------------------------


@pytest.mark.parametrize("control", ["private", "no-store", "no-cache", "max-age=0"])
async def test_a_targeted_field_wins_as_the_rfc_has_it(control):
    """Breaks when both are mixed (RFC 9213 §2.2): "browsers: not at all, caches of the site: a minute"."""
    app = cached(Account(of_field(b"x"), *cacheable(control, ("cdn-cache-control", "max-age=60"))))
    await ask(app, "/a")
    hit = await ask(app, "/a")
    assert (hit.x_cache, hit["cache-control"]) == ("HIT", control)


@pytest.mark.parametrize(
    ("reads", "headers", "more"),
    [
        (of_session, COOKIE, ()),
        (of_user, {}, ()),
        (of_context, {}, ()),
        (of_field(b"authorization"), BEARER, ()),
        (of_field(b"x"), {}, (("set-cookie", "session=ada"),)),
    ],
    ids=["session", "user", "context", "authorization", "set-cookie"],
)
@pytest.mark.parametrize("control", ["private", "public, s-maxage=60", 'no-cache="set-cookie"'])
async def test_a_targeted_field_takes_no_other_protection_away(reads, headers, more, control):
    """Breaks when CDN-Cache-Control: max-age does for an identity what only its own words may, or when
    permissions are still read from the Cache-Control beside it."""
    said = cacheable(control, ("cdn-cache-control", "max-age=60"), *more)
    app = cached(Account(reads, *said), Rule("/*"))
    await ask(app, "/a", headers=headers)
    assert (await ask(app, "/a")).x_cache == "MISS"


@pytest.mark.parametrize(
    "value", ['no-cache="x-secret"', 'no-cache=("x-secret")', "no-cache=:aGk=:", "no-cache"]
)
async def test_a_targeted_no_cache_of_any_type_is_followed(value):
    """Breaks when an argument that cannot be read is taken for the name of a field."""
    said = cacheable("max-age=60", ("cdn-cache-control", f"max-age=60, {value}"), ("x-secret", "ada"))
    app = cached(Account(of_field(b"x"), *said))
    await ask(app, "/a")
    assert (await ask(app, "/a")).x_cache == "MISS"
