"""What no log shows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.logs.core.redaction import SECRETS, Redaction, shown
from ramkit.testing.client import http_scope
from tests.logs.reading import answering, logged

redaction = Redaction(SECRETS)


@pytest.mark.parametrize(
    "name",
    [
        "token", "access_token", "refresh_token", "id_token", "accessToken", "csrf-token", "password",
        "new_password", "PASSWORD", "passwd", "secret", "client_secret", "code", "key", "api_key",
        "apikey", "api-key", "apiKey", "signature", "X-Amz-Signature", "X-Amz-Credential",
        "X-Amz-Security-Token", "sig", "AWSAccessKeyId", "jwt", "SAMLResponse", "client_assertion",
        "session_id", "user[password]", "user[code]", "a.token", "%74oken", "to%6Ben", "+token",
        "token%5B%5D", "pass%77ord",
    ],
)  # fmt: skip
def test_secrets_of_a_query(name):
    hidden = redaction.query(f"a=1&{name}=s3cret&b=2".encode())
    assert hidden == f"a=1&{name}=[redacted]&b=2"


@pytest.mark.parametrize(
    "name", ["monkey", "zip_code", "sort_key", "author", "passenger", "page", "side", ""]
)
def test_what_is_no_secret(name):
    assert redaction.query(f"{name}=shown".encode()) == f"{name}=shown"


def test_forms_of_a_query():
    assert redaction.query(b"token=a&token=b;c=d&a=b;token=c;d&token&token=&x=token;y") == (
        "token=[redacted]&token=[redacted]&a=b;token=[redacted]&token&token=&x=token;y"
    )
    assert redaction.query(b"token=a=b==&c=d") == "token=[redacted]&c=d"


@pytest.mark.parametrize(
    "value",
    [
        "/cb?token=s3cret", "https://b.example/%23access_token=s3cret", "%2Fcb%3Ftoken%3Ds3cret",
        "%252Fcb%253Ftoken%253Ds3cret",
        "/cb?a=1%26code%3Ds3cret",
        "a%3D1%3Bpass%3Ds3cret", "%3Fto%256ben%3Ds3cret",
    ],
)  # fmt: skip
def test_secrets_of_a_url_within_a_query(value):
    assert redaction.query(f"next={value}&a=1".encode()) == "next=[redacted]&a=1"
    assert redaction.url(f"/login?next={value}").startswith("/login?next=[redacted]")


@pytest.mark.parametrize(
    "query", ["next=%2Fcb%3Fpage%3D1", "a=b=c", "filter=a%3D%3Db", "x=%3D", "x==", "x=%"]
)
def test_values_with_an_equals_sign_that_hide_nothing(query):
    assert redaction.query(query.encode()) == query


def test_names_are_settable():
    own = Redaction(["ssn", "X-*"])
    assert own.query(b"ssn=1&token=2&X-A=3") == "ssn=[redacted]&token=2&X-A=[redacted]"
    assert Redaction([]).query(b"token=1") == "token=1"


@given(st.lists(st.tuples(st.text("abc%=+[]", max_size=5), st.sampled_from(["token", "password", "x"]))))
def test_no_value_of_a_secret_gets_through(parts):
    query = "&".join(f"{noise}&{name}=s3cret" if name != "x" else f"x={noise}" for noise, name in parts)
    assert "s3cret" not in redaction.query(query.encode())


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("https://a.example/x?token=1&b=2#frag", "https://a.example/x?token=[redacted]&b=2"),
        ("https://anna:s3cret@a.example/x", "https://a.example/x"),
        ("https://anna:s3@cret@a.example", "https://a.example"),
        ("//anna:s3cret@a.example/x", "//a.example/x"),
        ("/x?code=1", "/x?code=[redacted]"),
        ("https://a.example/@anna", "https://a.example/@anna"),
        ("https://a.example/?b=//x:y@z", "https://a.example/?b=//x:y@z"),
        ("https://anna:s3cret@a.example?x=1", "https://a.example?x=1"),
        ("https://a.example/#token=1", "https://a.example/"),
        (f"https://anna:{'s3cret' * 500}@a.example/x", "https://a.example/x"),
    ],
)
def test_urls(url, hidden):
    assert redaction.url(url) == hidden


async def test_headers_that_are_asked_for():
    names = [
        "referer",
        "x-tenant",
        "authorization",
        "Cookie",
        "proxy-authorization",
        "x-api-key",
        "x-csrf-token",
    ]
    headers = [(name.lower().encode(), b"https://a:s3cret@b/?code=s3cret") for name in names]
    headers += [(b"x-other", b"x"), (b"x-tenant", b"two")]
    back = [(b"set-cookie", b"s3cret"), (b"location", b"/?token=s3cret"), (b"server", b"x")]
    line = await logged(
        answering(headers=back),
        http_scope(headers=headers),
        request_headers=[name for name in names if name != "x-tenant"],
        response_headers=["Set-Cookie", "location"],
    )
    assert "s3cret" not in json.dumps(line)
    assert line["request_headers"] == {
        "referer": "https://b/?code=[redacted]",
        **dict.fromkeys(
            ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-csrf-token"], "[redacted]"
        ),
    }
    assert line["response_headers"] == {"set-cookie": "[redacted]", "location": "/?token=[redacted]"}
    line = await logged(answering(), http_scope(headers=headers), request_headers=["x-tenant"], redact=[])
    assert line["request_headers"] == {"x-tenant": "https://a:s3cret@b/?code=s3cret, two"}
    line = await logged(
        answering(), http_scope(headers=headers), request_headers=["authorization"], redact=[]
    )
    assert line["request_headers"] == {"authorization": "[redacted]"}


async def test_headers_that_say_what_was_asked_of_a_proxy():
    names = ["x-forwarded-uri", "x-original-uri", "x-original-url", "x-rewrite-url"]
    headers = [(name.encode(), b"/?token=s3cret") for name in names]
    headers.append((b"x-serverless-authorization", b"s3cret"))
    line = await logged(
        answering(), http_scope(headers=headers), request_headers=[*names, "x-serverless-authorization"]
    )
    assert line["request_headers"] == {
        **dict.fromkeys(names, "/?token=[redacted]"),
        "x-serverless-authorization": "[redacted]",
    }


async def test_many_lines_of_one_header_are_cut_together():
    headers = [(b"x-tenant", b"x" * 500 + b"\n")] * 1000
    line = await logged(answering(), http_scope(headers=headers), request_headers=["x-tenant"])
    assert line["request_headers"]["x-tenant"].startswith("x" * 500 + "\\n, xx")
    assert len(line["request_headers"]["x-tenant"]) == 1025


async def test_no_header_is_logged_unasked():
    headers = [(name, b"s3cret") for name in (b"authorization", b"cookie", b"referer", b"x-tenant")]
    line = await logged(answering(headers=[(b"set-cookie", b"s3cret")]), http_scope(headers=headers))
    assert "s3cret" not in json.dumps(line)


NASTY = 'a\n\r\x00\x1b[31m\x7f\x9b\u2028\u202e\ud800"\\é'


async def test_nothing_can_be_injected():
    query = NASTY.encode("utf-8", "surrogatepass")
    scope = http_scope("GET\n", query=query, headers=[(b"user-agent", b"a\n\x1b\x9b\xff")], user=NASTY)
    scope["path"] = NASTY
    line = await logged(answering(headers=[(b"x-cache", b"\n\x9b")]), scope)
    assert line["path"] == 'a\\n\\r\\x00\\x1b[31m\\x7f\\x9b\\u2028\\u202e\\ud800"\\é'
    assert line["principal"] == line["path"]
    assert line["method"] == "GET\\n"
    assert line["user_agent"] == "a\\n\\x1b\\x9bÿ"
    assert line["cache"] == "\\n\\x9b"
    assert all(text.isprintable() for text in line.values() if isinstance(text, str))


async def test_what_is_long_is_cut():
    scope = http_scope(
        "M" * 5000,
        "/" + "p" * 50_000,
        query=b"q" * 50_000 + b"&token=1",
        headers=[(b"user-agent", b"u" * 50_000)],
    )
    line = await logged(answering(), scope)
    for name in ("method", "path", "query", "user_agent"):
        assert len(line[name]) == 1025
        assert line[name].endswith("…")


def test_a_secret_that_the_cut_goes_through():
    assert redaction.query(b"x" * 1000 + b"&token=" + b"s" * 100) == "x" * 1000 + "&token=[redacted]"
    assert len(shown("\x00" * 2000)) <= 4 * 1024 + 1
