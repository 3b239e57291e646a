"""Requests in flight: counted, queued, refused, and never lost."""

import asyncio
import json
import random

import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.limits import ConcurrencyLimitMiddleware
from ramkit.testing.lint import ASGILint
from tests.limits.asking import Socket, scope_of


class Held:
    """An app that answers when it is told to; counts those that are in it."""

    def __init__(self):
        self.inside = self.most = self.served = 0
        self.order = []
        self.gates = {}

    async def __call__(self, scope, receive, send):
        path = scope["path"]
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.order.append(path)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            await self.gates.setdefault(path, asyncio.Event()).wait()
            await send({"type": "http.response.body"})
            self.served += 1
        finally:
            self.inside -= 1

    def finish(self, *paths):
        for path in paths:
            self.gates.setdefault(path, asyncio.Event()).set()


class Client:
    """One request, in a task."""

    def __init__(self, app, path, *messages, **scope):
        self.sent = []
        self.coming = asyncio.Queue()
        for message in messages or ({"type": "http.request", "body": b"", "more_body": False},):
            self.coming.put_nowait(message)
        self.task = asyncio.create_task(app(scope_of(path) | scope, self.coming.get, self.send))

    async def send(self, message):
        self.sent.append(message)

    def leave(self):
        self.coming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def held():
    return Held()


def limit_of(app, **options):
    return ConcurrencyLimitMiddleware(app, **{"limit": 2, "queue": 2, "timeout": 60, **options})


async def test_so_many_in_flight_so_many_in_the_queue_the_rest_is_refused(held):
    events = []
    app = limit_of(held, observers=[events.append], retry_after=3)
    clients = [Client(ASGILint(app), f"/{number}") for number in range(6)]
    await turns()
    assert held.order == ["/0", "/1"]
    assert [client.status for client in clients] == [200, 200, None, None, 503, 503]
    start, body = clients[4].sent
    assert dict(start["headers"])[b"retry-after"] == b"3"
    assert json.loads(body["body"])["status"] == 503
    held.finish("/1")  # a response counts until it ends, not until it begins
    await turns()
    assert held.order == ["/0", "/1", "/2"]
    held.finish("/0", "/2", "/3")
    await asyncio.gather(*(client.task for client in clients))
    assert held.order == ["/0", "/1", "/2", "/3"]
    assert (held.most, held.served, app.waiting) == (2, 4, 0)
    assert [event.result for event in events] == ["full", "full", "admitted", "admitted"]


async def test_who_waited_too_long_is_refused(held):
    app = limit_of(held, timeout=0.01)
    clients = [Client(app, f"/{number}") for number in range(3)]
    await clients[2].task
    assert [client.status for client in clients] == [200, 200, 503]
    held.finish("/0", "/1")
    await asyncio.gather(*(client.task for client in clients))
    again = Client(app, "/0")
    await again.task
    assert again.status == 200


async def test_a_client_that_leaves_gives_up_its_place_in_the_queue(held):
    events = []
    app = limit_of(held, observers=[events.append])
    clients = [Client(app, f"/{number}") for number in range(4)]
    await turns()
    clients[2].leave()
    await clients[2].task
    assert (app.waiting, clients[2].sent) == (1, [])
    late = Client(app, "/late")
    await turns()
    assert app.waiting == 2  # there is a place again
    held.finish("/0", "/1", "/3", "/late")
    await asyncio.gather(late.task, *(client.task for client in clients))
    assert held.order == ["/0", "/1", "/3", "/late"]
    assert [event.result for event in events] == ["left", "admitted", "admitted"]


async def test_health_checks_are_not_held_up(held):
    app = limit_of(held, limit=1, queue=0, exempt=["/health", "/live*"])
    held.finish("/health", "/livez")
    clients = [Client(app, path) for path in ("/0", "/health", "/livez", "/1")]
    await turns()
    assert [client.status for client in clients] == [200, 200, 200, 503]
    held.finish("/0")
    await asyncio.gather(*(client.task for client in clients))


async def test_a_body_that_came_while_it_waited_is_read_in_full(held):
    bodies = []

    async def app(scope, receive, send):
        if scope["path"] == "/held":
            await held(scope, receive, send)
            return
        more = True
        while more:
            message = await receive()
            bodies.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        assert (await receive())["type"] == "http.disconnect"

    limited = limit_of(app, limit=1)
    first = Client(limited, "/held")
    pieces = [{"type": "http.request", "body": b"%d" % n, "more_body": n < 3} for n in range(4)]
    whole = Client(limited, "/whole")
    upload = Client(limited, "/upload", *pieces[:2])
    await turns()
    assert upload.coming.qsize() == 1  # nothing piles up: one piece was taken
    held.finish("/held")
    for piece in pieces[2:]:
        upload.coming.put_nowait(piece)
    await turns()
    whole.leave()
    await turns()
    upload.leave()
    await asyncio.gather(first.task, whole.task, upload.task)
    assert bodies == [b"", b"0", b"1", b"2", b"3"]


async def test_websockets_count_if_they_are_to():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    left = await Socket(extensions=["websocket.http.response"]).meet(limit_of(app, limit=1))
    assert left.kinds == ["accept"]
    counted = limit_of(app, limit=1, queue=0, websockets=True)
    waiting = Socket()
    gate = asyncio.Event()

    async def never():
        if len(waiting.coming) == 2:
            return waiting.coming.pop(0)
        await gate.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    task = asyncio.create_task(counted(waiting.scope, never, waiting.send))
    await turns()
    refused = await Socket(extensions=["websocket.http.response"]).meet(counted)
    assert (refused.kinds[0], refused.sent[0]["status"]) == ("http.response.start", 503)
    assert (await Socket().meet(counted)).kinds == ["close"]
    gate.set()
    await task
    assert (await Socket().meet(counted)).kinds == ["accept"]


@pytest.mark.parametrize("seed", range(20))
async def test_it_is_exact_whoever_is_cancelled_and_whenever(seed):
    """At the end all places are free again, and there were never more inside than there are."""
    rng, inside, most = random.Random(seed), 0, 0

    async def app(scope, receive, send):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            await turns(rng.randrange(6))
            if rng.random() < 0.2:
                raise ValueError("the app fails")
        finally:
            inside -= 1

    limited = limit_of(app, limit=3, queue=5)
    clients = []
    for number in range(300):
        clients.append(Client(limited, f"/{number}"))
        for client in rng.sample(clients[-10:], min(2, len(clients))):
            if rng.random() < 0.3:
                client.task.cancel()
            elif rng.random() < 0.3:
                client.leave()
        await turns(rng.randrange(4))
    await asyncio.gather(*(client.task for client in clients), return_exceptions=True)
    assert (inside, most) == (0, 3)
    assert (limited._free, limited.waiting) == (3, 0)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("limit", {"limit": 0}),
        ("queue", {"queue": -1}),
        ("timeout", {"timeout": 0}),
        ("retry_after", {"retry_after": -1}),
        ("exempt", {"exempt": "/health"}),
    ],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        limit_of(None, **options)
    assert caught.value.argument == argument
