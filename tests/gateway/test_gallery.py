"""Every awkward app, behind a gateway, behind a real server: the lint stands around the gateway."""

import asyncio

import pytest

from ramkit.testing.apps import GALLERY, Awkward, play
from ramkit.testing.lint import ASGILint
from tests.gateway.wire import gateway_to, serving

HTTP = [each for each in GALLERY if each.protocol == "http"]
SOCKETS = [each for each in GALLERY if each.protocol == "websocket"]
#: uvicorn adds nothing but these; what it sends to us by its own framing is not the app's
REWRITTEN = {b"content-length", b"transfer-encoding", b"trailer"}


async def played_behind(awkward: Awkward):
    async with serving(ASGILint(awkward.app)) as url, gateway_to(url) as gateway:
        lint = ASGILint(gateway)
        played = await play(lint, awkward)
        lint.check()
    return played


@pytest.mark.parametrize("awkward", HTTP, ids=str)
async def test_responses_arrive(awkward: Awkward) -> None:
    played = await played_behind(awkward)
    assert played.tasks == []
    if awkward.raises is not None and awkward.status is None:
        assert played.status == 500  # of the server behind
        return
    if awkward.leaves_after == 0 or awkward.breaks_off:
        assert played.error is None
        return
    assert played.status == awkward.status
    wanted = [pair for pair in awkward.headers if pair[0] not in REWRITTEN]
    rest = iter(played.headers)
    assert [pair for pair in wanted if pair not in rest] == []
    if awkward.leaves_after is not None:
        assert played.body.startswith(awkward.body)
    elif awkward.raises is not None:
        assert awkward.body.startswith(played.body) or played.body == awkward.body
    else:
        assert played.body == awkward.body


@pytest.mark.parametrize("awkward", SOCKETS, ids=str)
async def test_websockets_arrive(awkward: Awkward) -> None:
    played = await played_behind(awkward)
    assert played.tasks == []
    assert played.error is None
    if awkward.name == "websocket-refused":
        assert played.status == 403  # what uvicorn makes of it
    elif awkward.name == "websocket-raises":
        assert [event["type"] for event in played.events] == ["websocket.accept", "websocket.close"]
    elif awkward.name == "websocket-echo":
        # Its client leaves at once, maybe before the echoes: test_websocket.py waits for them.
        assert played.events[0]["type"] == "websocket.accept"
    else:
        assert played.status == awkward.status
        found = [
            {key: got.get(key) for key in want}
            for got, want in zip(played.events, awkward.events, strict=True)
        ]
        assert found == list(awkward.events)
        assert played.body == awkward.body


async def test_lifespan_belongs_to_the_gateway() -> None:
    async with gateway_to("http://127.0.0.1:9") as gateway:
        sent: list[str] = []
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive():
            return {"type": next(messages)}

        async def send(message):
            sent.append(message["type"])

        await gateway({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_unknown_scope_types_are_refused() -> None:
    async with gateway_to("http://127.0.0.1:9") as gateway:
        with pytest.raises(ValueError, match="ramkit.ping"):
            await gateway({"type": "ramkit.ping"}, asyncio.Event().wait, print)
