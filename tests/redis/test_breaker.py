from ramkit.redis.breaker import Breaker
from ramkit.testing.clock import ManualClock


def test_one_probe_after_the_cooldown(clock: ManualClock) -> None:
    breaker = Breaker(clock, 1.0)
    assert breaker.admit()
    breaker.open()
    assert not breaker.closed
    assert not breaker.willing
    assert not breaker.admit()
    clock.advance(1.0)
    assert breaker.willing
    assert breaker.admit()
    assert not breaker.willing
    assert not breaker.admit()
    breaker.open()
    clock.advance(0.9)
    assert not breaker.admit()
    clock.advance(0.1)
    assert breaker.admit()
    breaker.close()
    assert breaker.closed
    assert breaker.admit()
    assert breaker.admit()


def test_probe_that_never_went_out_frees_its_place(clock: ManualClock) -> None:
    breaker = Breaker(clock, 1.0)
    breaker.open()
    clock.advance(1.0)
    assert breaker.admit()
    breaker.forget_probe()
    assert breaker.admit()


def test_wall_clock_does_not_matter(clock: ManualClock) -> None:
    breaker = Breaker(clock, 1.0)
    breaker.open()
    clock.step(100.0)
    assert not breaker.willing
