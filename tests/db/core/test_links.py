"""Link carries a query on as it came."""

import re
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.db.core.links import links

#: RFC 3986, 3.4
QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
AT = {"first": {}, "next": {"page": "2"}}


def references(query):
    """What a client reads out of it, by relation."""
    response = httpx.Response(200, headers={"Link": links(query, AT)})
    assert list(response.links) == ["first", "next"]
    return {relation: link["url"].removeprefix("?") for relation, link in response.links.items()}


def parameters(query):
    """The parameters of a query as bytes; one without ``=`` is another than one that is empty."""
    return [
        tuple(unquote_to_bytes(part.replace(b"+", b" ")) for part in field.split(b"=", 1))
        for field in query.split(b"&")
        if field
    ]


@pytest.mark.parametrize(
    "query",
    [
        b"q=%FF",
        b"q=a%20b",
        b"q=a+b",
        b"flag",
        b"flag=",
        b"flag&a=1&a=2",
        b"q=%c3%bc",
        b"a==&=b",
        b"f=x:@/?,(*)!$",
    ],
)
def test_what_was_sent_stays_as_it_came(query):
    at = query.decode()
    assert links(query, AT) == f'<?{at}>; rel="first", <?{at}&page=2>; rel="next"'


@pytest.mark.parametrize("query", [b"", b"&", b"page=7", b"cursor", b"%70age=7&page&p%61ge=1&cursor=x"])
def test_what_tells_the_page_is_replaced(query):
    assert links(query, AT) == '<?>; rel="first", <?page=2>; rel="next"'


@pytest.mark.parametrize(
    ("query", "carried"),
    [
        (b'a=>; rel="x", <y', "a=%3E%3B%20rel=%22x%22,%20%3Cy"),
        (b"a=1\r\nSet-Cookie: b", "a=1%0D%0ASet-Cookie:%20b"),
        (b"a=\x00\x7f\xff", "a=%00%7F%FF"),
        (b"a=100%&b=%2&c=%zz", "a=100%25&b=%252&c=%25zz"),
        (b"a=1;2#3'", "a=1%3B2%233%27"),
    ],
)
def test_nothing_leaves_its_reference(query, carried):
    assert links(query, {"first": {}}) == f'<?{carried}>; rel="first"'


def test_a_long_query_makes_no_header_that_breaks_a_proxy():
    at = {**AT, "prev": {"page": "1"}, "last": {"page": "9"}}
    assert len(links(b"q=" + b"x" * 400, at)) < 2048
    assert list(httpx.Response(200, headers={"Link": links(b"q=" + b"x" * 800, at)}).links) == [
        "next",
        "prev",
    ]
    assert links(b"q=" + b'"' * 1000, at) == ""


pieces = st.sampled_from(
    [
        b"page",
        b"cursor",
        b"%70age",
        b"a",
        b"=",
        b"&",
        b"%",
        b"%FF",
        b"%2",
        b"+",
        b" ",
        b">",
        b"<",
        b'"',
        b",",
        b";",
    ]
)


@given(st.lists(pieces | st.binary(max_size=4), max_size=12).map(b"".join))
def test_any_query_means_the_same_to_whoever_follows(query):
    others = [each for each in parameters(query) if each[0] not in (b"page", b"cursor")]
    followed = references(query)
    assert parameters(followed["first"].encode("ascii")) == others
    assert parameters(followed["next"].encode("ascii")) == [*others, (b"page", b"2")]
    assert all(QUERY.fullmatch(each) for each in followed.values())


@given(st.text("abc019-._~!$&()*+,=:@/?", max_size=30).map(lambda text: text.strip("&").replace("&&", "&a")))
def test_any_query_that_is_safe_comes_back_to_the_letter(query):
    assert references(query.encode())["first"] == query
