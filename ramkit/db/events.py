"""What the database tells its observers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ramkit.kernel.observers import Event

__all__ = ["Failover", "PoolWait", "ReplicaLag", "ServerEjected", "SlowQuery"]

_Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class PoolWait(Event):
    """A borrower had to wait for a connection. ``outcome``: lent, timeout or failed."""

    metric: ClassVar[str] = "db_pool_wait_seconds"
    kind: ClassVar[_Kind] = "histogram"
    labels: ClassVar[tuple[str, ...]] = ("database", "server", "outcome")
    value: ClassVar[str | None] = "seconds"
    help: ClassVar[str] = "Waits for a connection where none was free at once."

    database: str
    server: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SlowQuery(Event):
    """A statement took longer than ``slow_query`` seconds. ``query``: its text, without arguments."""

    metric: ClassVar[str] = "db_slow_query_seconds"
    kind: ClassVar[_Kind] = "histogram"
    labels: ClassVar[tuple[str, ...]] = ("database", "server")
    value: ClassVar[str | None] = "seconds"
    help: ClassVar[str] = "Statements that took longer than the bound for slow ones."

    database: str
    server: str
    query: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ReplicaLag(Event):
    """How far a replica was behind when its monitor last looked."""

    metric: ClassVar[str] = "db_replica_lag_bytes"
    kind: ClassVar[_Kind] = "gauge"
    labels: ClassVar[tuple[str, ...]] = ("database", "server")
    value: ClassVar[str | None] = "size"
    help: ClassVar[str] = "Bytes of the log by which a replica is behind; 0 when it has all that is known."

    database: str
    server: str
    seconds: float
    size: int


@dataclass(frozen=True, slots=True)
class ServerEjected(Event):
    """A server is asked nothing until its monitor hears of it again. ``reason``: lost, slow, or foreign
    (of another cluster)."""

    metric: ClassVar[str] = "db_ejections_total"
    kind: ClassVar[_Kind] = "counter"
    labels: ClassVar[tuple[str, ...]] = ("database", "server", "reason")
    help: ClassVar[str] = "Times that a server was taken out because it failed or was slow."

    database: str
    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failover(Event):
    """Writes go to another server than before."""

    metric: ClassVar[str] = "db_failovers_total"
    kind: ClassVar[_Kind] = "counter"
    labels: ClassVar[tuple[str, ...]] = ("database", "server")
    help: ClassVar[str] = "Times that another server became the primary."

    database: str
    server: str
