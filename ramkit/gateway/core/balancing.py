"""Which of several servers gets a request.

Each kind has one method: ``pick`` gives one of the members that has not been tried and has fewer than
``limit`` attempts under way, or None. A member that comes back (``weight`` below 1) gets that part of what it
would get otherwise.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from typing import Protocol

from ramkit.gateway.core.member import Member
from ramkit.gateway.policy import Balance

__all__ = ["Balancer", "ConsistentHash", "LeastOutstanding", "RoundRobin", "TwoChoices", "balancer"]

Random = Callable[[], float]

#: Points of each server on the ring: their parts differ by some 8 % (one deviation).
_POINTS = 160


class Balancer(Protocol):
    """A way to choose."""

    def pick(
        self, members: Sequence[Member], key: bytes, tried: Collection[Member], limit: int, /
    ) -> Member | None: ...


class LeastOutstanding:
    """The server with the fewest attempts under way, for its weight; equal ones in turn."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = 0

    def pick(
        self, members: Sequence[Member], _key: bytes, tried: Collection[Member], limit: int, /
    ) -> Member | None:
        count = len(members)
        if not count:
            return None
        self._turn = turn = (self._turn + 1) % count
        best, lowest = None, float("inf")
        for index in range(turn - count, turn):
            member = members[index]
            load = (member.outstanding + 1) / member.weight
            if load < lowest and member.outstanding < limit and (not tried or member not in tried):
                best, lowest = member, load
                if load == 1.0:
                    break
        return best


class TwoChoices:
    """The better of two drawn at random: the fullest of n servers is then log log n above the mean instead of
    log n / log log n (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001), and the
    cost does not grow with their number."""

    __slots__ = ("_least", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._least = LeastOutstanding()

    def pick(
        self, members: Sequence[Member], _key: bytes, tried: Collection[Member], limit: int, /
    ) -> Member | None:
        count = len(members)
        if count < 3 or tried:
            return self._least.pick(members, _key, tried, limit)
        first = int(self._random() * count)
        second = int(self._random() * (count - 1))
        one, other = members[first], members[second + (second >= first)]
        if (other.outstanding + 1) / other.weight < (one.outstanding + 1) / one.weight:
            one = other
        return one if one.outstanding < limit else self._least.pick(members, _key, tried, limit)


class RoundRobin:
    """Each in turn. One that comes back is passed over, with the probability that its weight lacks."""

    __slots__ = ("_random", "_turn")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._turn = -1

    def pick(
        self, members: Sequence[Member], _key: bytes, tried: Collection[Member], limit: int, /
    ) -> Member | None:
        count = len(members)
        passed: Member | None = None
        for _ in range(count):
            self._turn = (self._turn + 1) % count
            member = members[self._turn]
            if member.outstanding >= limit or (tried and member in tried):
                continue
            if member.weight == 1.0 or self._random() < member.weight:
                return member
            passed = passed or member
        return passed


class ConsistentHash:
    """The same server for the same key: the next on a ring of points (Karger et al., "Consistent Hashing and
    Random Trees", 1997). A server that is not to be had leaves its keys to the next ones, the others keep
    theirs; so one of n that comes or goes moves about 1/n of the keys."""

    __slots__ = ("_owners", "_points", "_random")

    def __init__(self, members: Sequence[Member], random: Random) -> None:
        ring = sorted(
            (_point(b"%d:%b" % (number, member.url.encode())), member.url, member)
            for member in members
            for number in range(_POINTS)
        )
        self._points = [point for point, _, _ in ring]
        self._owners = [member for _, _, member in ring]
        self._random = random

    def pick(
        self, members: Sequence[Member], key: bytes, tried: Collection[Member], limit: int, /
    ) -> Member | None:
        owners = self._owners
        count = len(owners)
        start = bisect_left(self._points, _point(key))
        passed: list[Member] = []
        for index in range(start - count, start):
            member = owners[index]
            if member in passed or member not in members or member in tried or member.outstanding >= limit:
                continue
            if member.weight == 1.0 or self._random() < member.weight:
                return member
            passed.append(member)
        return passed[0] if passed else None


def _point(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def balancer(balance: Balance, members: Sequence[Member], random: Random) -> Balancer:
    """The one of that name."""
    if balance == "consistent_hash":
        return ConsistentHash(members, random)
    if balance == "round_robin":
        return RoundRobin(random)
    return TwoChoices(random) if balance == "two_choices" else LeastOutstanding()
