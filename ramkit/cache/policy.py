"""What the user says about caching: rules by path."""

import math
import re
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Literal, cast

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Rule", "check_names", "check_seconds", "glob"]


#: ``..`` or ``.`` as a segment, also by a backslash and with parameters, as some servers have it.
_DOTS = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\;]|$)")
_CHOICES = {
    "cookies": ("private", "ignore"),
    "identity": ("private", "ignore"),
    "set_cookie": ("private", "everybody"),
    "client_control": ("ignore", "follow"),
    "accept_language": ("exact", "negotiate"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """How responses below a path are cached. The first rule whose path matches counts.

    ``path``: as requested, decoded; ``*`` stands for any run of characters, also over
    ``/``, ``?`` for any one.
    ``ttl``: seconds for responses that say nothing of their own lifetime (Cache-Control, Expires);
    0 stores only what the app itself makes cacheable. ``heuristic``: a fraction of the time since
    Last-Modified instead, where there is one (RFC 9111 §4.2.2; 0.1 is usual). ``negative_ttl``: seconds for
    404, 405, 410, 414 and 501 that say nothing, and the most for 5xx that say so themselves; 0 keeps
    neither. ``browser_ttl``: seconds that browsers may keep unasked what says nothing itself; 0 has them
    revalidate by ETag, because nobody can purge a browser. ``groups``: names for ``Cache.purge_groups``.
    ``stale_while_revalidate``: seconds beyond the ttl (RFC 5861), likewise for responses that say nothing;
    ``stale_if_error``: also for those that name a lifetime but neither window, unless they forbid it.

    ``cookies="ignore"``: requests with a Cookie share these responses. ``identity="ignore"``: so do
    those for which the app read a session or a principal. Both say that the response does not depend
    on who asks; if it does, one user gets another's. ``set_cookie="everybody"``: a response that sets a
    cookie is stored, and everybody gets that cookie.

    ``client_control="follow"``: no-cache, max-age, min-fresh and max-stale in a request count (§5.2.1), so
    anybody can send load past the cache. ``accept_language="negotiate"``: languages that a request likes
    equally count as the same in any order, and a response in the one that it likes best answers it,
    whatever else it names.

    The query is part of the key as it stands, or with ``query_sort`` sorted by name, with
    ``query_select`` only these parameters, with ``query_ignore`` all but these (``utm_*`` is a prefix). A
    parameter with a semicolon, which some apps take for two, always counts.
    """

    path: str
    _: KW_ONLY
    ttl: float = 60
    heuristic: float = 0
    negative_ttl: float = 0
    browser_ttl: float = 0
    groups: Collection[str] = ()
    stale_while_revalidate: float = 0
    stale_if_error: float = 0
    cookies: Literal["private", "ignore"] = "private"
    identity: Literal["private", "ignore"] = "private"
    set_cookie: Literal["private", "everybody"] = "private"
    client_control: Literal["ignore", "follow"] = "ignore"
    accept_language: Literal["exact", "negotiate"] = "exact"
    query_select: Collection[str] | None = None
    query_ignore: Collection[str] = ()
    query_sort: bool = False
    _path: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(cast(object, self.path), str) or not self.path.startswith(("/", "*")):
            raise ConfigurationError("path", f"{self.path!r} must be a string that begins with '/' or '*'")
        for name in ("ttl", "negative_ttl", "browser_ttl", "stale_while_revalidate", "stale_if_error"):
            check_seconds(name, getattr(self, name))
        for name in ("groups", "query_ignore", "query_select"):
            value: object = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check_names(name, value))
        if not 0 <= check_seconds("heuristic", self.heuristic) <= 1:
            raise ConfigurationError("heuristic", f"{self.heuristic!r} is no fraction")
        for name, (safe, other) in _CHOICES.items():
            if getattr(self, name) not in (safe, other):
                raise ConfigurationError(name, f"{getattr(self, name)!r} is neither {safe!r} nor {other!r}")
        if self.query_select is not None and self.query_ignore:
            raise ConfigurationError("query_ignore", "says nothing beside query_select")
        object.__setattr__(self, "_path", glob(self.path))

    @property
    def gives_lifetime(self) -> bool:
        """Whether anything is stored because of this rule that does not say itself for how long."""
        return bool(self.ttl or self.heuristic or self.negative_ttl)

    @property
    def counts_all_of_query(self) -> bool:
        """Whether no part of a query is left out of the key."""
        return self.query_select is None and not self.query_ignore

    @property
    def strict(self) -> "Rule":
        """This rule without what it says of who asks: for paths that may mean another one further back."""
        return replace(self, cookies="private", identity="private", set_cookie="private")

    def matches(self, path: str) -> bool:
        """Whether this rule is about that decoded path. None is about one with dot segments: clients resolve
        them (RFC 3986 §5.2.4), and for whoever does so later it is another path."""
        return self._path.fullmatch(path) is not None and _DOTS.search(path) is None


def glob(pattern: str) -> "re.Pattern[str]":
    """A pattern as an expression that never goes back: what stands between two ``*`` is looked for once,
    leftmost, which finds a match if there is one. Time grows with the subject's length, not its powers."""
    first, *rest = (_literal(part) for part in re.split(r"\*+", pattern))
    if not rest:
        return re.compile(first, re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)


def _literal(part: str) -> str:
    return "".join("." if char == "?" else re.escape(char) for char in part)


def check_seconds(argument: str, value: object, *, zero: bool = True) -> float:
    """A finite number of seconds, not negative."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or cast(float, value) < 0 or (not zero and value == 0):
        raise ConfigurationError(argument, f"{value!r} is not a number of seconds")
    return cast(float, value)


def check_names(argument: str, value: object) -> tuple[str, ...]:
    """A collection of strings; one string is a mistake."""
    if isinstance(value, str) or not isinstance(value, Collection):
        raise ConfigurationError(argument, f"{value!r} must be a collection of strings")
    names: list[object] = list(cast(Collection[object], value))
    if not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(argument, f"{value!r} holds what is not a name")
    return tuple(cast(list[str], names))
