"""What every ASGI middleware owes the apps that it wraps.

    class TestMine(MiddlewareContract):
        rewrites = frozenset({b"cache-control"})

        def wrap(self, app):
            return MyMiddleware(app, option=1)

runs `check_middleware` with each app of `ramkit.testing.apps.GALLERY`. The tests are coroutines: they
need pytest-asyncio in auto mode, or a mark on the class (``pytest.mark.asyncio``).
"""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, ClassVar

from ramkit.kernel.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send
from ramkit.testing.apps import GALLERY, Awkward, Played, play
from ramkit.testing.lint import ASGILint

if TYPE_CHECKING:
    import pytest

__all__ = ["MiddlewareContract", "check_middleware"]


class MiddlewareContract:
    """Subclass it, name the subclass ``Test…``, and give `wrap`.

    ``rewrites``: names of response headers, in lower case, that the middleware may change or remove.
    Fixtures that `wrap` needs can be taken by an autouse fixture method that puts them on ``self``.
    """

    rewrites: ClassVar[Collection[bytes]] = frozenset()

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The middleware under test, around ``app``. Called once for each app of the gallery."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: "pytest.Metafunc") -> None:
        """Parametrizes over the gallery."""
        if "awkward" in metafunc.fixturenames:
            metafunc.parametrize("awkward", GALLERY, ids=str)

    async def test_passes_unharmed(self, awkward: Awkward) -> None:
        await check_middleware(self.wrap, awkward, rewrites=self.rewrites)


async def check_middleware(
    wrap: Callable[[ASGIApp], ASGIApp], awkward: Awkward, *, rewrites: Collection[bytes] = ()
) -> None:
    """Plays ``awkward`` through the middleware, with the lint on both of its sides.

    Raises AssertionError unless status, body bytes and trailers arrive as the app sent them, its
    headers are among the client's in their order (but for ``rewrites``; others may be added), its
    exception comes through, live pieces arrive one by one, events of WebSockets, lifespans and unknown
    scope types are the app's, and no task is left behind. Of a response that the app breaks off by an
    exception, less may arrive than it had sent.

    A plain request to ``/warm-up`` goes first, so that what a middleware starts once and keeps
    (connections, a follower) is not taken for a leftover of the request.
    """
    tap = _Tap(_plain)
    outer = ASGILint(wrap(tap))
    await play(outer, Awkward(name="warm-up", app=_plain))
    outer.check()
    inner = ASGILint(awkward.app)
    tap.watch(inner, awkward)
    played = await play(outer, awkward, arrived=tap.arrived)
    inner.check()
    outer.check()
    _check_error(awkward, played)
    if awkward.status is not None:
        _check_response(awkward, played, frozenset(rewrites), tap)
    elif awkward.raises is None:
        _expect(
            played.status is None, awkward, f"a response arrived, {played.status}, where the app sent none"
        )
    _check_events(awkward, played)
    _expect(not played.tasks, awkward, f"tasks are left behind: {played.tasks}")
    if awkward.live:
        _expect(tap.held_back == 0, awkward, f"{tap.held_back} pieces were made before the last had arrived")


class _Tap:
    """Stands between the middleware and its app, and sees what the client has not got yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._leaves_after: int | None = None
        self._delivered = 0
        #: the body as the app made it
        self.produced = bytearray()
        #: the app has sent all of its response
        self.ended = False
        #: how many pieces the app made while an earlier one had not reached the client
        self.held_back = 0

    def watch(self, app: ASGIApp, awkward: Awkward) -> None:
        self.__init__(app)  # type: ignore[misc]  # begins anew
        self._leaves_after = awkward.leaves_after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tapped(message: Message) -> None:
            body = bytes(message.get("body", b""))
            left = self._leaves_after is not None and self._delivered >= self._leaves_after
            if body and not left and self._delivered < len(self.produced):
                self.held_back += 1
            self.produced += body
            self.ended |= message["type"].endswith("response.body") and not message.get("more_body", False)
            await send(message)

        await self._app(scope, receive, tapped)

    def arrived(self, message: Message) -> None:
        self._delivered += len(message.get("body", b""))


async def _plain(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"warm"})


def _expect(ok: bool, awkward: Awkward, problem: str) -> None:  # noqa: FBT001  # reads like assert
    if not ok:
        raise AssertionError(f"{awkward}: {problem}")


def _check_error(awkward: Awkward, played: Played) -> None:
    if awkward.raises is None:
        if played.error is not None:
            raise AssertionError(f"{awkward}: {played.error!r} came out") from played.error
    else:
        expected = isinstance(played.error, awkward.raises)
        _expect(
            expected, awkward, f"{played.error!r} came out instead of the app's {awkward.raises.__name__}"
        )


def _check_response(awkward: Awkward, played: Played, rewrites: frozenset[bytes], tap: _Tap) -> None:
    cut_short = awkward.raises is not None and not tap.ended
    if cut_short and played.status is None:
        return  # what is held back for a while need not arrive if it turns out a failure
    _expect(played.status == awkward.status, awkward, f"status {played.status}, not {awkward.status}")
    kept = [pair for pair in awkward.headers if pair[0] not in rewrites]
    missing = _missing(kept, played.headers)
    _expect(missing is None, awkward, f"{missing} is missing or out of order in {played.headers}")
    if cut_short:
        fits = awkward.body.startswith(played.body)
    elif awkward.leaves_after is not None:
        fits = played.body.startswith(awkward.body) and tap.produced.startswith(played.body)
    else:
        fits = played.body == awkward.body
    _expect(fits, awkward, f"the body is {_short(played.body)}")
    fits = played.trailers == list(awkward.trailers)
    _expect(fits, awkward, f"the trailers are {played.trailers}")


def _missing(expected: Iterable[tuple[bytes, bytes]], headers: RawHeaders) -> tuple[bytes, bytes] | None:
    """The first that does not follow the ones before it."""
    rest = iter(headers)
    return next((pair for pair in expected if pair not in rest), None)


def _check_events(awkward: Awkward, played: Played) -> None:
    found = [
        {key: got.get(key) for key in want} for got, want in zip(played.events, awkward.events, strict=False)
    ]
    same = found == list(awkward.events) and len(played.events) == len(awkward.events)
    _expect(same, awkward, f"the events are {played.events}")


def _short(body: bytes) -> str:
    return repr(body) if len(body) < 80 else f"{body[:60]!r}… of {len(body)} bytes"
