"""What the user says about rates: so much in such a time, for each client, at once so many."""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeAlias, cast

from ramkit.kernel.asgi import Scope
from ramkit.kernel.errors import ConfigurationError

__all__ = ["Cost", "Exempt", "Key", "Policy", "exemption", "whole"]

#: Whose limit it is, by the request; None is one limit for all of whom nothing is known.
Key: TypeAlias = Callable[[Scope], str | bytes | Awaitable[str | bytes | None] | None]
#: What a request costs, in the units of the rate.
Cost: TypeAlias = Callable[[Scope], int | Awaitable[int]]
#: Decoded paths, in which ``*`` stands for any run of characters, or a function of the request.
Exempt: TypeAlias = Iterable[str] | Callable[[Scope], bool]

_SECOND = 1_000_000
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), _SECOND),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60 * _SECOND),
    **dict.fromkeys(("h", "hour", "hours"), 3600 * _SECOND),
    **dict.fromkeys(("d", "day", "days"), 86400 * _SECOND),
}
_RATE = re.compile(r"(?:more than +)?(\d{1,18}) *(?:/|per\b|in\b) *(\d{0,18}) *([a-z]+)", re.ASCII)
_NGINX = re.compile(r"rate=(\d{1,18})r/([sm])(?: +burst=(\d{1,18}))?( +nodelay)?", re.ASCII)
#: an sf-string (RFC 9651 §3.3.3) that needs no escapes, and a part of a key that needs none either
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: µs: what a bucket may take to fill, ten years. Any later time is then an exact number in Lua.
_LONGEST = 315_360_000 * _SECOND
#: what servers behind may take away (RFC 3986 §5.2.4), also with parameters or backslashes
_DOTS = re.compile(r"[/\\]\.{1,2}(?:[/\\;]|\Z)")


@dataclass(frozen=True, slots=True)
class Policy:
    """A rate for each key, and how much of it may come at once.

    ``name`` is told to clients and part of the keys in the store: letters, digits, ``_``, ``.``, ``-``.
    ``rate``: ``"100/s"``, ``"10/minute"``, ``"1000/h"``, ``"100/10s"``, or as one says it for HAProxy,
    ``"more than 100 in 10 s"``; a million a second at most. One unit is earned each period / count, rounded
    up to a whole microsecond. ``burst``: how many a client that was idle has at once; by default the rate's
    count.

    ``key``: whose limit it is, a function of the scope, plain or async; by default ``by_client``. ``cost``:
    units a request, a number or a function of the scope; 0 is free. ``on="message"`` counts what a
    WebSocket receives instead of requests and handshakes. ``on_failure``: what counts while the store does
    not answer: ``local``, a limit in each process; ``open``, no limit; ``closed``, 503. ``dry_run`` counts
    and tells observers, and refuses nobody. ``exempt``: paths, or a function of the scope, that this policy
    is not about.
    """

    name: str
    rate: str
    _: KW_ONLY
    burst: int | None = None
    key: Key | None = None
    cost: int | Cost = 1
    on: Literal["request", "message"] = "request"
    on_failure: Literal["local", "open", "closed"] = "local"
    dry_run: bool = False
    exempt: Exempt = ()
    #: µs in which one unit is earned, units at once, and µs in which all of these are
    interval: int = field(init=False, repr=False)
    quota: int = field(init=False, repr=False)
    limit: int = field(init=False, repr=False)
    is_exempt: Callable[[Scope], bool] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(cast(object, self.name), str) or not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                "name", f"{self.name!r} is not 1 to 64 of letters, digits, '_', '.', '-'"
            )
        count, period = _rate(self.rate)
        quota = count if self.burst is None else self.burst
        if not whole(quota) or quota < 1:
            raise ConfigurationError("burst", "is no whole number of at least 1")
        interval = -(-period // count)
        if quota > _LONGEST // interval:
            raise ConfigurationError("burst", f"so many at {self.rate} take more than ten years to earn")
        if not callable(self.cost) and (not whole(self.cost) or self.cost < 0):
            raise ConfigurationError("cost", "is neither a function nor a whole number of at least 0")
        if self.key is not None and not callable(cast(object, self.key)):
            raise ConfigurationError("key", f"{self.key!r} is no function of the scope")
        for name, choices in (("on", ("request", "message")), ("on_failure", ("local", "open", "closed"))):
            if getattr(self, name) not in choices:
                raise ConfigurationError(name, f"{getattr(self, name)!r} is none of {', '.join(choices)}")
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "quota", quota)
        object.__setattr__(self, "limit", quota * interval)
        object.__setattr__(self, "is_exempt", exemption(self.exempt))

    @classmethod
    def nginx(cls, name: str, line: str, **options: Any) -> "Policy":
        """As nginx has it: ``Policy.nginx("api", "rate=100r/s burst=200 nodelay")``.

        Its ``burst`` does not count the request that is under way, so it admits 201 at once there, and here.
        Without ``nodelay`` nginx delays what is above the rate; nothing here does: that is an error,
        unless there is no burst to delay.
        """
        found = _NGINX.fullmatch(line.strip())
        if found is None:
            raise ConfigurationError("rate", f"{line!r} is not of the form 'rate=100r/s burst=200 nodelay'")
        count, unit, burst, nodelay = found.groups()
        if int(burst or 0) and not nodelay:
            raise ConfigurationError("rate", f"{line!r} delays requests; say nodelay")
        return cls(name, f"{count}/{unit}", burst=int(burst or 0) + 1, **options)


def exemption(exempt: Exempt) -> Callable[[Scope], bool] | None:
    """Whether a request is exempt; None if none is."""
    if callable(exempt):
        return exempt
    if isinstance(exempt, str):
        raise ConfigurationError("exempt", f"{exempt!r} is one string: give a list of them")
    paths = tuple(exempt)
    for path in paths:
        if not isinstance(cast(object, path), str) or not path.startswith(("/", "*")):
            raise ConfigurationError("exempt", f"{path!r} must be a string that begins with '/' or '*'")
    if not paths:
        return None
    pattern = re.compile("|".join(map(_pattern, paths)), re.DOTALL)
    return lambda scope: pattern.fullmatch(scope["path"]) is not None and _DOTS.search(scope["path"]) is None


def _pattern(path: str) -> str:
    """What stands between two stars is looked for once, from the left: a client's path costs linear time."""
    first, *rest = map(re.escape, path.split("*"))
    if not rest:
        return first
    return first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + ".*" + rest[-1]


def _rate(rate: object) -> tuple[int, int]:
    """Count and period in µs."""
    found = _RATE.fullmatch(rate.strip().lower()) if isinstance(rate, str) else None
    if found is None or found[3] not in _UNITS:
        raise ConfigurationError("rate", f"{rate!r} is not of the form '100/s', '10/minute' or '100/10s'")
    count, period = int(found[1]), int(found[2] or 1) * _UNITS[found[3]]
    if not 1 <= count <= period:
        raise ConfigurationError("rate", f"{rate!r} is not between one and a million a second")
    return count, period


def whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
