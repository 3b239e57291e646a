import pytest

from ramkit.gateway.core.members import Group, Outcome
from ramkit.gateway.policy import CircuitBreaker, Ejection, HealthCheck, Upstream
from tests.gateway.deciding import Driven

SUCCESS, FAILURE, TIMEOUT, ABANDONED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.ABANDONED


# -- ejection ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [FAILURE, TIMEOUT])
def test_failures_in_a_row_eject(outcome: Outcome) -> None:
    driven = Driven(3)
    bad = driven.members[0]
    for _ in range(4):
        driven.ask(outcome, member=bad)
    driven.ask(SUCCESS, member=bad)
    for _ in range(4):
        driven.ask(outcome, member=bad)
    assert bad in driven.chosen()
    driven.ask(outcome, member=bad)
    assert driven.chosen() == set(driven.members[1:])


def test_a_share_of_failures_ejects_without_a_row() -> None:
    driven = Driven(3, ejection=Ejection(share=0.5, requests=20))
    bad = driven.members[0]
    for _ in range(9):
        driven.ask(SUCCESS, member=bad)
        driven.ask(FAILURE, member=bad)
    driven.ask(SUCCESS, member=bad)
    assert bad in driven.chosen()
    driven.ask(FAILURE, member=bad)
    assert bad not in driven.chosen()


def test_a_share_counts_only_the_last_seconds() -> None:
    driven = Driven(3, ejection=Ejection(failures=100, share=0.5, requests=20, window=10))
    bad = driven.members[0]
    driven.fail(bad, 19)
    driven.now += 11
    driven.fail(bad, 19)
    assert bad in driven.chosen()
    driven.fail(bad, 1)
    assert bad not in driven.chosen()


def test_an_abandoned_request_judges_nobody() -> None:
    driven = Driven(3)
    bad = driven.members[0]
    driven.fail(bad, 4)
    for _ in range(50):
        driven.ask(ABANDONED, member=bad)
    assert bad in driven.chosen()
    driven.fail(bad, 1)
    assert bad not in driven.chosen()
    assert [member.outstanding for member in driven.members] == [0, 0, 0]


@pytest.mark.parametrize(
    ("servers", "share", "most"), [(1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 1), (4, 0.5, 2), (5, 1.0, 5), (4, 0, 0)]
)
def test_never_more_than_a_share_is_ejected(servers: int, share: float, most: int) -> None:
    driven = Driven(servers, ejection=Ejection(max_ejected=share), breaker=None)
    for member in driven.members:
        driven.fail(member)
    assert sum(member.ejected_until is not None for member in driven.members) == most


def test_with_all_ejected_the_least_loaded_answers() -> None:
    driven = Driven(3, ejection=Ejection(max_ejected=1), breaker=None)
    for member in driven.members:
        driven.fail(member)
    first, second = driven.begin(), driven.begin()
    assert first is not None
    assert second is not None
    assert first[0] is not second[0]
    # an answer is what it was missing for
    driven.end(first, SUCCESS)
    assert driven.chosen() == {first[0]}


def test_a_retry_takes_an_ejected_server_rather_than_none() -> None:
    driven = Driven(2)
    ejected, good = driven.members
    driven.fail(ejected)
    assert driven.ask(ABANDONED, tried=(good,)) is ejected
    assert driven.chosen() == {good}


def test_without_ejection_nobody_is_left_out() -> None:
    driven = Driven(2, ejection=None, breaker=None)
    driven.fail(driven.members[0], 100)
    assert driven.chosen() == set(driven.members)


# -- return ------------------------------------------------------------------------------------------


def test_one_request_tries_a_server_whose_time_is_over() -> None:
    driven = Driven(3, ejection=Ejection(duration=5))
    bad = driven.members[0]
    driven.fail(bad)
    driven.now += 4.9
    assert bad not in driven.chosen()
    driven.now += 0.2
    trial = driven.begin()
    assert trial is not None
    assert trial[0] is bad
    assert bad not in driven.chosen()
    driven.end(trial, SUCCESS)
    assert bad.ejected_until is None
    assert bad.weight == pytest.approx(0.1)


def test_a_trial_that_fails_ejects_for_twice_as_long_up_to_a_bound() -> None:
    driven = Driven(3, ejection=Ejection(duration=5, longest=30))
    bad = driven.members[0]
    driven.fail(bad)
    for duration in (5, 10, 20, 30, 30):
        driven.now += duration - 0.1
        assert bad not in driven.chosen()
        driven.now += 0.2
        assert driven.ask(FAILURE) is bad


def test_an_abandoned_trial_leaves_the_trial_to_the_next() -> None:
    driven = Driven(3)
    bad = driven.members[0]
    driven.fail(bad)
    driven.now += 5
    assert driven.ask(ABANDONED) is bad
    assert driven.ask(SUCCESS) is bad
    assert bad.ejected_until is None


def test_a_retry_is_no_trial_while_there_is_another() -> None:
    driven = Driven(3)
    bad, failed, good = driven.members
    driven.fail(bad)
    driven.now += 5
    assert driven.ask(tried=(failed,)) is good


def test_what_began_before_the_ejection_neither_prolongs_nor_ends_it() -> None:
    """A paused server: its requests time out long after it was ejected, some while it is tried."""
    driven = Driven(3, ejection=Ejection(duration=5))
    bad = driven.members[0]
    old = [driven.begin(bad) for _ in range(8)]
    assert None not in old
    driven.fail(bad)
    driven.now += 5
    trial = driven.begin()
    assert trial is not None
    assert trial[0] is bad
    for each in old:
        assert each is not None
        driven.end(each, TIMEOUT)
    assert bad.ejections == 1
    driven.end(trial, SUCCESS)
    assert bad.ejected_until is None
    assert bad.outstanding == 0


def test_an_answer_from_before_the_ejection_does_not_end_it() -> None:
    driven = Driven(3)
    bad = driven.members[0]
    old = driven.begin(bad)
    assert old is not None
    driven.fail(bad)
    driven.end(old, SUCCESS)
    assert bad not in driven.chosen()


def test_what_went_well_for_long_is_forgiven() -> None:
    driven = Driven(3, ejection=Ejection(duration=5, longest=30))
    bad = driven.members[0]
    for _ in range(2):
        driven.fail(bad)
        driven.now += 20
        driven.ask()
    assert bad.ejections == 2
    driven.now += 31
    driven.fail(bad)
    assert bad.ejections == 1
    assert bad.ejected_until == driven.now + 5


def test_a_server_that_comes_back_is_judged_anew() -> None:
    driven = Driven(3)
    bad = driven.members[0]
    driven.fail(bad)
    driven.now += 5
    driven.ask()
    driven.fail(bad, 4)
    assert bad.ejected_until is None


# -- health checks -----------------------------------------------------------------------------------

CHECK = HealthCheck(interval=5, healthy=2, unhealthy=3)


def test_checks_take_out_and_bring_back_by_thresholds() -> None:
    driven = Driven(2, health=CHECK)
    bad, good = driven.members
    driven.probe(bad, healthy=False, times=2)
    driven.probe(bad, healthy=True)
    driven.probe(bad, healthy=False, times=2)
    assert bad in driven.chosen()
    driven.probe(bad, healthy=False)
    assert driven.chosen() == {good}
    driven.probe(bad, healthy=True)
    driven.probe(bad, healthy=False)
    driven.probe(bad, healthy=True)
    assert driven.chosen() == {good}
    driven.probe(bad, healthy=True)
    assert bad.weight == pytest.approx(0.1)
    driven.now += 10
    assert driven.chosen() == {bad, good}


def test_nobody_is_chosen_when_all_say_that_they_are_not_well() -> None:
    driven = Driven(2, health=CHECK)
    for member in driven.members:
        driven.probe(member, healthy=False, times=3)
    assert driven.ask() is None


def test_health_and_ejection_combine() -> None:
    driven = Driven(4, health=CHECK)
    ejected, sick, *good = driven.members
    driven.fail(ejected)
    driven.probe(sick, healthy=False, times=3)
    driven.probe(ejected, healthy=True, times=10)
    assert driven.chosen() == set(good)
    # half of them are out: a guess takes away no more, but it may give one little
    driven.fail(good[0])
    assert good[0].ejected_until is None
    assert good[0].weight == pytest.approx(0.02)
    assert driven.chosen() == {good[1]}
    driven.now += 4
    driven.fail(good[0], 1)
    driven.now += 0.9
    assert driven.chosen() == {good[1]}
    driven.now += 4.2
    driven.ask()
    assert good[0].weight == 1


def test_one_that_gets_little_gets_more_again_when_it_answers() -> None:
    driven = Driven(2)
    for member in driven.members:
        driven.fail(member)
    little = driven.members[1]
    assert driven.chosen() == {little}
    driven.ask(SUCCESS, member=little)
    assert little.weight == pytest.approx(0.1)
    driven.now += 10
    driven.ask(SUCCESS)  # the other one's trial
    assert little.weight == 1


def test_down_and_up_again_is_tried_at_once() -> None:
    driven = Driven(3, health=CHECK, ejection=Ejection(duration=100, longest=100))
    bad = driven.members[0]
    driven.fail(bad)
    driven.probe(bad, healthy=False, times=3)
    driven.now += 5
    driven.probe(bad, healthy=True, times=2)
    assert driven.ask() is bad
    assert bad.ejected_until is None


def test_down_and_up_again_while_it_is_tried() -> None:
    driven = Driven(3, health=CHECK)
    bad = driven.members[0]
    driven.fail(bad)
    driven.now += 5
    first = driven.begin()
    driven.probe(bad, healthy=False, times=3)
    driven.probe(bad, healthy=True, times=2)
    second = driven.begin()
    assert first is not None
    assert second is not None
    assert first[0] is second[0] is bad
    driven.end(first, SUCCESS)
    assert bad.ejected_until is not None
    driven.end(second, SUCCESS)
    assert bad.ejected_until is None


def test_checks_are_due_by_the_interval_spread_by_chance() -> None:
    driven = Driven(40, health=CHECK)
    assert driven.group.due(driven.now) == list(driven.members)
    assert driven.group.due(driven.now) == []
    driven.now += 4.4
    assert driven.group.due(driven.now) == []
    driven.now += 0.6
    some = driven.group.due(driven.now)
    assert 10 < len(some) < 30
    driven.now += 0.6
    assert len(driven.group.due(driven.now)) == 40 - len(some)


def test_without_checks_nobody_is_due_and_no_answer_counts() -> None:
    driven = Driven(2)
    assert driven.group.due(driven.now) == []
    driven.probe(driven.members[0], healthy=False, times=10)
    assert driven.chosen() == set(driven.members)


# -- breaker -----------------------------------------------------------------------------------------

BREAKER = CircuitBreaker(share=0.5, requests=20, window=10, cooldown=5)


def broken(servers: int = 2) -> Driven:
    driven = Driven(servers, breaker=BREAKER)
    for _ in range(40):
        driven.ask(FAILURE)
    assert driven.begin() is None
    return driven


def test_the_breaker_opens_when_every_server_fails() -> None:
    driven = Driven(1, breaker=BREAKER)
    for _ in range(10):
        driven.ask(SUCCESS)
    for _ in range(9):
        driven.ask(FAILURE)
    assert driven.ask(SUCCESS) is not None
    driven.ask(FAILURE)
    driven.ask(FAILURE)
    assert driven.ask() is None


def test_the_breaker_stays_closed_while_one_server_does_well() -> None:
    driven = Driven(3, breaker=BREAKER)
    first, second, good = driven.members
    for _ in range(200):
        driven.ask(FAILURE, member=first)
        driven.ask(FAILURE, member=second)
        driven.ask(SUCCESS, member=good)
    assert driven.ask() is not None


def test_an_open_breaker_lets_single_trials_through() -> None:
    driven = broken()
    driven.now += 4.9
    assert driven.begin() is None
    driven.now += 0.2
    trial = driven.begin()
    assert trial is not None
    assert driven.begin() is None
    driven.end(trial, FAILURE)
    driven.now += 4.9
    assert driven.begin() is None
    driven.now += 0.2
    trial = driven.begin()
    assert trial is not None
    driven.end(trial, SUCCESS)
    assert driven.begin() is not None
    assert driven.begin() is not None


def test_an_abandoned_trial_of_the_breaker_leaves_it_to_the_next() -> None:
    driven = broken()
    driven.now += 5
    assert driven.ask(ABANDONED) is not None
    assert driven.ask(SUCCESS) is not None
    assert driven.begin() is not None
    assert driven.begin() is not None


def test_what_began_before_the_breaker_opened_does_not_decide() -> None:
    driven = Driven(1, breaker=BREAKER)
    old = [driven.begin() for _ in range(50)]
    for _ in range(20):
        driven.ask(FAILURE)
    driven.now += 5
    trial = driven.begin()
    assert trial is not None
    for each in old[:25]:
        assert each is not None
        driven.end(each, SUCCESS)
    assert driven.begin() is None
    driven.end(trial, SUCCESS)
    for each in old[25:]:
        assert each is not None
        driven.end(each, TIMEOUT)
    assert driven.begin() is not None


def test_all_ejected_still_opens_the_breaker() -> None:
    driven = Driven(2, ejection=Ejection(max_ejected=1), breaker=BREAKER)
    for _ in range(40):
        driven.ask(FAILURE)
    assert driven.ask() is None


def test_who_is_ejected_does_not_keep_the_breaker_closed() -> None:
    """However well it did before."""
    driven = Driven(2, breaker=BREAKER)
    ejected, failing = driven.members
    for _ in range(100):
        driven.ask(SUCCESS, member=ejected)
    driven.fail(ejected)
    driven.fail(failing, 20)
    assert driven.ask() is None


def test_a_server_may_be_on_trial_while_the_breaker_opens_and_closes() -> None:
    driven = Driven(3, breaker=BREAKER)
    tried, *others = driven.members
    driven.fail(tried)
    driven.now += 5
    trial = driven.begin()
    assert trial is not None
    assert trial[0] is tried
    for member in others:
        driven.fail(member, 20)
    assert driven.begin() is None
    driven.now += 5
    assert driven.ask(SUCCESS) in others
    driven.end(trial, SUCCESS)
    assert tried.ejected_until is None


def test_without_a_breaker_somebody_is_always_asked() -> None:
    driven = Driven(2, breaker=None)
    for _ in range(500):
        assert driven.ask(FAILURE) is not None


# -- reload ------------------------------------------------------------------------------------------


def reloaded(driven: Driven, servers: list[int], **upstream: object) -> Group:
    urls = [f"http://10.0.0.{number}:80" for number in servers]
    group = Group(Upstream("u", urls, **upstream), driven.now, random=driven.random.random)  # type: ignore[arg-type]  # whatever a test names
    group.carry(driven.group)
    return group


def test_a_reload_keeps_what_is_known() -> None:
    driven = Driven(3, health=CHECK)
    ejected, sick, good = driven.members
    driven.fail(ejected)
    driven.probe(sick, healthy=False, times=3)
    under_way = driven.begin()
    assert under_way is not None
    group = reloaded(driven, [3, 2, 1, 4], health=CHECK)
    assert [member.url[-4:] for member in group.members] == ["3:80", "2:80", "1:80", "4:80"]
    assert good.outstanding == 1
    fresh = group.members[3]
    assert fresh.weight == pytest.approx(0.1)
    chosen = {group.choose(driven.now) for _ in range(20)}
    assert ejected not in chosen
    assert sick not in chosen
    # what the old group began ends there, and counts here
    driven.end(under_way, FAILURE)
    assert good.outstanding == 0
    assert good.row == 0


def test_a_reload_forgets_what_has_no_judge_any_more() -> None:
    driven = Driven(4, health=CHECK)
    ejected, sick, *_ = driven.members
    driven.fail(ejected)
    driven.probe(sick, healthy=False, times=3)
    group = reloaded(driven, [1, 2], ejection=None)
    assert {group.choose(driven.now) for _ in range(20)} == {ejected, sick}


def test_a_reload_while_a_trial_is_under_way() -> None:
    driven = Driven(3)
    bad = driven.members[0]
    driven.fail(bad)
    driven.now += 5
    trial = driven.begin()
    assert trial is not None
    group = reloaded(driven, [1, 2, 3])
    assert group.choose(driven.now) is bad
    number = group.started(bad, driven.now)
    driven.end(trial, FAILURE)
    assert bad.ejections == 1
    group.finished(bad, driven.now, SUCCESS, number)
    assert bad.ejected_until is None
    assert bad.outstanding == 0


def test_a_retry_of_an_old_group_is_no_trial_of_the_new_one() -> None:
    driven = Driven(3)
    bad = driven.members[0]
    driven.fail(bad)
    driven.now += 5
    group = reloaded(driven, [1, 2, 3])
    late = driven.begin(bad)
    assert late is not None
    assert bad.trial == 0
    assert group.choose(driven.now) is bad
    driven.end(late, FAILURE)
    assert bad.ejections == 1
    assert group.choose(driven.now) is bad


def test_a_check_that_was_under_way_at_a_reload_says_nothing() -> None:
    driven = Driven(2, health=CHECK)
    bad, good = driven.members
    driven.probe(bad, healthy=False, times=2)
    group = reloaded(driven, [1, 2], health=CHECK)
    driven.probe(bad, healthy=False)
    assert driven.group.due(driven.now + 100) == []
    assert {group.choose(driven.now) for _ in range(20)} == {bad, good}
    group.probed(bad, driven.now, healthy=False)
    assert {group.choose(driven.now) for _ in range(20)} == {good}


def test_a_reload_keeps_an_open_breaker_open() -> None:
    driven = broken()
    assert reloaded(driven, [1, 2, 3], breaker=BREAKER).choose(driven.now) is None
    driven = broken()
    assert reloaded(driven, [1, 2, 3], breaker=None).choose(driven.now) is not None
