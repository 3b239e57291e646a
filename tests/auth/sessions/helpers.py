"""A client that keeps no cookies by itself, and an app that does what its query says."""

import json
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from ramkit.testing.client import drive, http_scope

NAME = "__Host-session"


async def acting(scope, receive, send):
    """``?a=1`` sets, ``-a=`` removes; ``regenerate=``, ``clear=``, ``touch=``. Answers with the session."""
    session = scope["session"] if scope["query_string"] else None
    for name, value in parse_qsl(scope["query_string"].decode(), keep_blank_values=True):
        if name.startswith("-"):
            session.pop(name[1:], None)
        elif name in ("regenerate", "clear"):
            getattr(session, name)()
        elif name != "touch":
            session[name] = value
    body = json.dumps(session.copy() if session is not None else None).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Answer:
    def __init__(self, messages: list[Any]) -> None:
        self.status = messages[0]["status"]
        self.headers = [(name.decode(), value.decode()) for name, value in messages[0]["headers"]]
        self.body = b"".join(message.get("body", b"") for message in messages[1:])
        #: the Set-Cookie lines as they are
        self.cookies = [value for name, value in self.headers if name == "set-cookie"]

    def get(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    @property
    def session(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        """The cookie that it sets, the only one."""
        (line,) = self.cookies
        (morsel,) = SimpleCookie(line).values()
        return morsel.value


async def ask(app: Any, query: str = "", *cookies: str, method: str = "GET", **more: Any) -> Answer:
    headers = [(b"host", b"testserver"), *((b"cookie", f"{NAME}={each}".encode()) for each in cookies)]
    headers += more.pop("headers", [])
    scope = http_scope(method, query=query.encode(), headers=headers, scheme="https", **more)
    return Answer(await drive(app, scope))
