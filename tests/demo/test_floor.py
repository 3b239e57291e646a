import base64
from typing import Any

import pytest

from ramkit.demo.floor import FloorMiddleware
from ramkit.kernel.context import RequestContext
from ramkit.testing.clock import ManualClock

SECRET = b"of this run"


class App:
    """Does with the floor what a test says, and remembers what it was given."""

    def __init__(self, **raised: Any) -> None:
        self.raised = raised
        self.epochs: dict[str, tuple[int, int]] = {}
        self.bypass: set[str] = set()
        self.had_context = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.had_context = RequestContext.peek(scope) is not None
        floor = RequestContext.of(scope).floor
        self.epochs, self.bypass = dict(floor.epochs), set(floor.bypass)
        for cache, (incarnation, epoch) in self.raised.get("epochs", {}).items():
            floor.raise_epoch(cache, incarnation, epoch)
        floor.bypass.update(self.raised.get("bypass", ()))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-one", b"1")]})
        await send({"type": "http.response.body", "body": b""})


async def ask(
    app: App, clock: ManualClock, floor: bytes | None = None, secret: bytes = SECRET
) -> bytes | None:
    """The floor that the response carries."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"here"), *([(b"ramkit-floor", floor)] if floor is not None else [])]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    await FloorMiddleware(app, secret=secret, lifetime=300, clock=clock)(scope, None, send)  # type: ignore[arg-type]  # nothing is received
    assert sent[0]["headers"][0] == (b"x-one", b"1")
    return dict(sent[0]["headers"]).get(b"ramkit-floor")


async def test_a_raised_floor_comes_back_with_the_next_request(clock: ManualClock) -> None:
    floor = await ask(App(epochs={"demo": (7, 41)}), clock)
    assert floor is not None
    reader = App()
    assert await ask(reader, clock, floor) is None, "it was not raised"
    assert reader.epochs == {"demo": (7, 41)}


async def test_what_a_request_brought_is_kept_when_it_is_raised(clock: ManualClock) -> None:
    first = await ask(App(epochs={"demo": (7, 41), "other": (1, 1)}), clock)
    second = await ask(App(epochs={"demo": (7, 42)}), clock, first)
    reader = App()
    await ask(reader, clock, second)
    assert reader.epochs == {"demo": (7, 42), "other": (1, 1)}


async def test_a_request_without_a_floor_makes_no_context(clock: ManualClock) -> None:
    app = App()
    assert await ask(app, clock) is None
    assert not app.had_context


async def test_a_bypass_holds_until_nothing_older_can_be_stored(clock: ManualClock) -> None:
    floor = await ask(App(bypass={"demo"}), clock)
    for seconds, expected in ((299, {"demo"}), (1, set())):
        clock.advance(seconds)
        reader = App()
        await ask(reader, clock, floor)
        assert reader.bypass == expected


async def test_a_later_write_does_not_prolong_an_earlier_bypass(clock: ManualClock) -> None:
    floor = await ask(App(bypass={"demo"}), clock)
    clock.advance(200)
    floor = await ask(App(epochs={"demo": (1, 1)}), clock, floor)
    clock.advance(100)
    reader = App()
    await ask(reader, clock, floor)
    assert reader.bypass == set()
    assert reader.epochs == {"demo": (1, 1)}


async def test_another_runs_floor_is_ignored(clock: ManualClock) -> None:
    floor = await ask(App(epochs={"demo": (7, 41)}), clock, secret=b"of another run")
    reader = App()
    await ask(reader, clock, floor)
    assert reader.epochs == {}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"A" * 5000,
        base64.urlsafe_b64encode(b"\0" * 16 + b'{"epochs": {"demo": [9, 9]}, "bypass": {}}'),
    ],
)
async def test_a_floor_that_is_not_signed_is_ignored(header: bytes, clock: ManualClock) -> None:
    reader = App()
    assert await ask(reader, clock, header) is None
    assert reader.epochs == {}


async def test_a_floor_with_a_changed_byte_is_ignored(clock: ManualClock) -> None:
    floor = await ask(App(epochs={"demo": (7, 41)}), clock)
    assert floor is not None
    data = bytearray(base64.urlsafe_b64decode(floor))
    for index in range(len(data)):
        changed = bytearray(data)
        changed[index] ^= 1
        reader = App()
        await ask(reader, clock, base64.urlsafe_b64encode(changed))
        assert reader.epochs == {}


async def test_what_is_not_http_passes_through(clock: ManualClock) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope, send = {"type": "lifespan"}, object()
    await FloorMiddleware(app, secret=SECRET, lifetime=1, clock=clock)(scope, None, send)  # type: ignore[arg-type]  # not called
    assert seen == [({"type": "lifespan"}, None, send)]
