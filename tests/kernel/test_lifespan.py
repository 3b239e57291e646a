import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from uvicorn.lifespan.on import LifespanOn

from ramkit.kernel.asgi import ASGIApp, Message
from ramkit.kernel.lifespan import LoopBound, follow_lifespan
from ramkit.testing.apps import AppError
from ramkit.testing.contracts.middleware import MiddlewareContract
from ramkit.testing.lint import ASGILint

STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
SCOPE = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}


class Noted:
    """A resource that writes down what happens to it."""

    def __init__(self, name: str, log: list[str], *, fails: str = "") -> None:
        self.name, self.log, self.fails = name, log, fails

    async def start(self) -> None:
        await self._do("start")

    async def aclose(self) -> None:
        await self._do("close")

    async def _do(self, what: str) -> None:
        await asyncio.sleep(0)
        self.log.append(f"{what} {self.name}")
        if self.fails == what:
            raise RuntimeError(f"{self.name} broke")


class Following:
    """The smallest middleware that has resources."""

    def __init__(self, app: ASGIApp, *resources: Noted) -> None:
        self.app, self.resources = app, resources

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await follow_lifespan(self.app, scope, receive, send, *self.resources)
        else:
            await self.app(scope, receive, send)


class TestFollowing(MiddlewareContract):
    def wrap(self, app: ASGIApp) -> ASGIApp:
        return Following(app, Noted("a", []))


class Lifespan:
    """An app that writes down what it hears."""

    def __init__(self, log: list[str], *, fails: str = "", raises: str = "") -> None:
        self.log, self.fails, self.raises = log, fails, raises

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for turn in ("startup", "shutdown"):
            if self.raises == f"before {turn}":
                raise AppError
            await receive()
            self.log.append(turn)
            if self.raises == turn:
                raise AppError
            if self.fails == turn:
                await send({"type": f"lifespan.{turn}.failed", "message": "no"})
                return
            await send({"type": f"lifespan.{turn}.complete"})


async def run(app: ASGIApp, log: list[str]) -> None:
    """A server that starts an app, and stops it if it started."""
    incoming = iter([STARTUP, SHUTDOWN])

    async def receive() -> Message:
        return dict(next(incoming))

    async def send(message: Message) -> None:
        log.append(message["type"])

    lint = ASGILint(app)
    await lint(dict(SCOPE), receive, send)
    lint.check()


async def test_resources_start_before_the_app_and_close_after_it_in_reverse() -> None:
    log: list[str] = []
    await run(Following(Lifespan(log), Noted("a", log), Noted("b", log)), log)
    assert log == [
        "start a", "start b", "startup", "lifespan.startup.complete",
        "shutdown", "close b", "close a", "lifespan.shutdown.complete",
    ]  # fmt: skip


async def test_one_in_another() -> None:
    log: list[str] = []
    inner = Following(Lifespan(log), Noted("inner", log))
    await run(Following(inner, Noted("outer", log)), log)
    assert log == [
        "start outer", "start inner", "startup", "lifespan.startup.complete",
        "shutdown", "close inner", "close outer", "lifespan.shutdown.complete",
    ]  # fmt: skip


@pytest.mark.parametrize("turn", ["startup", "shutdown"])
async def test_resources_close_before_a_failure_is_told(turn: str) -> None:
    log: list[str] = []
    await run(Following(Lifespan(log, fails=turn), Noted("a", log), Noted("b", log)), log)
    assert log[-4:] == [turn, "close b", "close a", f"lifespan.{turn}.failed"]


@pytest.mark.parametrize("raises", ["startup", "before shutdown", "shutdown"])
async def test_resources_close_when_the_app_raises(raises: str) -> None:
    log: list[str] = []
    with pytest.raises(AppError):
        await Following(Lifespan(log, raises=raises), Noted("a", log))(
            dict(SCOPE), _hears(STARTUP, SHUTDOWN), _says(log)
        )
    assert log.count("close a") == 1
    assert log[-1] == "close a"


async def test_an_app_without_lifespan_raises_as_it_would_alone() -> None:
    log: list[str] = []
    with pytest.raises(AppError):
        await run(Following(Lifespan(log, raises="before startup"), Noted("a", log)), log)
    assert log == []


async def test_an_app_that_returns_at_once_leaves_resources_lazy() -> None:
    async def returns(scope: Any, receive: Any, send: Any) -> None:
        return

    log: list[str] = []
    await Following(returns, Noted("a", log))(dict(SCOPE), _hears(), _says(log))
    assert log == []


@pytest.mark.parametrize("nested", [False, True])
async def test_a_resource_that_does_not_start_fails_the_startup(
    nested: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    resources = [Noted("a", log), Noted("b", log, fails="start"), Noted("c", log)]
    app: ASGIApp = Lifespan(log)
    app = Following(Following(app, Noted("inner", log)), *resources) if nested else Following(app, *resources)
    await run(app, log)
    assert log == ["start a", "start b", "close b", "close a", "lifespan.startup.failed"]
    assert "b broke" in caplog.text


async def test_an_inner_one_that_does_not_start_fails_the_outer_ones_too() -> None:
    log: list[str] = []
    inner = Following(Lifespan(log), Noted("inner", log, fails="start"))
    await run(Following(inner, Noted("outer", log)), log)
    assert log == ["start outer", "start inner", "close inner", "close outer", "lifespan.startup.failed"]


async def test_an_app_that_catches_everything_adds_nothing_to_the_failure() -> None:
    log: list[str] = []

    async def catches(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
        except BaseException:
            await send({"type": "lifespan.startup.failed"})

    await run(Following(catches, Noted("a", log, fails="start")), log)
    assert log == ["start a", "close a", "lifespan.startup.failed"]


async def test_an_error_in_closing_is_logged_and_the_others_close(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    await run(Following(Lifespan(log), Noted("a", log), Noted("b", log, fails="close")), log)
    assert log[-3:] == ["close b", "close a", "lifespan.shutdown.complete"]
    assert "b broke" in caplog.text


async def test_resources_close_when_the_server_cancels() -> None:
    log: list[str] = []
    started = asyncio.Event()
    messages = iter([STARTUP])

    async def receive() -> Message:
        for message in messages:
            return dict(message)
        started.set()
        return await asyncio.Event().wait()  # type: ignore[return-value]  # never returns

    app = Following(Lifespan(log), Noted("a", log), Noted("b", log))
    task = asyncio.create_task(app(dict(SCOPE), receive, _says(log)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log[-2:] == ["close b", "close a"]


def _hears(*messages: Message) -> Any:
    incoming = iter(messages)

    async def receive() -> Message:
        return dict(next(incoming))

    return receive


def _says(log: list[str]) -> Any:
    async def send(message: Message) -> None:
        log.append(message["type"])

    return send


async def test_under_starlette_with_its_own_lifespan(asgi_client: Any) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        log.append("in")
        yield
        log.append("out")

    async with asgi_client(Following(Starlette(lifespan=lifespan), Noted("a", log))):
        assert log == ["start a", "in"]
    assert log == ["start a", "in", "out", "close a"]


@pytest.mark.parametrize("fails", ["", "start"])
async def test_under_uvicorn_a_failed_start_ends_the_server(fails: str) -> None:
    log: list[str] = []
    app: Any = Following(Starlette(), Noted("a", log, fails=fails))
    server = LifespanOn(uvicorn.Config(app, lifespan="auto", log_config=None))
    await server.startup()
    assert server.should_exit is bool(fails)
    await server.shutdown()
    assert log == ["start a", "close a"]


# -- what belongs to a loop ----------------------------------------------------------------------------


class Connection(LoopBound):
    """Opens lazily, closes, and notes it."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.open: object = None

    async def use(self) -> None:
        if self.attach():
            self.open = object()
            self.log.append("open")

    def forget(self) -> None:
        self.open = None
        self.log.append("forget")

    async def aclose(self) -> None:
        await super().aclose()
        if self.open is not None:
            self.open = None
            self.log.append("close")


async def test_it_opens_once_and_again_after_closing() -> None:
    connection = Connection()
    for _ in range(2):
        await connection.use()
        await connection.use()
        await connection.aclose()
        await connection.aclose()
    assert connection.log == ["open", "close"] * 2


def test_on_another_loop_it_forgets_and_opens_anew() -> None:
    connection = Connection()
    asyncio.run(connection.use())
    asyncio.run(connection.use())
    assert connection.log == ["open", "forget", "open"]
    asyncio.run(connection.aclose())  # a third loop: nothing here may be touched
    assert connection.log == ["open", "forget", "open", "forget"]
    assert connection.open is None


async def test_a_background_task_is_kept_until_it_ends() -> None:
    bound, done, go = LoopBound(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    bound.spawn(work())
    await asyncio.sleep(0)
    gc.collect()
    go.set()
    await done.wait()
    await asyncio.sleep(0)
    assert bound._tasks == set()


async def test_what_a_background_task_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bound = LoopBound()

    async def work() -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "ramkit"):
        bound.spawn(work())
        while not caplog.records:
            await asyncio.sleep(0)
    assert "ZeroDivisionError" in caplog.text


async def test_closing_cancels_and_waits_for_the_end() -> None:
    bound, log = LoopBound(), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("ended")

    bound.spawn(work())
    await asyncio.sleep(0)
    await bound.aclose()
    assert log == ["ended"]


async def test_what_a_task_leaves_to_another_in_its_end_is_done() -> None:
    bound, log = LoopBound(), list[str]()

    async def release() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        log.append("released")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            bound.spawn(release())

    bound.spawn(work())
    await asyncio.sleep(0)
    await bound.aclose()
    assert log == ["released"]


async def test_a_task_may_close_what_it_belongs_to() -> None:
    bound, closed = LoopBound(), asyncio.Event()

    async def work() -> None:
        await bound.aclose()
        closed.set()

    bound.spawn(work())
    async with asyncio.timeout(20):
        assert await closed.wait()


def test_tasks_of_a_loop_that_is_gone_are_not_touched() -> None:
    bound = LoopBound()

    async def begin() -> None:
        bound.spawn(asyncio.Event().wait())

    async def again() -> None:
        done = asyncio.Event()

        async def work() -> None:
            done.set()

        bound.spawn(work())
        await done.wait()
        await bound.aclose()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    (left,) = bound._tasks
    asyncio.run(again())
    assert not left.done()
    left._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be left


def test_without_a_running_loop_nothing_is_begun() -> None:
    async def work() -> None: ...

    coroutine = work()
    with pytest.raises(RuntimeError, match="no running event loop"):
        LoopBound().spawn(coroutine)
    coroutine.close()
