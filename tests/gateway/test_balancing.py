import math
from collections import Counter
from itertools import pairwise

import pytest

from ramkit.gateway.core.members import Member, Outcome
from ramkit.gateway.policy import Balance, Ejection
from tests.gateway.deciding import Driven

BALANCES: list[Balance] = ["least_outstanding", "two_choices", "round_robin", "consistent_hash"]


def placed(driven: Driven, requests: int) -> list[int]:
    """Requests that begin and do not end: how many each server has."""
    for number in range(requests):
        assert driven.begin(key=b"%d" % number) is not None
    return [member.outstanding for member in driven.members]


def test_least_outstanding_levels() -> None:
    driven = Driven(4)
    assert placed(driven, 40) == [10, 10, 10, 10]
    fullest = driven.members[2]
    busy = [driven.begin(fullest) for _ in range(5)]
    assert all(busy)
    assert placed(driven, 15) == [15, 15, 15, 15]


def test_least_outstanding_takes_equal_ones_in_turn() -> None:
    driven = Driven(3)
    assert Counter(driven.ask() for _ in range(30)) == dict.fromkeys(driven.members, 10)


def test_round_robin_takes_each_in_turn_however_loaded() -> None:
    driven = Driven(3, balance="round_robin")
    driven.begin(driven.members[0])
    assert [driven.ask() for _ in range(6)] == [*driven.members, *driven.members]


def test_two_choices_keeps_the_fullest_near_the_mean() -> None:
    """n requests on n servers: at random the fullest has about log n / log log n, by two choices about
    log log n / log 2 (Azar et al., "Balanced Allocations", 1999). A constant covers the rest."""
    servers = 250
    bound = math.log(math.log(servers)) / math.log(2) + 1.5
    for seed in range(20):
        assert max(placed(Driven(servers, balance="two_choices", seed=seed), servers)) <= bound


def test_one_choice_would_not() -> None:
    """The bound above means something: one draw for each request breaks it."""
    servers = 250
    bound = math.log(math.log(servers)) / math.log(2) + 1.5
    driven = Driven(servers)
    worst = [
        max(Counter(driven.random.randrange(servers) for _ in range(servers)).values()) for _ in range(20)
    ]
    assert sum(each > bound for each in worst) >= 18


def test_two_choices_take_the_less_loaded_of_both() -> None:
    driven = Driven(3, balance="two_choices")
    for _ in range(10):
        driven.begin(driven.members[0])
    # the loaded one loses each draw that it is in
    assert driven.chosen() == set(driven.members[1:])


@pytest.mark.parametrize("servers", [1, 2])
def test_two_choices_of_one_or_two(servers: int) -> None:
    assert set(placed(Driven(servers, balance="two_choices"), 10 * servers)) == {10}


# -- consistent hash ---------------------------------------------------------------------------------

KEYS = [b"10.%d.%d.1" % (number % 256, number // 256) for number in range(4000)]


def owners(driven: Driven) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for key in KEYS:
        member = driven.ask(Outcome.ABANDONED, key=key)
        assert member is not None
        found[key] = member.url
    return found


def test_the_same_key_goes_to_the_same_server_in_every_process() -> None:
    first = owners(Driven(5, balance="consistent_hash"))
    assert first == owners(Driven(5, balance="consistent_hash", seed=99))


def test_keys_are_spread_evenly() -> None:
    counts = Counter(owners(Driven(5, balance="consistent_hash")).values())
    assert len(counts) == 5
    # 160 points each: a deviation of 8 %, so a quarter is three of them
    assert all(0.75 < count / (len(KEYS) / 5) < 1.25 for count in counts.values())


@pytest.mark.parametrize("servers", [2, 5, 12])
def test_one_more_server_takes_its_part_and_moves_nothing_else(servers: int) -> None:
    before = owners(Driven(servers, balance="consistent_hash"))
    after = owners(Driven(servers + 1, balance="consistent_hash"))
    new = f"http://10.0.0.{servers + 1}:80"
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {new}
    assert 0.7 < len(moved) / (len(KEYS) / (servers + 1)) < 1.3


def test_an_ejected_server_leaves_its_keys_to_others_and_the_rest_stays() -> None:
    driven = Driven(4, balance="consistent_hash", ejection=Ejection(slow_start=0))
    before = owners(driven)
    gone = driven.members[1]
    driven.fail(gone)
    after = owners(driven)
    assert gone.url not in after.values()
    assert all(before[key] in (gone.url, after[key]) for key in KEYS)
    # its keys go to all the others, not to one neighbour
    assert len({after[key] for key in KEYS if before[key] == gone.url}) == 3
    driven.now += 5
    driven.ask()
    assert owners(driven) == before


def test_a_retry_of_a_key_goes_to_the_next_server_and_always_the_same() -> None:
    driven = Driven(4, balance="consistent_hash")
    for key in KEYS[:50]:
        home = driven.ask(key=key)
        assert home is not None
        second = {driven.ask(key=key, tried=(home,)) for _ in range(5)}
        assert len(second) == 1
        assert home not in second


# -- what all of them promise ------------------------------------------------------------------------


@pytest.mark.parametrize("balance", BALANCES)
def test_what_was_tried_is_not_chosen_again(balance: Balance) -> None:
    driven = Driven(3, balance=balance)
    tried: tuple[Member, ...] = ()
    for _ in range(3):
        member = driven.ask(key=b"k", tried=tried)
        assert member is not None
        tried = (*tried, member)
    assert set(tried) == set(driven.members)
    assert driven.ask(key=b"k", tried=tried) is None


@pytest.mark.parametrize("balance", BALANCES)
def test_nobody_gets_more_than_max_connections(balance: Balance) -> None:
    driven = Driven(3, balance=balance, max_connections=4)
    assert placed(driven, 12) == [4, 4, 4]
    assert driven.begin(key=b"k") is None
    driven.end((driven.members[1], 1))
    begun = driven.begin(key=b"k")
    assert begun is not None
    assert begun[0] is driven.members[1]


@pytest.mark.parametrize("balance", ["two_choices", "round_robin", "consistent_hash"])
@pytest.mark.parametrize("servers", [3, 8])
def test_a_server_that_comes_back_gets_more_and_more(balance: Balance, servers: int) -> None:
    driven = Driven(servers, balance=balance, seed=7)
    back = driven.members[0]
    driven.fail(back)
    driven.now += 5
    assert driven.ask() is back  # the trial
    shares: list[float] = []
    for _ in range(6):
        # many requests in one moment, under way in batches: so loads differ, as they do
        got = 0
        for batch in range(100):
            begun = [driven.begin(key=KEYS[batch * 40 + number]) for number in range(40)]
            for each in begun:
                assert each is not None
                got += each[0] is back
                driven.end(each, Outcome.ABANDONED)
        shares.append(got / 4000)
        driven.now += 2
    assert shares[0] < 0.5 / servers
    assert shares[-1] > 0.7 / servers
    # each has some noise: two deviations of a binomial are 0.015
    assert all(later > earlier - 0.015 for earlier, later in pairwise(shares))


def test_least_outstanding_ramps_by_what_is_under_way() -> None:
    """As HAProxy's leastconn: the load for the weight, so that a cold server has few at a time."""
    driven = Driven(3)
    back = driven.members[0]
    driven.fail(back)
    driven.now += 5
    assert driven.ask() is back
    under_way: list[int] = []
    for _ in range(6):
        begun = [driven.begin() for _ in range(90)]
        under_way.append(back.outstanding)
        for each in begun:
            assert each is not None
            driven.end(each, Outcome.ABANDONED)
        driven.now += 2
    assert under_way == sorted(under_way)
    assert under_way[0] <= 5
    assert under_way[-1] == 30
