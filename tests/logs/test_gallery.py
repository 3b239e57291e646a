"""The room's middleware, with the lint on both sides, in front of every awkward app."""

import pytest

from ramkit.logs import AccessLogMiddleware, Sink
from ramkit.testing.apps import GALLERY
from ramkit.testing.contracts.middleware import MiddlewareContract, check_middleware
from tests.logs.reading import Kept, flushed


class TestAccessLog(MiddlewareContract):
    def wrap(self, app):
        return AccessLogMiddleware(
            app, sink=Sink(Kept()), request_headers=["referer"], response_headers=["set-cookie"]
        )


@pytest.mark.parametrize("awkward", GALLERY, ids=str)
async def test_each_request_is_one_line(awkward):
    kept = Kept()
    sink = Sink(kept)
    asked = 0

    def counted(app):
        async def count(scope, receive, send):
            nonlocal asked
            asked += scope["type"] in ("http", "websocket")
            await app(scope, receive, send)

        return AccessLogMiddleware(count, sink=sink)

    await check_middleware(counted, awkward)
    flushed(sink)
    assert len(kept.read()) == asked
