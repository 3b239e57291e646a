"""Which server is asked, decided without any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.db.core.fleet import Fleet, Member, Status
from ramkit.db.policy import DatabasePolicy


def primary_at(lsn, timeline=1):
    return Status(standby=False, lsn=lsn, known=lsn, timeline=timeline)


def replica_at(lsn, known=None):
    return Status(standby=True, lsn=lsn, known=lsn if known is None else known)


@pytest.fixture
def make():
    def make(*statuses, **options):
        fleet = Fleet([Member(str(number)) for number in range(len(statuses))], DatabasePolicy(**options))
        for member, status in zip(fleet.members, statuses, strict=True):
            fleet.heard(member, status, 0)
        return fleet, *fleet.members

    return make


def test_the_least_loaded_replica_at_the_floor_answers(make):
    fleet, primary, first, second = make(primary_at(200), replica_at(100), replica_at(150))
    first.busy, second.busy = 1, 2
    assert fleet.reader() is first
    assert fleet.reader(100) is first
    assert fleet.reader(101) is second
    assert fleet.reader(150, avoid=second) is primary
    assert fleet.reader(151) is primary
    assert fleet.nearest() is second


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_replica_of_another_cluster_answers_nothing_and_says_nothing_of_the_log(order):
    statuses = (
        Status(standby=False, lsn=200, known=200, timeline=1, system=7),
        Status(standby=True, lsn=200, known=200, system=7),
        Status(standby=True, lsn=10**6, known=10**6, system=8),
    )
    primary, ours, theirs = members = [Member(str(number)) for number in range(3)]
    fleet = Fleet(members, DatabasePolicy())
    for n in order:
        fleet.heard(members[n], statuses[n], 0)
    assert fleet.replicas == [ours]
    assert [fleet.foreign(each) for each in members] == [False, False, True]
    fleet.heard(ours, Status(standby=True, lsn=200, known=200, system=7), 100)
    assert (ours.lag, ours.lag_bytes) == (0, 0)
    fleet.eject(primary)
    assert fleet.replicas == [ours]
    fleet.heard(theirs, replica_at(200), 101)
    assert not fleet.foreign(theirs), "where it may not be asked nothing is known"


def test_who_is_to_be_avoided_is_better_than_nobody(make):
    fleet, replica, dead = make(replica_at(100), replica_at(100))
    fleet.eject(dead)
    assert fleet.reader(avoid=replica) is replica
    fleet.eject(replica)
    assert fleet.reader(avoid=replica) is None


def test_the_primary_reads_within_its_share(make):
    fleet, primary, _ = make(primary_at(200), replica_at(100), max_size=4, primary_share=0.5)
    primary.reading = 1
    assert fleet.reader(200) is primary
    primary.reading = 2
    assert fleet.reader(200) is None
    alone, primary = make(primary_at(200))
    primary.reading = 1000
    assert alone.reader() is primary


def test_an_ejection_is_news_once_until_it_is_well_again(make):
    fleet, _, replica = make(primary_at(100), replica_at(100))
    assert [fleet.eject(replica) for _ in range(3)] == [True, False, False]
    fleet.heard(replica, replica_at(100), 1)
    assert not replica.healthy  # once is not enough
    assert not fleet.eject(replica)
    fleet.heard(replica, replica_at(100), 2)
    fleet.heard(replica, replica_at(100), 3)
    assert fleet.reader() is replica
    assert fleet.eject(replica)


def test_nobody_is_the_primary_before_all_were_looked_at():
    fleet = Fleet([Member("old"), Member("new")], DatabasePolicy())
    old, new = fleet.members
    fleet.heard(old, primary_at(900, 1), 0)
    assert fleet.primary is None
    fleet.heard(new, primary_at(500, 2), 0)
    assert fleet.primary is new
    fleet = Fleet([Member("alive"), Member("dead")], DatabasePolicy())
    fleet.heard(fleet.members[0], primary_at(900, 1), 0)
    assert fleet.eject(fleet.members[1])
    assert fleet.primary is fleet.members[0]


def test_a_promotion_is_followed_and_an_old_primary_is_none(make):
    fleet, old, new = make(primary_at(900), replica_at(500, 600))
    fleet.eject(old)
    assert fleet.told(new, standby=False)
    assert not fleet.told(new, standby=False)
    fleet.heard(new, primary_at(700, 2), 1)
    assert fleet.primary is new
    for now in (2, 3):
        fleet.heard(old, primary_at(950, 1), now)
    assert (old.healthy, fleet.primary) == (True, new)
    fleet.heard(old, replica_at(650, 700), 4)  # made anew, it is behind the new one alone
    assert (old.lag_bytes, fleet.reader(650)) == (50, old)


def test_what_was_known_of_a_position_ends_with_the_role(make):
    fleet, _, replica = make(primary_at(100), replica_at(90))
    fleet.told(replica, standby=False)
    assert replica.lsn == 0


def test_lag_in_seconds_is_how_long_it_misses_something(make):
    fleet, primary, replica = make(primary_at(100), replica_at(100), max_lag=10)
    fleet.heard(primary, primary_at(100), 1000)  # idle
    fleet.heard(replica, replica_at(100), 1000)
    assert (replica.lag, replica.lag_bytes) == (0, 0)
    fleet.heard(primary, primary_at(200), 1001)
    fleet.heard(primary, primary_at(300), 1005)
    fleet.heard(replica, replica_at(150), 1006)
    assert (replica.lag, replica.lag_bytes) == (5, 150)
    fleet.heard(primary, primary_at(300), 1012)
    assert (replica.lag, fleet.replicas) == (11, [])
    fleet.heard(replica, replica_at(200), 1013)
    assert (replica.lag, fleet.replicas) == (8, [replica])
    fleet.heard(replica, replica_at(300), 1014)
    assert (replica.lag, replica.lag_bytes) == (0, 0)


def test_a_replica_knows_of_its_own_lag_while_the_primary_is_gone(make):
    fleet, primary, replica = make(primary_at(100), replica_at(100), max_lag_bytes=50)
    fleet.eject(primary)
    fleet.heard(replica, replica_at(100, 200), 1)
    assert (replica.lag_bytes, fleet.replicas) == (100, [])


def test_positions(make):
    _, primary, replica = make(primary_at(100), replica_at(90))
    assert replica.position == 90
    assert primary.position == 99  # what ends at 100 may be of somebody who waits for COMMIT


_looks = st.tuples(
    st.integers(0, 2), st.sampled_from(["primary", "replica", "eject", "told"]), st.integers(1, 50)
)


@given(st.lists(_looks, max_size=60), st.integers(0, 50), st.integers(0, 30))
def test_whatever_happens_who_answers_may(looks, floor, max_bytes):
    fleet = Fleet([Member(str(number)) for number in range(3)], DatabasePolicy(max_lag_bytes=max_bytes))
    timelines = [1, 1, 1]
    for now, (number, what, lsn) in enumerate(looks):
        member = fleet.members[number]
        if what == "primary":
            if member.standby is not False:  # a promotion begins a timeline
                timelines[number] = max(timelines) + 1
            fleet.heard(member, primary_at(lsn, timelines[number]), now)
        elif what == "replica":
            fleet.heard(member, replica_at(lsn, lsn + 5), now)
        elif what == "eject":
            fleet.eject(member)
        else:
            fleet.told(member, standby=lsn % 2 == 0)
        reader = fleet.reader(floor)
        if reader is not None:
            assert reader.healthy
            if reader.standby:
                assert reader.lsn >= floor
                assert reader.lag_bytes <= max_bytes
            else:
                assert reader is fleet.primary
        if fleet.primary is not None:
            assert fleet.primary.healthy
            assert fleet.primary.standby is False
            assert fleet.primary.timeline == fleet._timeline
