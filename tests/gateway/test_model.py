"""A group against small independent models, over random sequences of requests, outcomes, checks and time."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ramkit.gateway.core.breaker import Breaker
from ramkit.gateway.core.member import Member
from ramkit.gateway.core.members import Group, Outcome
from ramkit.gateway.core.outliers import Outliers
from ramkit.gateway.policy import Balance, CircuitBreaker, Ejection, HealthCheck, Upstream

BALANCES: list[Balance] = ["least_outstanding", "two_choices", "round_robin", "consistent_hash"]
OUTCOMES = st.sampled_from(Outcome)
EJECTION = Ejection(failures=3, requests=6, window=5, duration=2, longest=20, slow_start=4)
BREAKER = CircuitBreaker(requests=8, window=5, cooldown=3)
CHECK = HealthCheck(healthy=2, unhealthy=2)
LIMIT = 5


@dataclass
class Known:
    """What the model knows of a server: only what a reader of the docs would."""

    healthy: bool = True
    streak: int = 0
    under_way: int = 0


@dataclass
class Attempt:
    group: Group
    member: Member
    number: int


@dataclass
class Budgeted:
    requests: list[float] = field(default_factory=list)
    retries: list[float] = field(default_factory=list)


class GroupMachine(RuleBasedStateMachine):
    """Everything that may happen to a group, reloads included."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.chance = random.Random(3)
        self.count = 4
        self.balance = 0
        self.group = self._group()
        self.old: Group | None = None
        self.known = {member: Known() for member in self.group.members}
        self.attempts: list[Attempt] = []
        self.budget = Budgeted()

    def _group(self) -> Group:
        upstream = Upstream(
            "u",
            [f"http://10.0.0.{number}:80" for number in range(1, self.count + 1)],
            balance=BALANCES[self.balance % 4],
            ejection=EJECTION,
            breaker=BREAKER,
            health=CHECK,
            max_connections=LIMIT,
        )
        return Group(upstream, self.now, random=self.chance.random)

    def _in_service(self, member: Member) -> bool:
        return self.known[member].healthy and member.ejected_until is None

    @rule(key=st.binary(max_size=3), tried=st.sets(st.integers(0, 5), max_size=2))
    def request(self, key: bytes, tried: set[int]) -> None:
        left_out = [member for index, member in enumerate(self.group.members) if index in tried]
        over = [
            member
            for member in self.group.members
            if member.ejected_until is not None and self.now >= member.ejected_until
        ]
        before = {member: (member.trial, self._in_service(member)) for member in self.group.members}
        free = [
            member for member in self.group.members if member.outstanding < LIMIT and member not in left_out
        ]
        member = self.group.choose(self.now, key=key, tried=left_out)
        if member is None:
            return
        known = self.known[member]
        assert known.healthy
        assert member in free
        if any(before[each][1] for each in free):
            # an ejected one only as a trial: its time is over, and nobody else tries it
            trial = member in over and before[member][0] == 0 and not left_out
            assert before[member][1] or trial
        self._start(member)

    def _start(self, member: Member) -> None:
        number = self.group.started(member, self.now)
        self.attempts.append(Attempt(self.group, member, number))
        self.known[member].under_way += 1
        self.budget.requests.append(self.now)

    @rule()
    def retry(self) -> None:
        if self.group.may_retry(self.now):
            self.budget.retries.append(self.now)
            recent = sum(self.now - each <= 10 for each in self.budget.requests)
            spent = sum(self.now - each < 9 for each in self.budget.retries)
            assert spent <= 0.2 * recent + 100

    @precondition(lambda self: self.attempts)
    @rule(which=st.integers(0, 1000), outcome=OUTCOMES, many=st.integers(1, 5))
    def finish(self, which: int, outcome: Outcome, many: int) -> None:
        for _ in range(min(many, len(self.attempts))):
            attempt = self.attempts.pop(which % len(self.attempts))
            member = attempt.member
            ejected = member.ejected_until
            attempt.group.finished(member, self.now, outcome, attempt.number)
            if member in self.known:
                self.known[member].under_way -= 1
            if outcome is Outcome.ABANDONED:
                assert member.ejected_until == ejected

    @rule(index=st.integers(0, 5), times=st.integers(1, 6))
    def fails(self, index: int, times: int) -> None:
        """A server that fails for sure, so that ejection and breaker are reached often."""
        member = self.group.members[index % len(self.group.members)]
        for _ in range(times):
            if member.outstanding < LIMIT and self.known[member].healthy:
                self._start(member)
                attempt = self.attempts.pop()
                self.known[member].under_way -= 1
                self.group.finished(member, self.now, Outcome.FAILURE, attempt.number)

    @rule(index=st.integers(0, 5), healthy=st.booleans())
    def check(self, index: int, healthy: bool) -> None:
        member = self.group.members[index % len(self.group.members)]
        known = self.known[member]
        known.streak = known.streak + 1 if healthy != known.healthy else 0
        if known.streak == 2:
            known.healthy, known.streak = healthy, 0
        self.group.probed(member, self.now, healthy)

    @rule(seconds=st.sampled_from([0.01, 0.5, 2, 3, 7, 30]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(index=st.integers(0, 5), healthy=st.booleans())
    def check_of_an_old_group(self, index: int, healthy: bool) -> None:
        """It was under way when the description was loaded again."""
        if self.old is not None:
            self.old.probed(self.old.members[index % len(self.old.members)], self.now, healthy)

    @rule(count=st.integers(1, 6), balance=st.integers(0, 3))
    def reload(self, count: int, balance: int) -> None:
        self.count, self.balance = count, balance
        old, self.group = self.group, self._group()
        self.old = old
        self.group.carry(old)
        gone = self.known
        self.known = {}
        for member in self.group.members:
            same = next((each for each in old.members if each.url == member.url), None)
            assert same in (None, member)
            self.known[member] = gone[member] if same is not None else Known()

    @invariant()
    def outstanding_is_what_is_under_way(self) -> None:
        for member in self.group.members:
            assert member.outstanding == self.known[member].under_way >= 0

    @invariant()
    def health_is_what_the_checks_said(self) -> None:
        assert all(member.healthy == self.known[member].healthy for member in self.group.members)

    @invariant()
    def a_trial_is_under_way(self) -> None:
        """Else its end would never be noticed, and nobody would try the server again."""
        trials = {attempt.number for attempt in self.attempts}
        assert all(member.trial == 0 or member.trial in trials for member in self.group.members)
        assert all(member.trial == 0 or member.trial >= member.since for member in self.group.members)

    @invariant()
    def weights_are_parts(self) -> None:
        assert all(0 < member.weight <= 1 for member in self.group.members)

    @invariant()
    def an_ejection_ends_within_its_bound(self) -> None:
        for member in self.group.members:
            assert member.ejected_until is None or member.ejected_until <= self.now + EJECTION.longest

    def teardown(self) -> None:
        """All requests end, time passes, all is well: then all serve, and nothing stays under way."""
        while self.attempts:
            attempt = self.attempts.pop()
            attempt.group.finished(attempt.member, self.now, Outcome.ABANDONED, attempt.number)
        for member in self.group.members:
            assert member.outstanding == 0
            for _ in range(4):
                self.group.probed(member, self.now, healthy=True)
        for _ in range(4 * len(self.group.members)):
            self.now += EJECTION.longest
            chosen = self.group.choose(self.now)
            assert chosen is not None
            number = self.group.started(chosen, self.now)
            self.group.finished(chosen, self.now, Outcome.SUCCESS, number)
        assert all(self._serves(member) for member in self.group.members)

    def _serves(self, member: Member) -> bool:
        return member.healthy and member.ejected_until is None


TestGroup = GroupMachine.TestCase
TestGroup.settings = settings(stateful_step_count=60)


# -- the breaker alone -------------------------------------------------------------------------------


class ModelBreaker:
    """Three states, spelled out; each trial has its name."""

    def __init__(self) -> None:
        self.state, self.opened = "closed", 0.0
        self.trial: int | None = None

    def admits(self, now: float) -> bool:
        if self.state == "open" and now - self.opened >= BREAKER.cooldown:
            self.state = "half-open"
        return self.state == "closed" or (self.state == "half-open" and self.trial is None)

    def ended(self, attempt: int, outcome: Outcome, now: float) -> None:
        if self.state == "closed" or attempt != self.trial:
            return
        self.trial = None
        if outcome is Outcome.SUCCESS:
            self.state = "closed"
        elif outcome is not Outcome.ABANDONED:
            self.state, self.opened = "open", now


@given(
    steps=st.lists(
        st.one_of(
            st.just("ask"),
            st.sampled_from([0.5, 3.0]),
            st.tuples(st.integers(0, 100), OUTCOMES),
            st.just("bad"),
        ),
        max_size=60,
    )
)
def test_the_breaker_is_a_machine_of_three_states(
    steps: list[str | float | tuple[int, Outcome]],
) -> None:
    now, number = 50.0, 0
    breaker, model = Breaker(BREAKER), ModelBreaker()
    member = Member("http://h:80", BREAKER.window, now)
    under_way: list[int] = []
    for step in steps:
        if isinstance(step, float):
            now += step
        elif step == "ask":
            admitted = breaker.admits(now)
            assert admitted == model.admits(now)
            if admitted:
                number += 1
                under_way.append(number)
                if not breaker.closed:
                    breaker.started(number)
                    model.trial = number
        elif step == "bad":
            if model.state == "closed":
                for _ in range(BREAKER.requests):
                    member.recent.add(now, bad=True)
                breaker.judge([member], now)
                model.state, model.opened = "open", now
        elif isinstance(step, tuple) and under_way:
            attempt = under_way.pop(step[0] % len(under_way))
            if step[1] is Outcome.SUCCESS:
                breaker.succeeded(attempt)
            elif step[1] is Outcome.ABANDONED:
                breaker.abandoned(attempt)
            else:
                breaker.failed(attempt, now)
            model.ended(attempt, step[1], now)
        assert breaker.closed == (model.state == "closed")


# -- the slow start alone ----------------------------------------------------------------------------


@given(ages=st.lists(st.floats(0, 30), min_size=2).map(sorted), slow_start=st.sampled_from([0.0, 0.5, 10.0]))
def test_a_slow_start_only_grows(ages: list[float], slow_start: float) -> None:
    outliers = Outliers(Ejection(slow_start=slow_start))
    member = Member("http://h:80", 10, 0)
    outliers.warm(member, 0)
    weights: list[float] = []
    for age in ages:
        growing = outliers.weigh(member, age)
        weights.append(member.weight)
        assert growing == (age < slow_start)
        assert growing or member.weight == 1
    assert all(earlier <= later for earlier, later in pairwise(weights))
    assert all(0.1 <= weight <= 1 for weight in weights)


# -- a simulation of servers that fail ----------------------------------------------------------------


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("seed", range(3))
def test_while_one_server_is_well_requests_with_a_retry_are_answered(balance: Balance, seed: int) -> None:
    """Servers go down and up at random, one stays; each request may be repeated, within the budget."""
    chance = random.Random(seed)
    urls = [f"http://10.0.0.{number}:80" for number in range(1, 5)]
    upstream = Upstream("u", urls, balance=balance, ejection=Ejection(longest=20))
    group = Group(upstream, 0.0, random=chance.random)
    down: set[Member] = set()
    recent: list[Member] = []
    lost = wasted = 0
    for step in range(24_000):
        now = step * 0.01
        if step % 2000 == 0:
            down = set(chance.sample(group.members[1:], chance.randrange(4))) if step < 20_000 else set()
        tried: list[Member] = []
        while True:
            member = group.choose(now, key=b"%d" % (step % 97), tried=tried)
            if member is None or (tried and not group.may_retry(now)):
                lost += 1
                break
            number = group.started(member, now)
            good = member not in down
            group.finished(member, now, Outcome.SUCCESS if good else Outcome.FAILURE, number)
            if good:
                recent.append(member)
                break
            wasted += 1
            tried.append(member)
    assert lost == 0
    assert wasted < 0.02 * 24_000
    # all were well for 40 seconds: each does its part again
    assert all(recent[-1000:].count(member) > 100 for member in group.members)
