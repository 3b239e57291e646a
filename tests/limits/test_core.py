"""GCRA beside a token bucket in rationals, and beside nginx's and HAProxy's own counting."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.limits import Policy
from ramkit.limits.core import Charge, admits, backlog_of, decided

RATES = st.sampled_from(["1/s", "100/s", "3/s", "7/minute", "1000/h", "100/10s", "1000000/s", "1/d"])
#: µs between requests: at once, in the same burst, and long after
GAPS = st.one_of(st.just(0), st.integers(0, 50_000), st.integers(0, 10**9))


@dataclass
class Gcra:
    """One key, decided by core."""

    policy: Policy
    tat: int = 0

    def ask(self, now: int, cost: int = 1):
        charge = Charge(b"k", cost * self.policy.interval, self.policy.limit)
        backlog = backlog_of(self.tat, now, charge.limit)
        admitted = admits(backlog, charge)
        if admitted:
            self.tat = now + backlog + charge.increment
        return decided(self.policy, charge, backlog, self.policy.interval, "store", charged=admitted)


@dataclass
class TokenBucket:
    """The textbook's: tokens come in at a rate, none beyond the quota, each request takes its cost."""

    rate: Fraction
    quota: int
    tokens: Fraction = field(init=False)
    at: int = 0

    def __post_init__(self):
        self.tokens = Fraction(self.quota)

    def fill(self, now: int):
        self.tokens = min(self.tokens + self.rate * (now - self.at), Fraction(self.quota))
        self.at = now

    def ask(self, now: int, cost: int) -> bool:
        self.fill(now)
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


REQUESTS = st.lists(st.tuples(GAPS, st.integers(0, 5)), max_size=80)


@given(rate=RATES, burst=st.integers(1, 30), requests=REQUESTS)
def test_it_is_a_token_bucket(rate, burst, requests):
    policy = Policy("p", rate, burst=burst)
    gcra, bucket, now = Gcra(policy), TokenBucket(Fraction(1, policy.interval), burst), 0
    for gap, cost in requests:
        now += gap
        decision = gcra.ask(now, cost)
        assert decision.allowed == bucket.ask(now, cost)
        assert decision.remaining == math.floor(bucket.tokens)
        full = (burst - bucket.tokens) / bucket.rate
        assert decision.reset == float(full / 1_000_000)


@given(rate=RATES, burst=st.integers(1, 30), requests=REQUESTS)
def test_no_window_admits_more_than_quota_and_rate_allow(rate, burst, requests):
    policy = Policy("p", rate, burst=burst)
    gcra, now, admitted = Gcra(policy), 0, []
    for gap, cost in requests:
        now += gap
        if gcra.ask(now, cost).allowed:
            admitted.append((now, cost))
    for first, (begin, _) in enumerate(admitted):
        units = 0
        for end, cost in admitted[first:]:
            units += cost
            assert units <= burst + Fraction(end - begin, policy.interval)


@given(rate=RATES, burst=st.integers(1, 30), requests=REQUESTS, cost=st.integers(1, 40))
def test_retry_after_is_when_the_next_is_admitted_and_no_sooner(rate, burst, requests, cost):
    gcra, now = Gcra(Policy("p", rate, burst=burst)), 0
    for gap, each in requests:
        now += gap
        gcra.ask(now, each)
    decision = gcra.ask(now, cost)
    if decision.allowed:
        assert decision.retry_after == 0
    elif cost > burst:
        assert decision.retry_after == math.inf
        assert not gcra.ask(now + 10**15, cost).allowed
    else:
        wait = round(decision.retry_after * 1_000_000)
        assert wait > 0
        assert not Gcra(gcra.policy, gcra.tat).ask(now + wait - 1, cost).allowed
        assert gcra.ask(now + wait, cost).allowed


def test_a_burst_and_what_follows():
    gcra = Gcra(Policy("p", "10/s", burst=3))
    first = [gcra.ask(0) for _ in range(4)]
    assert [each.allowed for each in first] == [True, True, True, False]
    assert [each.remaining for each in first] == [2, 1, 0, 0]
    assert [each.reset for each in first] == [0.1, 0.2, 0.3, 0.3]
    assert first[-1].retry_after == 0.1
    assert [gcra.ask(now).allowed for now in (99_999, 100_000, 100_001, 200_000)] == [
        False,
        True,
        False,
        True,
    ]


def test_a_clock_that_was_set_back_locks_nobody_out():
    assert backlog_of(10**15, 0, 500) == 500
    assert backlog_of(0, 10**15, 500) == 0


def test_a_request_that_another_policy_refused_is_not_counted():
    policy = Policy("p", "1/s", burst=5)
    decision = decided(policy, Charge(b"k", 10**6, policy.limit), 10**6, 10**6, "store", charged=False)
    assert (decision.allowed, decision.remaining, decision.reset) == (True, 4, 1.0)


# -- as others count -----------------------------------------------------------------------------------


@dataclass
class Nginx:
    """ngx_http_limit_req_lookup: the excess in thousandths of a request, time in ms; a refused request leaves
    no trace, the first of a key has no excess."""

    rate: int
    burst: int
    excess: int = 0
    last: int | None = None

    def ask(self, now: int) -> bool:
        excess = 0
        if self.last is not None:
            excess = max(self.excess - self.rate * 1000 * (now - self.last) // 1000 + 1000, 0)
        if excess > self.burst * 1000:
            return False
        self.excess, self.last = excess, now
        return True


@given(
    rate=st.sampled_from([1, 2, 5, 10, 50, 100, 1000]),
    burst=st.integers(0, 50),
    gaps=st.lists(st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 3000)), max_size=200),
)
def test_it_admits_what_nginx_admits(rate, burst, gaps):
    ours = Gcra(Policy.nginx("p", f"rate={rate}r/s burst={burst} nodelay"))
    nginx, now = Nginx(rate, burst), 0
    for gap in gaps:
        now += gap
        assert ours.ask(now * 1000).allowed == nginx.ask(now)


@dataclass
class HAProxy:
    """freq_ctr.h: this period's count, and of the last one what the sliding window still covers. Every
    request counts, and is denied when that is more than the limit."""

    limit: int
    period: int
    began: int = 0
    current: int = 0
    previous: int = 0

    def ask(self, now: int) -> bool:
        periods = (now - self.began) // self.period
        if periods:
            self.previous = self.current if periods == 1 else 0
            self.current = 0
            self.began += periods * self.period
        self.current += 1
        left = Fraction(self.period - (now - self.began), self.period)
        return self.current + self.previous * left <= self.limit


@given(limit=st.integers(1, 50), gaps=st.lists(st.integers(0, 3_000_000), max_size=200))
def test_it_admits_all_that_haproxy_does(limit, gaps):
    """GCRA has no periods to wait for, and what it refuses does not count, so it may admit more than
    HAProxy, but whom HAProxy lets through never meets a refusal."""
    policy = Policy("p", f"more than {limit} in 10 s")
    ours, haproxy, now = Gcra(policy), HAProxy(limit, limit * policy.interval), 0
    for gap in gaps:
        now += gap
        if haproxy.ask(now):
            assert ours.ask(now).allowed


@pytest.mark.parametrize("burst", [1, 100])
def test_whom_haproxy_would_deny_is_denied(burst):
    ours = Gcra(Policy("p", f"more than {burst} in 10 s"))
    assert [ours.ask(0).allowed for _ in range(burst + 1)] == [True] * burst + [False]
