"""Which route a request takes: by host, then by the longest path, in whole segments.

Servers read the same path differently: some take ``%2F`` and a backslash for a separator, fold empty
segments, cut ``;x`` off, resolve dot segments (RFC 3986 §5.2.4). A gateway that reads ``/public/..%2Fadmin``
one way, and its upstream another, sends to one server what belongs to another. So a path takes a route only
if every reading of it takes the same route, and none if it has dot segments in any spelling: clients
resolve those themselves before they send (§6.2.2.3).
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from ramkit.gateway.policy import Route

__all__ = ["Routes", "stripped"]

#: What makes readings differ, and what has to be decoded before that is seen.
_SPECIAL = re.compile(r"[\\;]|//|/\.")
_ENCODED = re.compile(r"[%\\;\x80-\xff]|//|/\.")
_SEPARATOR = re.compile(r"(%2[fF]|%5[cC]|\\)")
_PORT = re.compile(r":\d*\Z")


class Routes:
    """Routes, looked up by dictionary: the cost grows with the depth of the paths, not with their number."""

    __slots__ = ("_anywhere", "_hosts", "_labels", "_wildcards")

    def __init__(self, routes: Sequence[Route]) -> None:
        self._hosts: dict[str, _Paths] = {}
        self._wildcards: dict[str, _Paths] = {}
        self._anywhere = _Paths()
        for route in routes:
            self._table(route.host).add(route)
        self._labels = max((host.count(".") + 1 for host in self._wildcards), default=0)

    def _table(self, host: str | None) -> "_Paths":
        if host is None:
            return self._anywhere
        if host.startswith("*."):
            return self._wildcards.setdefault(host[2:], _Paths())
        return self._hosts.setdefault(host, _Paths())

    def match(self, host: str, path: str) -> Route | None:
        """The route for a Host field's value (a port does not count) and a path as sent: percent-encoded,
        without the query. None if there is none, or if servers could read the path differently."""
        if not path.startswith("/"):
            return None
        readings = _readings(path)
        if readings is None:
            return None
        first, *others = readings
        for table in self._tables(host):
            route = table.find(first)
            if any(table.find(reading) is not route for reading in others):
                return None
            if route is not None:
                return route
        return None

    def _tables(self, host: str) -> "list[_Paths]":
        """Those for a host, the most special first."""
        if not self._hosts and not self._wildcards:
            return [self._anywhere]
        name = _PORT.sub("", host).lower().removesuffix(".")
        tables: list[_Paths] = []
        if (exact := self._hosts.get(name)) is not None:
            tables.append(exact)
        # only so many labels as some wildcard has: a Host of a thousand dots costs no more
        for count in range(min(self._labels, name.count(".")), 0, -1):
            below = ".".join(name.rsplit(".", count)[1:])
            if (wildcard := self._wildcards.get(below)) is not None:
                tables.append(wildcard)
        tables.append(self._anywhere)
        return tables


class _Paths:
    """The routes of one host."""

    __slots__ = ("_below", "_deepest", "_exact")

    def __init__(self) -> None:
        self._exact: dict[str, Route] = {}
        self._below: dict[str, Route] = {}
        self._deepest = 0

    def add(self, route: Route) -> None:
        if route.path.endswith("/*"):
            prefix = route.path[:-2]
            self._below[prefix] = route
            self._deepest = max(self._deepest, prefix.count("/"))
        else:
            self._exact[route.path] = route

    def find(self, path: str) -> Route | None:
        if (route := self._exact.get(path)) is not None:
            return route
        # "/a/b/c" of at most two segments: "/a/b", "/a", ""
        prefix = path
        if prefix.count("/") > self._deepest:
            prefix = "/".join(prefix.split("/", self._deepest + 1)[: self._deepest + 1])
        while True:
            if (route := self._below.get(prefix)) is not None:
                return route
            if not prefix:
                return None
            prefix = prefix.rpartition("/")[0]


def _readings(path: str) -> list[str] | None:
    """How servers may read a path, the plain reading first; None with dot segments."""
    if not _ENCODED.search(path):
        return [path]
    decoded = _decode(path)
    if not _SEPARATOR.search(path) and not _SPECIAL.search(decoded):
        return [decoded]
    folded = re.sub(r"/+", "/", decoded.replace("\\", "/"))
    segments = [segment.partition(";")[0] for segment in folded.split("/")]
    if "." in segments or ".." in segments:
        return None
    # what _SEPARATOR finds stands at the odd places
    parts = _SEPARATOR.split(path)
    plain = "".join(part if index % 2 else _decode(part) for index, part in enumerate(parts))
    return [plain, folded, "/".join(segments)]


def _decode(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8", "replace")


def stripped(route: Route, path: str) -> str:
    """The path as the upstream sees it: with ``strip_prefix`` without as many segments as the prefix has.

    ``path``: as sent. What remains is as sent as well, down to the spelling of each octet.
    """
    if not route.strip_prefix:
        return path
    parts = path.split("/", route.path.count("/"))
    return "/" + parts[-1] if len(parts) > route.path.count("/") else "/"
