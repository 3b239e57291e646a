"""Verification of tokens beside PyJWT, in one process: both are plain calls."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.goals import Goal
from benchmarks.harness import Times, median, paired, spread
from ramkit.auth.jwt import JWTService, KeySet, Revocations

ALGORITHMS = ["HS256", "ES256"]
ROWS = {
    "pyjwt": "PyJWT, `jwt.decode`",
    "first": "**ramkit**, first verification",
    "second": "**ramkit**, a token seen before",
}
_SAID = {"issuer": "https://issuer.example", "audience": "orders"}
_SECRET = b"0123456789abcdef0123456789abcdef"


@dataclass
class Verifications:
    """µs a token, by (row, algorithm)."""

    rounds: int
    times: dict[tuple[str, str], Times] = field(default_factory=dict)


def measure(rounds: int, seconds: float) -> Verifications:
    """All of one algorithm take turns in each round; the first round warms up."""
    seen = Verifications(rounds)
    for algorithm in ALGORITHMS:
        subjects = _subjects(algorithm)
        for number in range(rounds + 1):
            for row in subjects if number % 2 else reversed(subjects):
                taken = _time(subjects[row], seconds)
                if number:
                    seen.times.setdefault((row, algorithm), []).append(taken)
    return seen


def _subjects(algorithm: str) -> dict[str, Callable[[], Any]]:
    private: Any = _SECRET if algorithm == "HS256" else ec.generate_private_key(ec.SECP256R1())
    key = private if algorithm == "HS256" else private.public_key()
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(private, as_dict=True)
    keys = KeySet([{**jwk, "alg": algorithm}])
    anew = JWTService(keys=keys, remember=0, **_SAID)
    knowing = JWTService(keys=keys, revocations=Revocations(), expires_in=3600, **_SAID)
    token = knowing.sign({"sub": "8f14e45f-ceea-467f-a8d1-0e2b7a1a2c3d", "scope": "orders:read orders:write"})

    def pyjwt() -> dict[str, Any]:
        return jwt.decode(token, key, algorithms=[algorithm], options={"require": ["exp"]}, **_SAID)

    if not pyjwt() == anew.verify(token) == knowing.verify(token) == knowing.verify(token):
        raise RuntimeError("they do not say the same")
    return {"pyjwt": pyjwt, "first": lambda: anew.verify(token), "second": lambda: knowing.verify(token)}


def _time(call: Callable[[], Any], seconds: float) -> float:
    gc.collect()
    count, end = 0, time.perf_counter() + seconds
    began = time.perf_counter()
    while (now := time.perf_counter()) < end:
        for _ in range(50):
            call()
        count += 50
    return (now - began) / count * 1e6


def goals_of(seen: Verifications) -> list[Goal]:
    """In the order of the issue that asked for them."""
    goals: list[Goal] = []
    for algorithm in ALGORITHMS:
        theirs = seen.times["pyjwt", algorithm]
        faster = median(paired(theirs, seen.times["second", algorithm]))
        first = median(paired(seen.times["first", algorithm], theirs))
        goals += [
            Goal(
                f"a token seen before, {algorithm}, faster than PyJWT's decode",
                "≥ 10 x", f"{faster:.1f}", "yes" if faster >= 10 else "**no**",
            ),
            Goal(
                f"the first verification, {algorithm}, in the time of PyJWT's decode",
                "≤ 1.1 x", f"{first:.2f}", "yes" if first <= 1.1 else "**no**",
            ),
        ]  # fmt: skip
    return goals


def sections(seen: Verifications) -> dict[str, str]:
    """By the name of their marker in docs/benchmarks.md."""
    from benchmarks.report import table

    rows = [[name, *(spread(seen.times[row, each], 2) for each in ALGORITHMS)] for row, name in ROWS.items()]
    goals = [[goal.what, goal.wanted, goal.seen, goal.met] for goal in goals_of(seen)]
    return {
        "auth-goals": table(["goal", "wanted", "seen", "met"], goals),
        "auth": table(["verification", *(f"µs, {each}" for each in ALGORITHMS)], rows)
        + f"\n\n{seen.rounds} rounds; PyJWT {jwt.__version__}.",
    }


def run(*, quick: bool) -> None:
    """Measure, print, and write down what is not just a look."""
    from benchmarks.report import write

    print(f"{time.strftime('%H:%M:%S')} verification of tokens and PyJWT's", flush=True)
    seen = measure(3, 0.1) if quick else measure(9, 0.3)
    found = sections(seen)
    print("\n\n".join(found.values()))
    if quick:
        return
    write(found)
