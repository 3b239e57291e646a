import pytest

from ramkit.cache import Cache, MemoryStore, RedisStore, TieredStore


@pytest.fixture(params=["memory", "redis"])
async def cache(request, clock):
    """A cache of one process, and one over Redis."""
    store = MemoryStore(clock=clock)
    if request.param == "redis":
        # A machine that is busy is not Redis that hangs.
        shared = RedisStore(request.getfixturevalue("redis_url"), deadline=10, clock=clock)
        store = TieredStore(shared, local=store)
    made = Cache(store, clock=clock)
    yield made
    await made.aclose()
