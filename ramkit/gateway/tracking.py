"""What is written down of exchanges: in the group for its decisions, to observers for people."""

from collections.abc import Iterable

from ramkit.gateway.core.members import Group, Member, Outcome
from ramkit.gateway.events import GatewayEjection, GatewayUpstreamTime
from ramkit.kernel.asgi import Scope
from ramkit.kernel.clock import Clock
from ramkit.kernel.context import RequestContext
from ramkit.kernel.observers import Event, Observer, notify, observers_of

__all__ = ["Tracker"]


class Tracker:
    """The clock and the observers of a gateway."""

    __slots__ = ("_observers", "clock")

    def __init__(self, clock: Clock, observers: Iterable[Observer]) -> None:
        self.clock, self._observers = clock, observers_of(observers)

    def tell(self, event: Event) -> None:
        """Tell every observer."""
        if self._observers:
            notify(self._observers, event)

    def answered(self, scope: Scope, upstream: str, since: float) -> None:
        """A server's response to this request began."""
        context = RequestContext.peek(scope)
        if context is None and not self._observers:
            return
        seconds = self.clock.monotonic() - since
        if context is not None:
            context.waited("upstream", seconds)
        if self._observers:
            notify(self._observers, GatewayUpstreamTime(upstream, seconds))

    def finish(self, group: Group, member: Member, outcome: Outcome, attempt: int) -> None:
        """Close the attempt of that number, and tell if the server was ejected or returned by it."""
        before = member.ejected_until is not None
        group.finished(member, self.clock.monotonic(), outcome, attempt)
        after = member.ejected_until is not None
        if before is not after:
            change = "ejected" if after else "returned"
            self.tell(GatewayEjection(group.upstream.name, member.url, change))
