"""How a database's servers are reached and chosen."""

import math
from dataclasses import dataclass

from ramkit.kernel.errors import ConfigurationError

__all__ = ["DatabasePolicy", "Server"]


@dataclass(frozen=True, slots=True)
class Server:
    """A server behind pgbouncer in transaction mode.

    ``dsn``: pgbouncer's address. ``direct``: the server's own, by which its monitor sees role and lag. No
    session is ours then: statements are not prepared ahead, and what a transaction leaves behind is not
    reset. pgbouncer refuses the parameter for it, so that a read which falls to the primary is not held to be
    read-only.
    """

    dsn: str
    direct: str

    @property
    def pooled(self) -> bool:
        """Whether somebody else's pool is in between."""
        return self.dsn != self.direct


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabasePolicy:
    """All times in seconds.

    ``min_size``, ``max_size``: connections to each server. ``idle_timeout``: until an idle one beyond
    ``min_size`` is closed. ``connect_timeout``: also for anything else that the server itself has to answer,
    such as a reset or a monitor's question. ``acquire_timeout``: for a connection to become free.
    ``max_lag``, ``max_lag_bytes``: how far behind a replica may be (None: any). ``max_latency``: of a
    monitor's question, until the server is ejected as slow. ``primary_share``: the part of the primary's
    connections that reads may have at once while there are replicas. ``floor_wait``: how long a read waits
    for a replica to reach its floor before it goes to the primary. ``monitor_interval``: between looks at
    each server. ``slow_query``: from when on a statement is told to observers. ``close_timeout``: for what is
    lent out when the database is closed.
    """

    min_size: int = 2
    max_size: int = 10
    idle_timeout: float = 30
    connect_timeout: float = 2
    acquire_timeout: float = 5
    max_lag: float | None = 30
    max_lag_bytes: int | None = None
    max_latency: float = 1
    primary_share: float = 0.5
    floor_wait: float = 0.05
    monitor_interval: float = 1
    slow_query: float = 1
    close_timeout: float = 5
    application_name: str = "ramkit"

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise ConfigurationError("max_size", f"{self.max_size!r} is less than one connection")
        if not 0 <= self.min_size <= self.max_size:
            raise ConfigurationError("min_size", f"{self.min_size!r} is not between 0 and max_size")
        for name in ("idle_timeout", "connect_timeout", "acquire_timeout", "max_latency", "monitor_interval"):
            _finite(name, getattr(self, name), above=0)
        for name in ("floor_wait", "slow_query", "close_timeout"):
            _finite(name, getattr(self, name))
        if self.max_lag is not None:
            _finite("max_lag", self.max_lag)
        if self.max_lag_bytes is not None and self.max_lag_bytes < 0:
            raise ConfigurationError("max_lag_bytes", f"{self.max_lag_bytes!r} is negative")
        if not 0 < self.primary_share <= 1:
            raise ConfigurationError("primary_share", f"{self.primary_share!r} is not above 0 and at most 1")

    @property
    def primary_reads(self) -> int:
        """The connections to the primary that reads may have at once while there are replicas."""
        return max(1, int(self.max_size * self.primary_share))


def _finite(name: str, value: float, *, above: float | None = None) -> None:
    low = value <= above if above is not None else value < 0
    if low or not math.isfinite(value):
        bound = f"above {above:g}" if above is not None else "at least 0"
        raise ConfigurationError(name, f"{value!r} is no number of seconds {bound}")
