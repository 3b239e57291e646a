import pytest

from ramkit.testing.clock import ManualClock


def test_it_stands_still(clock):
    assert (clock.time(), clock.monotonic()) == (clock.time(), clock.monotonic())
    assert clock.time() != clock.monotonic()


def test_it_starts_where_it_is_told():
    clock = ManualClock(time=5, monotonic=7)
    assert (clock.time(), clock.monotonic()) == (5, 7)


def test_time_passes_on_both_readings(clock):
    wall, monotonic = clock.time(), clock.monotonic()
    clock.advance(1.5)
    assert (clock.time() - wall, clock.monotonic() - monotonic) == (1.5, 1.5)


def test_time_does_not_pass_backwards(clock):
    with pytest.raises(ValueError, match="step"):
        clock.advance(-1)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_step_moves_the_wall_clock_alone(clock, seconds):
    wall, monotonic = clock.time(), clock.monotonic()
    clock.step(seconds)
    assert (clock.time() - wall, clock.monotonic() - monotonic) == (seconds, 0)
