"""Floors that end, in the model of ``test_positions_model``: entries live for a while, every process judges
by what it knows whether a floor is of use yet, and whoever lost his sees nothing older than he wrote."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from ramkit.cache.core.entry import Entry, decode
from ramkit.cache.core.purging import message
from ramkit.db.middleware import ConsistencyMiddleware
from tests.cache import test_positions_model as model
from tests.cache.test_positions_model import ALL, CACHE, DB, NamedSent, Render, Request, Write
from tests.cache.test_purging_model import RESOURCES

#: All times are the model's steps. A render that takes longer comes to nothing.
RENDER = 120
#: Within which a process hears of everything in the log, or asks.
BOUND = 20
#: ``ramkit.cache.cache._UNDERWAY``: both together, and a little more.
UNDERWAY = 150


@dataclass
class Rules(model.Rules):
    waits_for_replicas: bool = True
    waits_since_they_passed: bool = True
    waits_for_entries: bool = True
    lifetimes_are_told: bool = True
    waits_for_renders: bool = True


class Process(model.Process):
    rules: Rules
    name = DB

    def restart(self) -> None:
        super().restart()
        self.heard = float(-ALL)
        self.ends = ConsistencyMiddleware(
            _nothing, db=_Database(self), cache=_Cache(self), secret=b"s" * 32, lifetime=ALL
        )

    def read(self, most: int) -> None:
        super().read(most)
        if self.epoch == max(self.log.epoch, self.log.birth):
            self.heard = self.database.now

    @property
    def current(self) -> bool:
        return self.database.now - self.heard <= BOUND


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """Nobody calls it."""


class _Database:
    name = DB

    def __init__(self, process: Process) -> None:
        self.process = process

    def passed(self, lsn: int) -> float | None:
        process = self.process
        if not process.rules.waits_for_replicas:
            return ALL
        passed = process.fleet.passed(lsn, process.database.now)
        return passed if passed is None or process.rules.waits_since_they_passed else ALL

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...


class _Cache:
    name = CACHE

    def __init__(self, process: Process) -> None:
        self.process = process

    def outlived(self, seconds: float) -> bool:
        """``Cache.outlived``."""
        process, rules = self.process, self.process.rules
        longest = process.table.longest if rules.waits_for_entries else 0
        return process.current and seconds > longest + (UNDERWAY if rules.waits_for_renders else 0)


class Model(model.Model):
    rules: Rules
    processes: list[Process]  # type: ignore[assignment]  # narrowed: all that this model makes
    #: few write, so that what they have left behind is seldom found by another's floor
    often: ClassVar[dict[str, float]] = {
        **model.Model.often, "request": 40, "render_on": 160, "look": 60, "write": 1, "replay": 3,
        "evict": 0.2, "lose": 0.02, "restart": 0.02,
    }  # fmt: skip

    def __init__(self, seed: int, rules: Rules) -> None:
        super().__init__(seed, rules)
        self.processes = [Process(self.log, rules, self.database) for _ in range(3)]
        self.people = [model.Client(floored=True) for _ in range(6)]
        self.longest = (32, 128, 1024)[seed % 3]
        self.ended = 0
        self.began: dict[int, float] = {}

    def replicas_of(self, seed: int) -> int:
        return 2

    def asked(self, process: model.Process) -> Request:
        assert isinstance(process, Process)
        client = self.rng.choice(self.people)
        kept = [said for said in client.cookies if not process.ends._over(said, self.database.now)]
        self.ended += len(client.cookies) - len(kept)
        client.cookies = kept
        return Request.of(client)

    def answer(self, request: Request, process: model.Process, resource: int) -> None:
        assert isinstance(process, Process)
        if not process.current:
            process.read(ALL)
        for tier, entry in (
            (process.local, process.local.get(resource)),
            (self.shared, decode(self.shared.get(resource, b""))),
        ):
            if entry is not None and entry.fresh_until <= self.database.now:
                del tier[resource]
        super().answer(request, process, resource)

    def begin(self, process: model.Process, resource: int, leader: Request | None) -> None:
        super().begin(process, resource, leader)
        self.began[id(process.rendering[-1])] = self.database.now

    def end(self, process: model.Process, render: Render) -> None:
        if self.database.now - self.began.pop(id(render)) > RENDER:
            process.rendering.remove(render)
        else:
            super().end(process, render)

    def times(self) -> tuple[float, float, float, float]:
        now = self.database.now
        lifetime = self.rng.choice((self.longest, self.rng.randrange(1, self.longest)))
        return (now, *(now + lifetime,) * 3)

    def keep(self, process: model.Process, resource: int, entry: Entry) -> None:
        lifetime = int(entry.fresh_until - entry.stored)
        if lifetime > process.table.longest and self.rules.lifetimes_are_told:
            self.log.epoch += 1
            data = message((), longest=1 << (lifetime - 1).bit_length())
            self.log.sent.append(NamedSent(self.log.epoch, data, True, [0] * RESOURCES, False))
            process.read(ALL)
        super().keep(process, resource, entry)


SEEDS = 100 if os.environ.get("RAMKIT_SOAK") else 12


def test_whoever_lost_his_floor_sees_nothing_older_than_he_wrote() -> None:
    hits = ended = 0
    for seed in range(SEEDS):
        simulated = Model(seed, Rules())
        simulated.run(16_000)
        assert (simulated.stale_for_writer, simulated.stale_for_reader) == (0, 0), f"seed {seed}"
        hits, ended = hits + simulated.hits, ended + simulated.ended
    print(f"{hits} hits, {ended} floors ended: none stale")
    assert hits > 1000 * SEEDS
    assert ended > 5 * SEEDS


@pytest.mark.parametrize(
    "rules",
    [
        Rules(waits_for_replicas=False),
        Rules(waits_for_entries=False),
        Rules(lifetimes_are_told=False),
    ],
    ids=["replicas-lag", "entries-live", "lifetimes-untold"],
)
def test_without_one_rule_there_are_stale_answers(rules: Rules) -> None:
    for seed in range(60):
        simulated = Model(seed, rules)
        simulated.run(16_000)
        if simulated.stale_for_writer:
            return
    pytest.fail("the model saw no stale answer of a writer")


class Story(Model):
    """What chance brings about too seldom."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(0, rules)
        self.writer, self.stranger = model.Client(floored=True), model.Client(floored=False)
        self.people, self.one = [self.writer], self.processes[0]
        self.catch_up()

    def catch_up(self) -> None:
        for replica in self.database.replicas:
            self.database.replay(replica, ALL)
        for member in self.one.fleet.members:
            self.one.look(member)

    def ask(self) -> None:
        self.answer(self.asked(self.one), self.one, 0)

    def render(self, reads: int) -> None:
        """For a stranger, up to so many reads; the third is the end."""
        if not self.one.rendering:
            self.answer(Request.of(self.stranger), self.one, 0)
        while self.one.rendering and len(self.one.rendering[0].seen) < reads:
            self.render_on()

    def change(self) -> None:
        write = Write(Request.of(self.writer), self.one, 0, [], None, soft=False)
        for step in (self.commit, self.appear, self.take_position, self.told):
            step(write)


@pytest.mark.parametrize("waits", [True, False])
def test_a_render_that_began_before_the_write_is_stored_after_it(waits: bool) -> None:
    story = Story(Rules(waits_for_renders=waits))
    story.render(reads=2)
    story.change()
    story.catch_up()
    story.database.now += 100
    story.one.read(ALL)
    story.asked(story.one)
    assert bool(story.ended) is not waits
    story.render(reads=3)
    story.ask()
    assert bool(story.stale_for_writer) is not waits


@pytest.mark.parametrize("waits", [True, False])
def test_a_replica_that_lags_is_rendered_from_long_after_the_write(waits: bool) -> None:
    """And what is stored then lives on when it lags no more."""
    story = Story(Rules(waits_since_they_passed=waits))
    story.change()
    story.database.now += 10_000
    story.render(reads=3)
    story.catch_up()
    story.one.read(ALL)
    story.ask()
    assert bool(story.ended) is not waits
    assert bool(story.stale_for_writer) is not waits
