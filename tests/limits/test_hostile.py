"""What hostile clients and mistaken users say to limits."""

import asyncio
import enum

import http_sf
import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.limits import ConcurrencyLimitMiddleware, Limiter, MemoryStore, Policy, RateLimitMiddleware
from ramkit.limits.core import Charge
from ramkit.testing.clock import ManualClock
from tests.limits.asking import Hello, Socket, ask, scope_of, status_of

DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "options",
    [
        {"rate": f"{DIGITS}/s"},
        {"rate": f"1/{DIGITS}s"},
        {"rate": "1e400/s"},
        {"rate": "-1/s"},
        {"rate": "nan/s"},
        {"burst": 10**5000},
        {"burst": -(10**5000)},
        {"cost": -(10**5000)},
        {"cost": float("nan")},
    ],
    ids=range(9),
)
def test_numbers_beyond_reason_are_mistakes(options):
    with pytest.raises(ConfigurationError):
        Policy(**{"name": "p", "rate": "1/s", **options})


def test_nginx_numbers_beyond_reason_are_mistakes():
    with pytest.raises(ConfigurationError):
        Policy.nginx("p", f"rate=1r/s burst={DIGITS} nodelay")


@pytest.mark.parametrize("argument", ["limit", "queue", "retry_after", "timeout"])
def test_a_bound_that_is_no_number_is_a_mistake(argument):
    with pytest.raises(ConfigurationError, match=argument):
        ConcurrencyLimitMiddleware(Hello(), **{"limit": 1, argument: float("nan")})
    with pytest.raises(ConfigurationError, match=argument):
        ConcurrencyLimitMiddleware(Hello(), **{"limit": 1, argument: float("inf")})


def test_stores_and_processes_are_counted_in_whole_numbers():
    with pytest.raises(ConfigurationError):
        MemoryStore(float("nan"))
    with pytest.raises(ConfigurationError):
        Limiter(processes=float("nan"))


async def test_no_cost_is_too_large_for_a_store(redis_url):
    for store in ("memory://", redis_url):
        limiter = Limiter(store, [Policy("p", "5/h", on_failure="closed")])
        try:
            decision = await limiter.check("p", "k", cost=10**5000)
            assert (decision.allowed, decision.remaining, decision.retry_after) == (False, 5, float("inf"))
        finally:
            await limiter.aclose()


async def test_a_cost_may_be_an_enum():
    class Weight(enum.IntEnum):
        HEAVY = 2

    app = RateLimitMiddleware(Hello(), policies=[Policy("p", "4/h", cost=Weight.HEAVY)])
    assert [await status_of(app) for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../login",
        "/static/a/..",
        "/static/./x",
        "/static/..;/login",
        "/static/..\\login",
        "//static/x",
    ],
)
def test_a_path_that_leads_elsewhere_is_not_exempt(path):
    policy = Policy("p", "1/s", exempt=["/static/*", "/.well-known/*"])
    assert policy.is_exempt({"path": "/static/..a/.b"})
    assert policy.is_exempt({"path": "/.well-known/x"})
    assert not policy.is_exempt({"path": path})


def test_stars_match_in_linear_time():
    """Backtracking would take 20,000^4 steps."""
    policy = Policy("p", "1/s", exempt=["/a*/b*/b*/b*/c", "*b*"])
    quick = Policy("p", "1/s", exempt=["/a*/b*/b*/b*/c"])
    assert not quick.is_exempt({"path": "/a" + "/b" * 20_000})
    assert policy.is_exempt({"path": "/a/b/b/b/c"})
    assert policy.is_exempt({"path": "/xbx"})
    assert not quick.is_exempt({"path": "/a/b/b/c"})


async def test_a_lowered_quota_locks_nobody_out_in_memory():
    clock = ManualClock()
    store, hour = MemoryStore(clock=clock), 3_600_000_000
    await store.take([Charge(b"k", 100 * hour, 100 * hour)])
    assert await store.take([Charge(b"k", hour, 2 * hour)]) == (2 * hour,)
    clock.advance(3600)
    assert await store.take([Charge(b"k", hour, 2 * hour)]) == (hour,)


async def test_no_charge_looks_at_many_keys(monkeypatch):
    clock, looks = ManualClock(), 0
    store = MemoryStore(2000, clock=clock)
    keys = [b"%d" % number for number in range(2000)]
    for increment in (1_000_000, 60_000_000):  # the second moves them all
        for key in keys:
            await store.take([Charge(key, increment, 10**12)])
    forget = MemoryStore._forget

    def counted(self, until):
        nonlocal looks
        looks += 1
        forget(self, until)

    monkeypatch.setattr(MemoryStore, "_forget", counted)
    for number in range(200):
        looks = 0
        await store.take([Charge(b"new%d" % number, 1_000_000, 10**12)])
        assert looks <= 66
        assert len(store) <= 2000 + 2000 // 64 + 1
    assert len(store) == 2000


class Slow(MemoryStore):
    """Decides when it is told to."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()

    async def take(self, charges):
        await self.gate.wait()
        return await super().take(charges)


async def test_a_message_survives_who_stops_waiting_for_it():
    store, heard = Slow(), []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        store.gate.set()
        heard.extend([(await receive()).get("text") for _ in range(2)])

    await Socket("a", "b").meet(
        RateLimitMiddleware(app, store=store, policies=[Policy("m", "9/h", on="message")])
    )
    assert heard == ["a", "b"]


async def test_a_client_that_left_before_it_was_closed_is_a_disconnect():
    codes = []

    async def app(scope, receive, send):
        await receive()
        await receive()
        codes.append((await receive())["code"])

    async def gone(message):
        raise OSError("the client is gone")

    socket = Socket("a", "b")
    limit = RateLimitMiddleware(app, policies=[Policy("m", "1/h", on="message")])
    await limit(socket.scope, socket.receive, gone)
    assert codes == [1008]


async def test_whoever_leaves_a_long_queue_takes_one_step():
    """From its end: a list would be searched through each time."""
    compared = 0

    class Turn(asyncio.Future):
        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return self is other

        __hash__ = asyncio.Future.__hash__

    app = ConcurrencyLimitMiddleware(Hello(), limit=1, queue=1000, timeout=60)
    app._free = 0
    loop = asyncio.get_running_loop()

    async def never():
        await loop.create_future()

    made, loop.create_future = loop.create_future, lambda: Turn(loop=loop)
    try:
        tasks = [asyncio.create_task(app(scope_of("/"), never, None)) for _ in range(1000)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert app.waiting == 1000
        compared = 0
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        loop.create_future = made
    assert app.waiting == 0
    assert compared < 10_000


@pytest.mark.parametrize(
    "policy",
    [
        Policy("-._a", "1000000/s", burst=315_360_000_000_000),
        Policy("1", "1/3650d"),
        Policy("x" * 64, "3/s", cost=4),
        Policy("free", "1/s", cost=0),
    ],
    ids=range(4),
)
async def test_whatever_the_policy_the_fields_are_structured(policy):
    app = RateLimitMiddleware(Hello(), policies=[policy, Policy("other", "2/s")])
    for _ in range(3):
        answer = await ask(app, "/")
        for name in ("ratelimit-policy", "ratelimit"):
            items = http_sf.parse(answer[name].encode(), tltype="list")
            assert [item[0] for item in items] == [policy.name, "other"]
            assert all(type(number) is int for _, parameters in items for number in parameters.values())
