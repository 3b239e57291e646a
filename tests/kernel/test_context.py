import asyncio

import pytest

from ramkit.kernel.context import Floor, RequestContext, Transaction


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


def test_a_floors_positions_never_sink() -> None:
    floor = Floor()
    floor.raise_position("main", 7)
    floor.raise_position("main", 5)
    floor.raise_position("other", 1)
    assert floor.positions == {"main": 7, "other": 1}


def test_a_response_stands_at_the_lowest_position_of_its_reads() -> None:
    context = RequestContext()
    context.read_at("main", 7)
    context.read_at("main", 5)
    context.read_at("main", 6)
    assert context.positions == {"main": 5}


async def test_what_was_deferred_runs_after_the_commit_in_order() -> None:
    done: list[int] = []

    async def note(number: int) -> None:
        done.append(number)
        if number == 1:
            raise ValueError(number)

    transaction = Transaction()
    for number in range(3):
        transaction.defer(lambda number=number: note(number))
    assert not done
    with pytest.raises(ValueError, match="1"):
        await transaction.committed()
    assert done == [0, 1, 2], "one that fails keeps none of the others back"
    await transaction.committed()
    assert done == [0, 1, 2]


async def test_a_transaction_is_of_its_task_and_of_its_context() -> None:
    context, transaction = RequestContext(), Transaction()

    async def elsewhere() -> tuple[RequestContext | None, Transaction | None]:
        return RequestContext.current(), Transaction.current()

    with context.active():
        other = asyncio.create_task(elsewhere())
        with transaction.active():
            assert (RequestContext.current(), Transaction.current()) == (context, transaction)
            with RequestContext().active():
                assert Transaction.current() is None
            assert await other == (context, None)
        assert Transaction.current() is None


def test_waits_add_up_by_what_for() -> None:
    context = RequestContext()
    assert context.waits is None
    for name, seconds in (("pool", 1.0), ("upstream", 2.0), ("pool", 0.5)):
        context.waited(name, seconds)
    assert context.waits == {"pool": 1.5, "upstream": 2.0}
