import asyncio

from ramkit.kernel.context import Floor, RequestContext


def test_a_scope_and_its_copies_share_one_context() -> None:
    scope: dict[str, object] = {"type": "http"}
    assert RequestContext.peek(scope) is None
    context = RequestContext.of(scope)
    assert RequestContext.of(dict(scope)) is context
    assert RequestContext.peek(scope) is context
    assert RequestContext.of({"type": "http"}) is not context


async def test_the_current_context_is_that_of_the_task() -> None:
    seen: list[RequestContext | None] = []

    async def request() -> RequestContext:
        context = RequestContext.of({})
        with context.active():
            await asyncio.sleep(0)
            seen.append(RequestContext.current())
        return context

    contexts = await asyncio.gather(request(), request())
    assert seen == [*contexts]
    assert RequestContext.current() is None


def test_a_floor_never_sinks_within_one_incarnation() -> None:
    floor = Floor()
    floor.raise_epoch("cache", 1, 5)
    floor.raise_epoch("cache", 1, 3)
    assert floor.epochs == {"cache": (1, 5)}
    floor.raise_epoch("cache", 1, 6)
    floor.raise_epoch("other", 1, 1)
    assert floor.epochs == {"cache": (1, 6), "other": (1, 1)}
    floor.raise_epoch("cache", 2, 1)
    assert floor.epochs["cache"] == (2, 1)
