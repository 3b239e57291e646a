"""Which route a path is: a radix tree over the segments of paths.

Each node knows its static children by name, so that a step costs the same whatever stands beside. Where
several could go on, static comes before parameter before tail, and what leads nowhere is given up for the
next one. Each node is looked at once at most, and a path is cut into no more segments than the longest
route has: what a hostile path costs is bounded by the routes, not by the path.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import unquote

from ramkit.kernel.errors import ConfigurationError
from ramkit.router.core.pattern import CONVERTERS, Parameter, Pattern

__all__ = ["ANY", "Found", "Tree", "segments_of"]

T = TypeVar("T")

#: stands for every method of HTTP
ANY = "*"
_RANK = {name: rank for rank, name in enumerate(CONVERTERS)}
#: by method; None is a WebSocket
_Leaf = dict[str | None, T]


#: The route, the values of its parameters in order, and of a mount what is below: "", or from "/" on.
Found: TypeAlias = tuple[T, list[Any], str | None]


class _Node(Generic[T]):
    __slots__ = ("leaf", "mount", "parameters", "static", "tail")

    def __init__(self) -> None:
        self.static: dict[str, _Node[T]] = {}
        #: with their converter's name and function, in the order in which they are tried
        self.parameters: list[tuple[str, Callable[[str], Any] | None, _Node[T]]] = []
        self.leaf: _Leaf[T] = {}
        self.tail: _Leaf[T] = {}
        self.mount: T | None = None

    def child(self, segment: str | Parameter) -> "_Node[T]":
        if isinstance(segment, str):
            return self.static.setdefault(segment, _Node())
        for converter, _, node in self.parameters:
            if converter == segment.converter:
                return node
        node = _Node[T]()
        self.parameters.append((segment.converter, CONVERTERS[segment.converter], node))
        self.parameters.sort(key=lambda each: _RANK[each[0]])
        return node


class Tree(Generic[T]):
    """Routes by pattern and method."""

    def __init__(self) -> None:
        self._root = _Node[T]()
        #: paths without parameters: nothing comes before them
        self._exact: dict[str, _Leaf[T]] = {}
        self._depth = 1

    def add(self, method: str | None, pattern: Pattern, route: T) -> None:
        """Raises ``ConfigurationError`` when that method of that path is taken."""
        node = self._node(pattern)
        if pattern.tail is not None and node.mount is not None:
            raise ConfigurationError("path", f"{pattern.template!r} is all below a mount: {node.mount}")
        leaf = node.leaf if pattern.tail is None else node.tail
        if method in leaf:
            raise ConfigurationError("path", f"{pattern.template!r} is there already: {leaf[method]}")
        leaf[method] = route
        if pattern.tail is None and not pattern.parameters:
            self._exact[pattern.template] = leaf

    def mount(self, pattern: Pattern, route: T) -> None:
        """For the path itself and all below it, whatever the method, where no other route is."""
        node = self._node(replace(pattern, segments=()) if pattern.segments == ("",) else pattern)
        taken = node.mount or next(iter(node.tail.values()), None)
        if taken is not None:
            raise ConfigurationError("path", f"{pattern.template!r} has all below it already: {taken}")
        node.mount = route

    def _node(self, pattern: Pattern) -> _Node[T]:
        node = self._root
        for segment in pattern.segments:
            node = node.child(segment)
        self._depth = max(self._depth, len(pattern.segments) + 1)
        return node

    def find(self, method: str | None, path: str, raw: bytes | None = None) -> Found[T] | None:
        """``raw``: the path as it was sent; where it has an encoded slash, that slash separates nothing."""
        if raw is None or b"%2" not in raw:
            leaf = self._exact.get(path)
            if leaf is not None and (route := leaf.get(method)) is not None:
                return route, [], None
        parts = segments_of(path, raw, self._depth)
        return self._straight(method, parts) or _Search[T](method, parts).walk(self._root, 1, [])

    def _straight(self, method: str | None, parts: list[str]) -> Found[T] | None:
        """The first choice at each node, which is where most paths lead; None if it leads nowhere."""
        node, values = self._root, list[Any]()
        for part in parts[1:]:
            child = node.static.get(part)
            if child is None:
                if not part:
                    return None
                for _, convert, child in node.parameters:  # noqa: B007 - the first that fits is gone on with
                    value = part if convert is None else convert(part)
                    if value is not None:
                        values.append(value)
                        break
                else:
                    return None
            node = child
        route = node.leaf.get(method)
        return None if route is None else (route, values, None)

    def allowed(self, path: str, raw: bytes | None = None) -> dict[str, T]:
        """The methods that are routed for this path, each with its route."""
        search = _Search[T]("", segments_of(path, raw, self._depth))
        search.walk(self._root, 1, [])
        return search.allowed


def segments_of(path: str, raw: bytes | None, most: int) -> list[str]:
    """The decoded segments after an empty one; beyond ``most`` the rest is one.

    ``raw`` counts only when it is that path (a middleware may have changed one and not the other).
    """
    if raw is not None and b"%2" in raw:
        text = raw.decode("latin-1")
        if "%2f" in text.lower() and unquote(text) == path:
            return [unquote(each) for each in text.split("/", most)]
    return path.split("/", most)


class _Search(Generic[T]):
    __slots__ = ("allowed", "method", "parts")

    def __init__(self, method: str | None, parts: list[str]) -> None:
        self.method, self.parts = method, parts
        self.allowed: dict[str, T] = {}

    def walk(self, node: _Node[T], index: int, values: list[Any]) -> Found[T] | None:
        """``values``: of the parameters so far; left as it was where nothing is found."""
        if index == len(self.parts):
            if node.leaf and (route := self._of(node.leaf)) is not None:
                return route, values, None
            return None if node.mount is None else (node.mount, values, "")
        part = self.parts[index]
        child = node.static.get(part)
        if child is not None and (found := self.walk(child, index + 1, values)) is not None:
            return found
        for _, convert, child in node.parameters:
            value = part if convert is None else convert(part)
            if part and value is not None:
                values.append(value)
                if (found := self.walk(child, index + 1, values)) is not None:
                    return found
                values.pop()
        if node.mount is not None:
            return node.mount, values, "/" + "/".join(self.parts[index:])
        if node.tail and (route := self._of(node.tail)) is not None:
            values.append("/".join(self.parts[index:]))
            return route, values, None
        return None

    def _of(self, leaf: _Leaf[T]) -> T | None:
        """The route of this method; noted for Allow are the others."""
        method = self.method
        if method in leaf:
            return leaf[method]
        if method is None:
            return None
        if method == "HEAD" and "GET" in leaf:
            return leaf["GET"]
        if ANY in leaf and method:
            return leaf[ANY]
        for name, route in leaf.items():
            if name is not None:
                self.allowed.setdefault(name, route)
        return None
