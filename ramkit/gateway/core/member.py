"""One server, and what is known of it."""

from enum import Enum
from urllib.parse import urlsplit

from ramkit.gateway.core.window import Window

__all__ = ["Member", "Outcome"]


class Outcome(Enum):
    """How an attempt ended. ABANDONED: by the client or by us, which says nothing of the server."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    ABANDONED = "abandoned"


class Member:
    """One server of an upstream. Others read; ``Group`` writes."""

    __slots__ = (
        "check_at", "ejected_until", "ejections", "healthy", "host", "outstanding", "port", "recent",
        "returned", "row", "scheme", "shunned_until", "since", "streak", "trial", "url", "weight",
    )  # fmt: skip

    def __init__(self, url: str, window: float, now: float) -> None:
        parts = urlsplit(url)
        self.url = url
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        self.port = parts.port or 0
        #: attempts under way
        self.outstanding = 0
        #: its part of the requests, less than 1 while it comes back
        self.weight = 1.0
        #: failures in a row, and all attempts of the last seconds
        self.row = 0
        self.recent = Window(window, now)
        #: attempts with a lower number began before the last verdict and say nothing
        self.since = 0
        #: None while it is not ejected; how often it was; the attempt that tries it
        self.ejected_until: float | None = None
        self.ejections = 0
        self.trial = 0
        #: when it came back; until when it gets little, though it is not ejected
        self.returned = self.shunned_until = float("-inf")
        #: what the health checks say: for how many checks in a row they have said otherwise; the next one
        self.healthy = True
        self.streak = 0
        self.check_at = now

    def __repr__(self) -> str:
        return f"<Member {self.url}>"
