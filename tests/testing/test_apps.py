"""The gallery keeps to the rules, and a real server agrees with its records."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from ramkit.testing.apps import GALLERY, Awkward, play
from ramkit.testing.lint import ASGILint
from tests.testing.served import served

HTTP = [one for one in GALLERY if one.protocol == "http"]
#: those whose client stays to the end and gets an end
WHOLE = [one for one in HTTP if one.leaves_after is None and not one.breaks_off and one.raises is None]


def by_name(name: str) -> Awkward:
    return next(one for one in GALLERY if one.name == name)


# -- the gallery ----------------------------------------------------------------------------------


def test_names_are_their_own() -> None:
    names = [one.name for one in GALLERY]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("awkward", GALLERY, ids=str)
async def test_each_is_legal_and_does_what_its_record_says(awkward: Awkward) -> None:
    lint = ASGILint(awkward.app)
    played = await play(lint, awkward)
    lint.check()
    assert type(played.error) is (awkward.raises or type(None))
    assert played.status == awkward.status
    assert played.tasks == []
    assert played.trailers == list(awkward.trailers)
    assert len(played.events) == len(awkward.events)
    for event, expected in zip(played.events, awkward.events, strict=True):
        assert expected.items() <= event.items()
    if awkward.leaves_after is None:
        assert played.body == awkward.body
    else:
        assert played.body.startswith(awkward.body)
    for pair in awkward.headers:
        assert pair in played.headers


async def test_trailers_are_only_sent_where_the_server_offers_them() -> None:
    trailers = by_name("trailers")

    async def without(scope: Scope, receive: Receive, send: Send) -> None:
        await trailers.app({**scope, "extensions": {}}, receive, send)

    played = await play(without, trailers)
    assert (played.body, played.trailers) == (b"hello trailers", [])


async def test_the_endless_stream_is_stopped_by_the_clients_leaving() -> None:
    endless = by_name("endless")
    heard: list[str] = []

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        async def tell() -> Message:
            message = await receive()
            heard.append(message["type"])
            return message

        await endless.app(scope, tell, send)

    await play(listening, endless)
    assert heard == ["http.request", "http.disconnect"]


async def test_what_an_app_leaves_behind_is_named_and_cancelled() -> None:
    cancelled = asyncio.Event()

    async def lingering() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.create_task(lingering(), name="lingering"))
        await by_name("bare-minimum").app(scope, receive, send)

    tasks: list[asyncio.Task[None]] = []
    played = await play(app, by_name("bare-minimum"))
    assert played.tasks == ["lingering"]
    assert cancelled.is_set()


# -- a real server --------------------------------------------------------------------------------


async def test_each_arrives_through_uvicorn_as_its_record_says() -> None:
    apps = {f"/{one}": one.app for one in WHOLE}

    async def gallery(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[scope["path"]](scope, receive, send)

    lint = ASGILint(gallery)
    async with served(lint, lifespan=False) as url, httpx.AsyncClient(base_url=url) as client:
        for one in WHOLE:

            async def upload(one: Awkward = one) -> AsyncIterator[bytes]:
                for chunk in one.sends:
                    yield chunk.encode() if isinstance(chunk, str) else chunk

            content = upload() if one.sends else None
            response = await client.request(one.method, f"/{one}", content=content)
            assert (response.status_code, response.content) == (one.status, one.body), one
            got = iter(response.headers.raw)
            for pair in one.headers:
                assert pair in got, one
    lint.check()
