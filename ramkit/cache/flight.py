"""One render for each miss: in this process by a flight, across processes by a lease."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Generic, TypeVar

from ramkit.cache.port import Lease, Leases
from ramkit.kernel.clock import Clock
from ramkit.kernel.errors import Unavailable

__all__ = ["Flights", "Turn"]

T = TypeVar("T")


class Landing(Enum):
    """How a flight ended, for those who waited."""

    STORED = 1
    #: what was rendered cannot be shared: everyone renders for themselves, at once
    UNSHARED = 2
    #: whoever rendered was cancelled: someone else takes over
    ABANDONED = 3


class Turn:
    """The right to render. ``leading`` while others wait for what comes of it."""

    __slots__ = ("_flights", "_future", "_key", "_lease", "late")

    def __init__(
        self,
        flights: "Flights[Any]",
        key: bytes,
        future: "asyncio.Future[Landing] | None" = None,
        *,
        late: bool = False,
    ) -> None:
        #: somebody renders already, and takes too long to wait for
        self.late = late
        self._flights, self._key, self._future = flights, key, future
        self._lease: Lease | None = None

    @property
    def leading(self) -> bool:
        """Whether anybody may be waiting for this render."""
        return self._future is not None

    def hold(self, lease: Lease | None) -> None:
        """The lease to give back at the end."""
        self._lease = lease

    def stored(self) -> None:
        """What was rendered is in the store: those who waited look there."""
        self._land(Landing.STORED)

    def unshared(self) -> None:
        """What is rendered cannot be stored: nobody waits any longer."""
        self._land(Landing.UNSHARED)

    def abandon(self) -> None:
        """The end, if there was no other."""
        self._land(Landing.ABANDONED)

    def _land(self, landing: Landing) -> None:
        future, self._future = self._future, None
        if future is None:
            return
        self._flights.remove(self._key, future)
        if not future.done():
            future.set_result(landing)
        if self._lease is not None:
            self._flights.spawn(self._lease.release())


class Flights(Generic[T]):
    """The renders under way in this process, by key."""

    def __init__(self, leases: Leases, clock: Clock, spawn: Callable[[Awaitable[None]], object]) -> None:
        self._leases, self._clock, self.spawn = leases, clock, spawn
        self._flying: dict[bytes, asyncio.Future[Landing]] = {}

    def flying(self, key: bytes) -> bool:
        """Whether this process renders that key just now."""
        return key in self._flying

    def remove(self, key: bytes, future: "asyncio.Future[Landing]") -> None:
        """Forget a flight that has landed."""
        if self._flying.get(key) is future:
            del self._flying[key]

    async def take(
        self, key: Callable[[], bytes], find: Callable[[], Awaitable[T | None]], wait: float
    ) -> T | Turn:
        """What someone else renders meanwhile, if ``find`` accepts it, or the turn to render.

        ``find`` looks into the store and judges what is there as for any request; ``key`` may be another
        after it, when it has learned what the response varies by. Nobody waits longer than ``wait``
        seconds; a holder of the lease that dies delays the others by the lease's bound.
        """
        until = self._clock.monotonic() + wait
        while (left := until - self._clock.monotonic()) > 0:
            flying = self._flying.get(key())
            if flying is None:
                return await self._lead(key(), find, until)
            try:
                landing = await asyncio.wait_for(asyncio.shield(flying), left)
            except TimeoutError:
                return Turn(self, key(), late=True)
            if landing is Landing.UNSHARED:
                break
            found = await find() if landing is Landing.STORED else None
            if found is not None:
                return found
        return Turn(self, key())

    async def try_lead(self, key: bytes) -> Turn | None:
        """The turn to render ahead of time, or None when somebody has it already."""
        if key in self._flying:
            return None
        turn = self._open(key)
        try:
            lease = await self._leases.acquire(key)
        except Unavailable:
            lease = None
        except BaseException:
            turn.abandon()
            raise
        if lease is None:
            turn.abandon()
            return None
        turn.hold(lease)
        return turn

    def _open(self, key: bytes) -> Turn:
        future = self._flying[key] = asyncio.get_running_loop().create_future()
        return Turn(self, key, future)

    async def _lead(self, key: bytes, find: Callable[[], Awaitable[T | None]], until: float) -> T | Turn:
        turn = self._open(key)
        try:
            while True:
                lease = await self._leases.acquire(key)
                turn.hold(lease)
                # Looked up with the lease in hand: whoever had it before has stored by now.
                found = await find()
                if found is not None:
                    turn.stored()
                    return found
                left = until - self._clock.monotonic()
                if lease is not None or left <= 0:
                    return turn
                await self._leases.released(key, left)
        except Unavailable:
            return turn
        except BaseException:
            turn.abandon()
            raise
