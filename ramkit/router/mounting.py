"""Mounted apps: they answer below a path, and live as long as the app that they are mounted in."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from ramkit.kernel.asgi import ASGIApp, Message, Scope
from ramkit.router.context import Context
from ramkit.router.guard import watched

__all__ = ["Mounted", "living"]

_log = logging.getLogger("ramkit")

#: in the scope of a lifespan: by its id the state of each app that is alive, or starts
_ALIVE = "ramkit.router.alive"
#: seconds that an app has to end after its last word
_GRACE = 1.0


class Mounted:
    """The handler that hands a request on to an app. What the app raises before it answers is the route's."""

    __slots__ = ("app", "path", "state")

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app, self.path = app, path
        #: what its lifespan gave it
        self.state: dict[str, Any] = {}

    async def __call__(self, ctx: Context) -> None:
        with _shown(self.state, ctx.scope):
            await self.app(ctx.scope, ctx.receive, watched(ctx.send, ctx.begin))
        ctx.begin()  # whether it answered is its own affair


@contextmanager
def _shown(own: dict[str, Any], scope: Scope) -> Generator[None]:
    """A request's state is one for all; while the app runs, what its lifespan gave stands in it, too."""
    if not own:
        yield
        return
    state: dict[str, Any] = scope.setdefault("state", {})
    given = own.copy()
    hidden = {name: state[name] for name in given if name in state}
    state.update(given)
    try:
        yield
    finally:
        for name in given:
            state.pop(name, None)
        state.update(hidden)


class _Failed(RuntimeError):
    """A mounted app did not start or stop; the message says which, and what it said."""


@asynccontextmanager
async def living(
    own: Callable[[Any], AbstractAsyncContextManager[Any]],
    app: ASGIApp,
    scope: Scope,
    mounts: Iterable[Mounted],
) -> AsyncGenerator[Any]:
    """An app's own lifespan, and inside of it those of the mounted apps: in order, and in reverse at the end.

    Each runs once, in however many places it is mounted, here and in apps that are mounted here. One that
    fails makes it fail, when all that had begun has ended.
    """
    alive: dict[int, dict[str, Any]] = scope.setdefault(_ALIVE, {})
    alive.setdefault(id(app), {})
    failed: _Failed | None = None
    async with own(app) as state:
        try:
            async with AsyncExitStack() as stack:
                for each in mounts:
                    if id(each.app) not in alive:
                        alive[id(each.app)] = {}
                        await stack.enter_async_context(_living(each, scope, alive[id(each.app)]))
                    each.state = alive[id(each.app)]
                yield state
        except _Failed as error:
            failed = error  # the app's own lifespan ends as if nothing were wrong
    if failed is not None:
        raise failed


@asynccontextmanager
async def _living(mounted: Mounted, scope: Scope, state: dict[str, Any]) -> AsyncGenerator[None]:
    life = _Life(mounted, {**{name: scope[name] for name in scope if name != "app"}, "state": state})
    try:
        if await life.turn("startup"):
            try:
                yield
            finally:
                await life.turn("shutdown")
        else:
            yield
    finally:
        await life.end()


class _Life:
    """One app's lifespan, as a server runs it: in a task of its own."""

    __slots__ = ("_answers", "_asked", "_error", "_path", "_phase", "_task")

    def __init__(self, mounted: Mounted, scope: Scope) -> None:
        #: what is asked of it, until it has answered
        self._path, self._phase = mounted.path, ""
        self._asked, self._answers = asyncio.Queue[Message](), asyncio.Queue[Message | None]()
        self._error: Exception | None = None
        self._task = asyncio.create_task(self._run(mounted.app, scope))

    async def turn(self, phase: str) -> bool:
        """Whether the app takes part: one that raises at startup without an answer does not (ASGI Lifespan,
        Scope). Raises ``_Failed``."""
        self._phase = phase
        self._asked.put_nowait({"type": f"lifespan.{phase}"})
        answer = await self._answers.get()
        if answer is None:
            if phase == "startup":
                _log.info("what is mounted at %r has no lifespan", self._path, exc_info=self._error)
                return False
            if self._error is not None:
                raise _Failed(f"{phase} of what is mounted at {self._path!r}: it raised") from self._error
        elif answer["type"].endswith(".failed"):
            raise _Failed(f"{phase} of what is mounted at {self._path!r}: {answer.get('message', '')}")
        return True

    async def end(self) -> None:
        """All is said, and it returns in a moment; or nobody waits for its answer any more."""
        if not self._phase:
            await asyncio.wait({self._task}, timeout=_GRACE)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._asked.get, self._answer)
        except Exception as error:
            self._error = error
        finally:
            self._answers.put_nowait(None)

    async def _answer(self, message: Message) -> None:
        if message["type"] not in (f"lifespan.{self._phase}.complete", f"lifespan.{self._phase}.failed"):
            raise RuntimeError(f"{message['type']!r} does not answer lifespan.{self._phase}")
        self._phase = ""
        self._answers.put_nowait(message)
