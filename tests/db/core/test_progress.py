from hypothesis import given
from hypothesis import strategies as st

from ramkit.db.core.fleet import Fleet, Member
from ramkit.db.core.progress import Progress
from ramkit.db.policy import DatabasePolicy
from tests.db.core.test_fleet import primary_at, replica_at


def test_since_when() -> None:
    progress = Progress()
    assert progress.since(0) is None
    progress.heard(0, 10)
    progress.heard(20, 30)
    progress.heard(40, 30)
    assert [progress.since(lsn) for lsn in (5, 10, 11, 30, 31)] == [0, 0, 20, 20, None]
    progress.heard(50, 20)  # it went back
    assert [progress.since(lsn) for lsn in (10, 20, 21)] == [0, 20, None]
    progress.heard(60, 0)
    progress.heard(70, 30)
    assert progress.since(10) == progress.since(30) == 70


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 40)), max_size=80))
def test_it_is_never_earlier_than_it_was_and_hardly_later(heard: list[tuple[float, int]]) -> None:
    progress, now = Progress(), 0.0
    past: list[tuple[float, int]] = []
    for pause, lowest in heard:
        now += pause
        progress.heard(now, lowest)
        past.append((now, lowest))
    for lsn in range(42):
        behind = [at for at, (_, lowest) in enumerate(past) if lowest < lsn]
        after = past[behind[-1] + 1 :] if behind else past
        found = progress.since(lsn)
        assert (found is None) is (not after)
        if found is not None:
            assert after[0][0] <= found < after[0][0] + 10 or found == after[0][0]


def test_it_does_not_grow() -> None:
    progress = Progress()
    for second in range(20_000):
        progress.heard(second, second)
    assert len(progress._steps) == 512
    assert progress.since(19_000) - 19_000 <= 10
    assert progress.since(1) > 10_000, "it counts as later than it was"


def test_every_server_but_the_primary_has_to_pass() -> None:
    fleet = Fleet([Member(name) for name in ("primary", "one", "other")], DatabasePolicy())
    primary, one, other = fleet.members
    fleet.heard(primary, primary_at(200), 0)
    fleet.heard(one, replica_at(200), 0)
    assert fleet.passed(1, 0) is None, "the other was not heard of"
    fleet.heard(other, replica_at(100), 1)
    assert (fleet.passed(100, 5), fleet.passed(101, 5)) == (4, None)
    fleet.heard(other, replica_at(150), 20)
    assert (fleet.passed(100, 25), fleet.passed(150, 25), fleet.passed(151, 25)) == (24, 5, None)
    other.lsn = 0  # its connection broke: nobody knows what it has when it comes back
    assert fleet.passed(100, 26) is None
    fleet.eject(other)
    fleet.heard(primary, primary_at(200), 27)
    fleet.heard(other, replica_at(180), 30)
    assert fleet.passed(100, 31) == 1
    fleet.eject(primary)
    fleet.heard(one, replica_at(200), 32)
    assert fleet.passed(100, 33) is None, "it may come back as a replica"


def test_without_replicas_all_have() -> None:
    fleet = Fleet([Member("primary")], DatabasePolicy())
    assert fleet.passed(1, 0) is None
    fleet.heard(fleet.members[0], primary_at(200), 3)
    assert fleet.passed(10**12, 5) == 2
