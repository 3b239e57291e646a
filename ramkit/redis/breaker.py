"""The decision whether Redis is asked at all: no I/O, time by the clock."""

from ramkit.kernel.clock import Clock

__all__ = ["Breaker"]


class Breaker:
    """Closed: all calls go. Open: none for ``cooldown`` seconds. Then one, whose outcome decides."""

    __slots__ = ("_clock", "_cooldown", "_probing", "_until", "closed")

    def __init__(self, clock: Clock, cooldown: float) -> None:
        self._clock = clock
        self._cooldown = cooldown
        self._until: float | None = None
        self._probing = False
        #: nothing is wrong
        self.closed = True

    @property
    def willing(self) -> bool:
        """Whether a call now would go out."""
        return self._until is None or (not self._probing and self._clock.monotonic() >= self._until)

    def admit(self) -> bool:
        """Ask for one call; after the cool-down the first to ask is the probe."""
        if self._until is None:
            return True
        if not self.willing:
            return False
        self._probing = True
        return True

    def open(self) -> None:
        """Redis is away."""
        self._until = self._clock.monotonic() + self._cooldown
        self.closed = self._probing = False

    def close(self) -> None:
        """Redis answered."""
        self._until = None
        self.closed, self._probing = True, False

    def forget_probe(self) -> None:
        """The probe was given up before it went out: the next call takes its place."""
        self._probing = False
