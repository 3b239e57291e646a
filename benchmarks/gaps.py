"""The longest that parts of ``ramkit.auth`` and ``ramkit.limits`` keep the event loop from its other work."""

import asyncio
import gc
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jwt.algorithms import ECAlgorithm

from benchmarks.report import table, write
from ramkit.auth.jwt import JWKSClient, JWTService, KeySet
from ramkit.auth.passwords import PasswordService
from ramkit.auth.sessions import MemorySessionStore, SessionMiddleware
from ramkit.limits import Limiter, Policy
from ramkit.limits.limiter import Asked
from ramkit.testing.client import drive, http_scope

_ROUNDS = 20


async def gap_of(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """ms: the median over rounds of the longest gap in each, and the longest of all."""
    loop = asyncio.get_running_loop()
    longest: list[float] = []
    for _ in range(_ROUNDS):
        gc.collect()
        gap, last, done = 0.0, time.perf_counter(), False

        def tick() -> None:
            nonlocal gap, last
            now = time.perf_counter()
            gap, last = max(gap, now - last), now
            if not done:  # noqa: B023 - the round is over when it is set
                loop.call_soon(tick)

        loop.call_soon(tick)
        await work()
        await asyncio.sleep(0)
        done = True
        await asyncio.sleep(0)
        longest.append(gap * 1000)
    return sorted(longest)[_ROUNDS // 2], max(longest)


def jwks() -> Callable[[], Awaitable[Any]]:
    """A document of as many keys as are taken, filled up to the bytes that are."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    keys = [{**key, "kid": f"{number:03}" + "x" * 1080, "alg": "ES256"} for number in range(100)]
    document = json.dumps({"keys": keys}).encode()

    async def take() -> None:
        await JWKSClient("https://issuer.example/keys")._take(document)  # pyright: ignore[reportPrivateUsage]  # a fetch would count the network, too

    return take


def session() -> Callable[[], Awaitable[Any]]:
    """Read, changed and merged: as many small values as fit."""
    store = MemorySessionStore()

    async def change(scope: Any, receive: Any, send: Any) -> None:
        held = scope["session"]
        for number in range(0 if held else 999):
            held[f"k{number:04}"] = number
        held["again"] = time.perf_counter()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    app = SessionMiddleware(change, store=store)
    cookie: list[bytes] = []

    async def request() -> None:
        headers = [(b"cookie", each) for each in cookie]
        sent = await drive(app, http_scope(headers=headers, scheme="https"))
        found = [value.partition(b";")[0] for name, value in sent[0]["headers"] if name == b"set-cookie"]
        cookie.extend(found)

    return request


def policies() -> Callable[[], Awaitable[Any]]:
    """A hundred requests at once under ten policies each."""
    asked = [(Policy(f"p{number}", "100/s"), "ada", 1) for number in range(10)]
    limiter = Limiter("memory://", policies=[policy for policy, _, _ in asked])

    async def decide() -> None:
        await asyncio.gather(*(limiter.decide([Asked(*each) for each in asked]) for _ in range(100)))

    return decide


async def measure() -> dict[str, tuple[float, float]]:
    """ms by what was done: median and most."""
    passwords, apart = PasswordService(), PasswordService()
    known = await passwords.hash("correct horse")
    # Threads keep to the cores of the thread that made them, which afterwards leaves them alone with those.
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[1:] or cores)
    await asyncio.gather(*(apart.hash("correct horse") for _ in range(2)))
    os.sched_setaffinity(0, cores)
    service = JWTService(keys=KeySet.from_jwks({"keys": [_private()]}), remember=0)
    token = service.sign({"sub": "ada", "data": "x" * 4000})

    async def hash_and_verify(passwords: PasswordService) -> None:
        await asyncio.gather(
            *(passwords.verify(known, "wrong") for _ in range(4)), passwords.hash("password")
        )

    async def beside_the_loop() -> None:
        os.sched_setaffinity(0, sorted(cores)[:1])
        try:
            await hash_and_verify(apart)
        finally:
            os.sched_setaffinity(0, cores)

    async def verify() -> None:
        for _ in range(100):
            await service.authenticate(token)
            await asyncio.sleep(0)

    works: dict[str, Callable[[], Awaitable[Any]]] = {
        "nothing at all, for as long as the passwords take": lambda: asyncio.sleep(0.3),
        "five passwords at once, hashed and verified": lambda: hash_and_verify(passwords),
        "… while the loop has a core of its own": beside_the_loop,
        "tokens of ES256, verified anew": verify,
        "a key set of 100 keys and 128 KiB": jwks(),
        "a session of 1,000 keys, read, changed and merged": session(),
        "a hundred requests at once under ten policies each": policies(),
    }
    seen = {name: await gap_of(work) for name, work in works.items()}
    await passwords.aclose()
    await apart.aclose()
    return seen


def run(*, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    seen = asyncio.run(measure())
    rows = [[name, f"{median:.2f}", f"{longest:.2f}"] for name, (median, longest) in seen.items()]
    text = table(["while the loop has this to do", "ms, median", "ms, most"], rows)
    text += f"\n\n{_ROUNDS} rounds; the longest gap between two turns of the loop in each."
    print(text, flush=True)
    if not quick:
        write({"gaps": text})


def _private() -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric import ec

    return {**ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True), "alg": "ES256"}
