"""The rules of what is passed on, without a server."""

import pytest

from ramkit.gateway.core.forwarding import (
    Forwarding,
    body_length,
    date,
    interim_fields,
    last_recipient,
    max_forwards,
    raw_path,
    refusal,
    response_fields,
    target_of,
)
from ramkit.kernel.client import TrustedProxies
from ramkit.testing.client import http_scope

HOST = (b"host", b"a.example")


def sent(*headers: tuple[bytes, bytes], trusted: TrustedProxies | None = None, trailers=False, **scope):
    forwarding = Forwarding(trusted or TrustedProxies(), b"gw")
    return forwarding.fields(http_scope(headers=[HOST, *headers], **scope), b"up:80", trailers=trailers)


def value(fields, name: bytes) -> list[bytes]:
    return [given for key, given in fields if key == name]


def test_fields_of_the_connection_end_here() -> None:
    hop = [b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"]
    fields = sent(
        *((name, b"x") for name in hop), (b"connection", b"close, X-A ,x-b"), (b"x-a", b"1"), (b"x-b", b"1")
    )
    assert {name for name, _ in fields} == {
        b"host", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via",
    }  # fmt: skip


def test_connection_cannot_take_the_host_away() -> None:
    assert value(sent((b"connection", b"host, content-length")), b"host") == [b"a.example"]


def test_the_authority_of_an_upstream_stands_in_for_no_host() -> None:
    scope = http_scope(headers=[], http_version="1.0")
    assert refusal(scope) is None
    fields = Forwarding(TrustedProxies(), b"gw").fields(scope, b"up:80", trailers=False)
    assert fields[0] == (b"host", b"up:80")
    assert value(fields, b"via") == [b"1.0 gw"]


def test_via_is_appended() -> None:
    assert value(sent((b"via", b"1.0 other")), b"via") == [b"1.0 other", b"1.1 gw"]


def test_te_goes_on_for_trailers_alone() -> None:
    assert value(sent((b"te", b"gzip, trailers"), trailers=True), b"te") == [b"trailers"]
    assert value(sent((b"te", b"gzip, trailers")), b"te") == []
    assert value(sent((b"te", b"gzip"), trailers=True), b"te") == []


def test_lines_of_cookie_become_one_before_http_1() -> None:
    cookies = ((b"cookie", b"a=1"), (b"x", b"1"), (b"cookie", b"b=2"))
    assert value(sent(*cookies, http_version="2"), b"cookie") == [b"a=1; b=2"]
    assert value(sent(*cookies), b"cookie") == [b"a=1", b"b=2"]


SPOOFED = (
    (b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil"),
    (b"forwarded", b"for=6.6.6.6"), (b"x-real-ip", b"6.6.6.6"), (b"x_forwarded_for", b"6.6.6.6"),
    (b"x-forwarded-port", b"1"),
)  # fmt: skip


def test_what_strangers_say_of_the_client_is_replaced() -> None:
    fields = sent(*SPOOFED, client=("2001:db8::1", 1))
    assert value(fields, b"x-forwarded-for") == [b"2001:db8::1"]
    assert value(fields, b"x-forwarded-proto") == [b"http"]
    assert value(fields, b"x-forwarded-host") == [b"a.example"]
    assert value(fields, b"forwarded") == [b'for="[2001:db8::1]";host="a.example";proto=http']
    assert not any(b"6.6.6.6" in given or given == b"evil" for _, given in fields)
    assert value(fields, b"x-forwarded-port") == value(fields, b"x-real-ip") == []


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_what_a_trusted_proxy_says_is_continued(header: str) -> None:
    trusted = TrustedProxies(["10.0.0.0/8"], header=header)
    line = b"203.0.113.7" if header == "x-forwarded-for" else b"for=203.0.113.7"
    fields = sent((header.encode(), line), trusted=trusted, client=("10.0.0.1", 1))
    if header == "forwarded":
        assert value(fields, b"forwarded") == [line + b', for=10.0.0.1;host="a.example";proto=http']
        assert value(fields, b"x-forwarded-for") == [b"203.0.113.7"]
    else:
        assert value(fields, b"x-forwarded-for") == [b"203.0.113.7, 10.0.0.1"]
        assert value(fields, b"forwarded") == [b'for=203.0.113.7;host="a.example";proto=http']


def test_a_peer_without_an_address_is_unknown() -> None:
    fields = sent(client=None)
    assert value(fields, b"x-forwarded-for") == [b"unknown"]
    assert value(fields, b"forwarded") == [b'for=unknown;host="a.example";proto=http']


@pytest.mark.parametrize(("given", "left"), [(b"5", [b"4"]), (b"x", []), (b"-1", []), (b"9" * 30, [])])
def test_max_forwards_counts_down(given: bytes, left: list[bytes]) -> None:
    assert value(sent((b"max-forwards", given), method="OPTIONS"), b"max-forwards") == left
    assert value(sent((b"max-forwards", given)), b"max-forwards") == []


def test_at_no_forwards_left_the_answer_is_ours() -> None:
    assert max_forwards([(b"max-forwards", b"0")]) == 0
    assert last_recipient("OPTIONS").status == 200
    assert last_recipient("TRACE").status == 405
    assert value(last_recipient("TRACE").headers, b"allow")


def test_responses() -> None:
    given = [
        (b"connection", b"x-a"),
        (b"x-a", b"1"),
        (b"trailer", b"x"),
        (b"content-length", b"3"),
        (b"x", b"1"),
    ]
    assert response_fields(200, given, b"gw", 0, trailers=False) == [
        (b"content-length", b"3"),
        (b"x", b"1"),
        (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (b"via", b"1.1 gw"),
    ]  # fmt: skip
    assert (b"trailer", b"x") in response_fields(200, given, b"gw", 0, trailers=True)
    # neither has a body, and a server in front would wait for it
    for status in (204, 304):
        assert value(response_fields(status, given, b"gw", 0, trailers=False), b"content-length") == []
    dated = response_fields(200, [(b"date", b"x")], b"gw", 0, trailers=False)
    assert value(dated, b"date") == [b"x"]
    assert interim_fields([(b"connection", b"x-a"), (b"x-a", b"1"), (b"link", b"l")]) == [(b"link", b"l")]
    assert date(784111777.9) == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_targets() -> None:
    assert raw_path(http_scope(path="/é", raw_path=b"/%c3%a9")) == b"/%c3%a9"
    assert raw_path({**http_scope(path="/é b"), "raw_path": None}) == b"/%C3%A9%20b"
    assert raw_path(http_scope(raw_path=b"/x?query")) == b"/x"
    assert (target_of(b"/x", b"a=%20"), target_of(b"/x", b"")) == (b"/x?a=%20", b"/x")


@pytest.mark.parametrize(
    ("headers", "version", "length"),
    [
        ([], "1.1", 0),
        ([], "2", None),
        ([(b"content-length", b"7")], "1.1", 7),
        ([(b"content-length", b"7")], "2", 7),
        ([(b"transfer-encoding", b"chunked")], "1.1", None),
    ],
)
def test_the_length_of_a_body(headers, version: str, length: int | None) -> None:
    assert body_length(headers, version) == length


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"headers": [HOST, (b"x y", b"1")]}, 400),
        ({"headers": [HOST, (b"", b"1")]}, 400),
        ({"headers": [HOST, (b"x\ny", b"1")]}, 400),
        ({"headers": [HOST, (b"x", b"1\r\ny: 2")]}, 400),
        ({"headers": [HOST, (b"x", b"1\ny")]}, 400),
        ({"headers": [HOST, (b"x", b"1\0")]}, 400),
        ({"headers": []}, 400),
        ({"headers": [HOST, HOST]}, 400),
        ({"headers": [(b"host", b"a@b")]}, 400),
        ({"headers": [(b"host", b"a/b")]}, 400),
        ({"headers": [HOST, (b"content-length", b"1"), (b"content-length", b"1")]}, 400),
        ({"headers": [HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")]}, 400),
        ({"headers": [HOST, (b"transfer-encoding", b"chunked")], "http_version": "2"}, 400),
        ({"headers": [HOST, (b"transfer-encoding", b"gzip, chunked")]}, 501),
        ({"http_version": "0.9"}, 505),
        ({"method": "CONNECT"}, 501),
        ({"method": "G T"}, 400),
        ({"raw_path": b"http://evil.example/"}, 400),
        ({"raw_path": b"//x y"}, 400),
        ({"raw_path": b"*"}, 400),
        ({"raw_path": b"/x\r\ny"}, 400),
        ({"query": b"a b"}, 400),
        ({"query": b"a#b"}, 400),
    ],
)
def test_refusals_whatever_the_server_in_front_lets_through(more, status: int) -> None:
    refused = refusal(http_scope(**more))
    assert refused is not None
    assert refused.status == status


@pytest.mark.parametrize("host", [b"a", b"a.b:1", b"1.2.3.4", b"[::1]", b"[::1]:80", b"a_b"])
def test_good_hosts_pass(host: bytes) -> None:
    assert refusal(http_scope(headers=[(b"host", host)])) is None


def test_the_asterisk_of_options_passes() -> None:
    assert refusal(http_scope("OPTIONS", raw_path=b"*")) is None
