"""Refresh tokens in the process's own memory: for tests and for one process."""

from dataclasses import dataclass, field
from typing import Final

from ramkit.auth.jwt.port import Family, Use
from ramkit.kernel.clock import Clock, SystemClock

__all__ = ["MemoryRefreshStore"]

#: families before it is worth looking for those that have expired; tokens of a family within the grace period
_SWEEP: Final = 256
_MOST: Final = 64


@dataclass(slots=True)
class _Kept:
    token: bytes
    family: Family
    expires: float
    #: hash, nonce and time of those that were replaced, oldest first
    replaced: list[tuple[bytes, bytes, float]] = field(default_factory=list[tuple[bytes, bytes, float]])


class MemoryRefreshStore:
    """What ``RedisRefreshStore`` does, by the same rules. Everybody is logged out when the process ends."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._offset = self._clock.time() - self._clock.monotonic()
        self._families: dict[str, _Kept] = {}
        #: when a subject was cut off, and until when that matters
        self._cuts: dict[str, tuple[float, float]] = {}
        self._sweep_at = _SWEEP

    async def create(
        self,
        family: str,
        token: bytes,
        subject: str,
        data: bytes,
        *,
        idle: float,
        absolute: float,
        age: float,
    ) -> None:
        now = self._now() - age * 1000
        ends = now + absolute * 1000
        self._families[family] = _Kept(
            token, Family(subject, data, int(now), int(ends)), min(now + idle * 1000, ends)
        )
        if len(self._families) >= self._sweep_at:
            self._families = {name: kept for name, kept in self._families.items() if kept.expires > now}
            self._cuts = {name: times for name, times in self._cuts.items() if times[1] > now}
            self._sweep_at = max(_SWEEP, 2 * len(self._families))

    async def use(
        self, family: str, token: bytes, successor: bytes, nonce: bytes, *, idle: float, grace: float
    ) -> Use:
        now, kept = self._now(), self._families.get(family)
        if kept is None or kept.expires <= now or self._is_cut(kept.family, now):
            self._families.pop(family, None)
            return Use("unknown")
        recent = [each for each in kept.replaced if each[2] >= now - grace * 1000]
        if token == kept.token:
            kept.replaced = [*recent[-_MOST + 1 :], (token, nonce, now)]
            kept.token, kept.expires = successor, min(now + idle * 1000, kept.family.ends)
            return Use("rotated", nonce, kept.family)
        for known, its_nonce, _ in recent:
            if token == known:
                return Use("repeated", its_nonce, kept.family)
        del self._families[family]
        return Use("reused")

    async def known(self, family: str) -> bool:
        kept = self._families.get(family)
        return kept is not None and kept.expires > self._now()

    async def drop(self, family: str) -> None:
        self._families.pop(family, None)

    async def cut(self, subject: str, *, absolute: float) -> None:
        now = self._now()
        self._cuts[subject] = (now, now + absolute * 1000)

    async def start(self) -> None:
        """There is no server."""

    async def aclose(self) -> None:
        """Nothing was opened; the families stay."""

    def _is_cut(self, family: Family, now: float) -> bool:
        cut, until = self._cuts.get(family.subject, (-1.0, 0.0))
        return family.created <= cut and until > now

    def _now(self) -> float:
        return (self._clock.monotonic() + self._offset) * 1000  # steps of the wall clock end nobody's login
