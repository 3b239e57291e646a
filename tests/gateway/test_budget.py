from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from ramkit.gateway.core.budget import RetryBudget
from ramkit.gateway.core.window import Window
from tests.gateway.deciding import Driven

STEPS = st.lists(st.tuples(st.floats(0, 4), st.integers(0, 60), st.integers(0, 40)), max_size=30)


@given(steps=STEPS, share=st.sampled_from([0.0, 0.1, 0.2, 1.0]))
def test_retries_never_exceed_the_budget(steps: list[tuple[float, int, int]], share: float) -> None:
    """Against a list of everything that happened: in no ten seconds are there more."""
    now = 50.0
    budget = RetryBudget(share, now)
    firsts: deque[float] = deque()
    retries: deque[float] = deque()
    for pause, requests, wanted in steps:
        now += pause
        for _ in range(requests):
            budget.sent(now)
            firsts.append(now)
        for _ in range(wanted):
            if not budget.spend(now):
                break
            budget.sent(now)
            retries.append(now)
            recent = sum(now - each <= 10 for each in firsts)
            # a window of ten steps reaches back for at least nine
            spent = sum(now - each < 9 for each in retries)
            assert spent <= share * recent + 100 * (share > 0)


def test_a_fifth_of_the_requests_and_a_hundred() -> None:
    driven = Driven(2, retry_budget=0.2)
    for _ in range(1000):
        driven.ask()
    granted = 0
    while driven.group.may_retry(driven.now):
        granted += 1
        driven.ask()
    assert granted == 300
    driven.now += 5
    assert not driven.group.may_retry(driven.now)
    driven.now += 6
    assert driven.group.may_retry(driven.now)


def test_what_was_granted_and_not_sent_counts() -> None:
    budget = RetryBudget(0.5, 0)
    assert sum(budget.spend(0) for _ in range(200)) == 100


def test_no_budget_is_no_retry() -> None:
    driven = Driven(2, retry_budget=0)
    for _ in range(1000):
        driven.ask()
    assert not driven.group.may_retry(driven.now)


@given(steps=st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=80))
def test_a_window_counts_what_a_list_would(steps: list[tuple[float, bool]]) -> None:
    now = 7.0
    window = Window(10, now)
    seen: list[tuple[float, bool]] = []
    for pause, bad in steps:
        now += pause
        window.add(now, bad=bad)
        seen.append((now, bad))
        every, failed = window.counts(now)
        surely = [each for at, each in seen if now - at < 9]
        perhaps = [each for at, each in seen if now - at <= 10]
        assert len(surely) <= every <= len(perhaps)
        assert sum(surely) <= failed <= sum(perhaps)
