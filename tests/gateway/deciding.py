"""A group under test: time and chance in the test's hands."""

import random
from typing import Any

from ramkit.gateway.core.members import Group, Member, Outcome
from ramkit.gateway.policy import Upstream


class Driven:
    """A group and its clock. Requests begin with ``begin`` and end with ``end``; ``ask`` does both."""

    def __init__(self, servers: int = 3, *, now: float = 1000.0, seed: int = 1, **upstream: Any) -> None:
        self.now = now
        self.random = random.Random(seed)
        urls = [f"http://10.0.0.{number}:80" for number in range(1, servers + 1)]
        self.group = Group(Upstream("u", urls, **upstream), now, random=self.random.random)

    @property
    def members(self) -> tuple[Member, ...]:
        return self.group.members

    def begin(
        self, member: Member | None = None, *, key: bytes = b"", tried: tuple[Member, ...] = ()
    ) -> tuple[Member, int] | None:
        member = member or self.group.choose(self.now, key=key, tried=tried)
        return None if member is None else (member, self.group.started(member, self.now))

    def end(self, begun: tuple[Member, int], outcome: Outcome = Outcome.SUCCESS) -> None:
        self.group.finished(begun[0], self.now, outcome, begun[1])

    def ask(
        self,
        outcome: Outcome = Outcome.SUCCESS,
        *,
        member: Member | None = None,
        key: bytes = b"",
        tried: tuple[Member, ...] = (),
    ) -> Member | None:
        begun = self.begin(member, key=key, tried=tried)
        if begun is None:
            return None
        self.end(begun, outcome)
        return begun[0]

    def fail(self, member: Member, times: int = 5) -> None:
        for _ in range(times):
            self.ask(Outcome.FAILURE, member=member)

    def probe(self, member: Member, *, healthy: bool, times: int = 1) -> None:
        for _ in range(times):
            self.group.probed(member, self.now, healthy)

    def chosen(self, times: int = 60) -> set[Member]:
        """Who gets requests now; each ends at once and says nothing."""
        return {
            member
            for number in range(times)
            if (member := self.ask(Outcome.ABANDONED, key=b"%d" % number)) is not None
        }
