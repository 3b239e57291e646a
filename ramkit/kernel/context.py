"""The request context: one slotted object a request, by which rooms meet."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any, TypeAlias

from ramkit.kernel.asgi import Scope

__all__ = ["Floor", "RequestContext", "Transaction", "raise_positions"]

_KEY = "ramkit.context"
_NOWHERE: Mapping[str, int] = MappingProxyType({})


def raise_positions(positions: dict[str, int], others: Mapping[str, int]) -> None:
    """By database: never lower than either LSN."""
    for database, lsn in others.items():
        if lsn > positions.get(database, -1):
            positions[database] = lsn


class Floor:
    """The oldest state of the world that a request may be shown.

    ``epochs`` maps a cache's name to ``(incarnation, epoch)``: the place in that cache's log that
    whoever answers must have read. ``positions`` maps a database's name to the LSN that a replica must
    have replayed. ``bypass`` names the caches that must not answer at all, because a purge of this client
    is not confirmed yet; ``unconfirmed`` those of them of which that is news, of this very request.
    """

    __slots__ = ("bypass", "epochs", "positions", "unconfirmed")

    def __init__(self) -> None:
        self.epochs: dict[str, tuple[int, int]] = {}
        self.positions: dict[str, int] = {}
        self.bypass: set[str] = set()
        self.unconfirmed: set[str] = set()

    @property
    def bare(self) -> bool:
        """Whether anything may be shown."""
        return not (self.positions or self.epochs or self.bypass)

    def go_past(self, cache: str) -> None:
        """That cache must not answer: a purge of it is not confirmed."""
        self.bypass.add(cache)
        self.unconfirmed.add(cache)

    def raise_epoch(self, cache: str, incarnation: int, epoch: int) -> None:
        """Never lower within an incarnation; another incarnation replaces what was there."""
        known = self.epochs.get(cache)
        if known is None or known[0] != incarnation or known[1] < epoch:
            self.epochs[cache] = (incarnation, epoch)

    def raise_position(self, database: str, lsn: int) -> None:
        """Never lower."""
        raise_positions(self.positions, {database: lsn})


class Transaction:
    """What waits for a COMMIT: purges, and whatever else must not be seen before it or without it.

    A database makes one for each transaction and runs what was deferred once it is committed; after a
    rollback it is dropped.
    """

    __slots__ = ("_deferred",)

    def __init__(self) -> None:
        self._deferred: list[Callable[[], Awaitable[object]]] = []

    @classmethod
    def current(cls) -> "Transaction | None":
        """The innermost transaction that this task is in, if any."""
        return _current.get()[1]

    def defer(self, action: Callable[[], Awaitable[object]]) -> None:
        """Run the action after COMMIT, in the order of deferring."""
        self._deferred.append(action)

    async def committed(self) -> None:
        """Run all that was deferred, each whatever becomes of the others; the first error is raised."""
        deferred, self._deferred = self._deferred, []
        errors: list[Exception] = []
        for action in deferred:
            try:
                await action()
            except Exception as error:
                errors.append(error)  # raised below, once the others had their turn
        if errors:
            raise errors[0]

    def active(self) -> AbstractContextManager[None]:
        """Makes this the current transaction for the code inside."""
        return _Active((_current.get()[0], self))


class RequestContext:
    """What the rooms know of one request, made on first use and kept in its scope."""

    __slots__ = (
        "_floor",
        "client",
        "client_by",
        "deadline",
        "personal",
        "positions",
        "principal",
        "request_id",
        "required",
        "session",
        "span_id",
        "trace_id",
        "waits",
    )

    # One is made for each request, and most have neither a floor nor positions: each dict less is a good part
    # of what a context costs, in what the garbage collector has to look through, too.
    def __init__(self) -> None:
        self._floor: Floor | None = None
        #: by database: the LSN that the reads made so far cannot have missed, the lowest over its connections
        self.positions: Mapping[str, int] = _NOWHERE
        #: by database: the LSN that reads need beside the floor, of which the client is not told
        self.required: Mapping[str, int] = _NOWHERE
        #: when the response is of no use any more, on the clock's ``monotonic()``
        self.deadline: float | None = None
        #: the client's address, resolved once under the trusted-proxy policy (client.py)
        self.client: Any = None
        #: the policy by which it was resolved
        self.client_by: Any = None
        self.request_id: str | None = None
        #: of W3C Trace Context: the trace that the request belongs to, and the span of it, in hex
        self.trace_id: str | None = None
        self.span_id: str | None = None
        #: seconds that the request waited, by what for; None while it has not
        self.waits: dict[str, float] | None = None
        self.principal: Any = None
        self.session: Any = None
        #: a principal or session was read while the response was made: it is one client's own
        self.personal = False

    @classmethod
    def of(cls, scope: Scope) -> "RequestContext":
        """The context of this scope; every copy of the scope made afterwards shares it."""
        context: RequestContext | None = scope.get(_KEY)
        if context is None:
            context = scope[_KEY] = cls()
        return context

    @classmethod
    def peek(cls, scope: Scope) -> "RequestContext | None":
        """The context of this scope if some part has made it already."""
        return scope.get(_KEY)

    @classmethod
    def current(cls) -> "RequestContext | None":
        """The context of the request that this task works for, if any."""
        return _current.get()[0]

    @property
    def floor(self) -> Floor:
        """What its client may be shown."""
        floor = self._floor
        if floor is None:
            floor = self._floor = Floor()
        return floor

    @floor.setter
    def floor(self, floor: Floor) -> None:
        self._floor = floor

    def wanted(self, database: str) -> int:
        """The LSN that whoever answers a read must have replayed; -1 for none."""
        return max(self.floor.positions.get(database, -1), self.required.get(database, -1))

    def require(self, positions: Mapping[str, int]) -> None:
        """Have what is read from here on be at or past these LSNs."""
        required = {**self.required}
        raise_positions(required, positions)
        self.required = required

    def read_at(self, database: str, lsn: int) -> None:
        """Tell that the response rests on a read that cannot have missed what lies at or below ``lsn``."""
        known = self.positions.get(database)
        if known is None or lsn < known:
            self.positions = {**self.positions, database: lsn}

    def read_all(self, positions: Mapping[str, int] | None) -> None:
        """Tell that the response rests on something that was read at these."""
        for database, lsn in (positions or {}).items():
            self.read_at(database, lsn)

    def waited(self, name: str, seconds: float) -> None:
        """Tell that the request waited: for a connection of a ``pool``, or for an ``upstream``."""
        if self.waits is None:
            self.waits = {}
        self.waits[name] = self.waits.get(name, 0.0) + seconds

    def active(self) -> AbstractContextManager[None]:
        """Makes this the current context for the code inside. A transaction outside is not its own."""
        return _Active((self, None))


class _Active:
    """Entered once. A generator would take thrice as long, in each request."""

    __slots__ = ("_token", "_value")

    def __init__(self, value: "_Current") -> None:
        self._value = value
        self._token: Token[_Current]

    def __enter__(self) -> None:
        self._token = _current.set(self._value)

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


_Current: TypeAlias = tuple[RequestContext | None, Transaction | None]
_NONE: _Current = (None, None)
_current: ContextVar[_Current] = ContextVar("ramkit.context", default=_NONE)
