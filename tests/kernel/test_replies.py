import json
from collections.abc import Callable
from typing import Any

import pytest

from ramkit.kernel.asgi import Message
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.replies import Reply, problem
from ramkit.testing.client import drive, http_scope
from ramkit.testing.lint import ASGILint


async def answer(reply: Reply, method: str = "GET") -> list[Message]:
    lint = ASGILint(reply)
    messages = await drive(lint, http_scope(method))
    lint.check()
    return messages


def said(reply: Reply) -> Any:
    return json.loads(reply.body)


async def test_a_reply_is_sent_whole_with_its_length() -> None:
    reply = Reply(200, [(b"X-A", b"1")], b"body")
    assert await answer(reply) == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"x-a", b"1"), (b"content-length", b"4")],
        },
        {"type": "http.response.body", "body": b"body", "more_body": False},
    ]


async def test_head_has_the_headers_and_no_body() -> None:
    reply = problem(404)
    get, head = await answer(reply), await answer(reply, "HEAD")
    assert head[0] == get[0]
    assert head[1]["body"] == b""


async def test_who_sends_it_may_change_its_messages() -> None:
    reply = problem(404)
    before = list(reply.headers)
    reply.messages()[0]["headers"].append((b"x", b"y"))
    assert (await answer(reply))[0]["headers"] == before


def test_a_problem_says_what_it_is_told_and_no_more() -> None:
    reply = problem(404)
    assert (b"content-type", b"application/problem+json") in reply.headers
    assert said(reply) == {"type": "about:blank", "title": "Not Found", "status": 404}
    reply = problem(
        403,
        type="https://e.test/credit",
        title="No credit",
        detail="Ünicode \ud800",
        instance="/a",
        balance=30,
    )
    assert said(reply) == {
        "type": "https://e.test/credit",
        "title": "No credit",
        "status": 403,
        "detail": "Ünicode \ud800",
        "instance": "/a",
        "balance": 30,
    }


@pytest.mark.parametrize(
    ("status", "title"),
    [(413, "Content Too Large"), (422, "Unprocessable Content"), (416, "Range Not Satisfiable"), (599, None)],
)
def test_titles_are_those_of_rfc_9110(status: int, title: str | None) -> None:
    assert said(problem(status)).get("title") == title


@pytest.mark.parametrize(
    ("status", "field"),
    [(401, "www-authenticate"), (405, "allow"), (407, "proxy-authenticate"), (426, "upgrade")],
)
def test_what_a_status_calls_for_must_be_there(status: int, field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        problem(status)
    pair = (field.title().encode(), b"x")
    assert (field.encode(), b"x") in problem(status, headers=[pair]).headers


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_is_to_come_back_is_told_when(status: int) -> None:
    assert (b"retry-after", b"1") in problem(status).headers
    given = problem(status, headers=[(b"Retry-After", b"30")]).headers
    assert [value for name, value in given if name == b"retry-after"] == [b"30"]


@pytest.mark.parametrize(
    "pair",
    [
        (b"x", b"a\r\nset-cookie: b=c"),
        (b"x", b"a\n"),
        (b"x", b"\0"),
        (b"x", b"\x7f"),
        (b"x\r\ny", b"a"),
        (b"x\n", b"a"),
        (b"x:", b"a"),
        (b"x y", b"a"),
        (b"", b"a"),
    ],
)
def test_no_header_is_smuggled_in(pair: tuple[bytes, bytes]) -> None:
    makers: list[Callable[[], Reply]] = [lambda: Reply(200, [pair]), lambda: problem(400, headers=[pair])]
    for make in makers:
        with pytest.raises(ConfigurationError, match="headers"):
            make()


@pytest.mark.parametrize("status", [200, 304, 600])
def test_a_problem_is_an_error(status: int) -> None:
    with pytest.raises(ConfigurationError, match="status"):
        problem(status)


def websocket_scope(**more: Any) -> Any:
    scope = http_scope(**more)
    del scope["method"]
    return {**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}


async def test_a_websocket_is_refused_with_the_response_where_the_server_can_send_it() -> None:
    scope = websocket_scope(extensions={"websocket.http.response": {}})
    reply = problem(403)
    start, body = await drive(reply, scope)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert (body["type"], body["body"]) == ("websocket.http.response.body", reply.body)


async def test_a_websocket_is_closed_where_the_server_cannot() -> None:
    assert await drive(problem(403), websocket_scope()) == [
        {"type": "websocket.close", "code": 1008, "reason": ""}
    ]
