"""SIEVE: which value leaves a full cache.

Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is Simpler than LRU", NSDI 2024. Values stand in the order of
their arrival, and a hit sets one bit. When room is needed a hand walks from the oldest towards the newest:
what was hit since it last passed keeps its place and loses the bit, what was not leaves. So a scan, whose
values are never hit, leaves as it came and takes nothing with it.
"""

from typing import Generic, TypeVar

__all__ = ["Node", "Sieve"]

T = TypeVar("T")


class Node(Generic[T]):
    """A value in its place. ``expires``: when it may leave whether it was hit or not."""

    __slots__ = ("expires", "key", "newer", "older", "size", "value", "visited")

    def __init__(self, key: bytes, value: T, size: int, expires: float) -> None:
        self.key, self.value, self.size, self.expires = key, value, size, expires
        self.visited = False
        self.newer: Node[T] | None = None
        self.older: Node[T] | None = None


class Sieve(Generic[T]):
    """Values by key, at most ``max_size`` of them by the sum of their sizes. No operation walks further
    than to what it removes; each step of the hand is paid for by a hit or an arrival."""

    __slots__ = ("_hand", "_newest", "_oldest", "max_size", "nodes", "size")

    def __init__(self, max_size: int) -> None:
        self.max_size, self.size = max_size, 0
        #: for readers, who set ``visited`` themselves: a call less on the hot path
        self.nodes: dict[bytes, Node[T]] = {}
        self._hand: Node[T] | None = None
        self._newest: Node[T] | None = None
        self._oldest: Node[T] | None = None

    def put(self, key: bytes, value: T, size: int, expires: float, now: float) -> None:
        """Replace or add a value of at most ``max_size``; others leave until it fits."""
        node = self.nodes.get(key)
        if node is not None:
            # It keeps its place and its bit: a refresh says nothing about how often it is asked for.
            self.size += size - node.size
            node.value, node.size, node.expires = value, size, expires
            self._shrink(now, keep=node)
            return
        self.size += size
        self._shrink(now)
        node = self.nodes[key] = Node(key, value, size, expires)
        node.older, self._newest = self._newest, node
        if node.older is not None:
            node.older.newer = node
        else:
            self._oldest = node

    def drop(self, key: bytes) -> None:
        """Remove a value if it is there."""
        node = self.nodes.pop(key, None)
        if node is None:
            return
        self.size -= node.size
        if self._hand is node:
            self._hand = node.newer
        if node.newer is not None:
            node.newer.older = node.older
        else:
            self._newest = node.older
        if node.older is not None:
            node.older.newer = node.newer
        else:
            self._oldest = node.newer
        # A ring of references would keep it until the garbage collector's next round.
        node.newer = node.older = None

    def _shrink(self, now: float, keep: Node[T] | None = None) -> None:
        while self.size > self.max_size:
            node = self._hand or self._oldest
            if node is None:
                return
            self._hand = node.newer
            if node is keep:
                continue
            if node.visited and node.expires > now:
                node.visited = False
            else:
                self.drop(node.key)
