"""Purging by the log as a model: random interleavings of everything that may happen at once.

Processes fold the log with a lag of their own, restart, load snapshots; the log is lost, with the store or
without; entries are evicted from both tiers; renders begin, read and end at different times; purges are
hard and soft, by name and by pattern. Each hit is checked against what the app's data were. With one rule
of the algorithm removed the same model finds stale hits, so it can.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count

import pytest

from ramkit.cache.core import purging
from ramkit.cache.core.entry import Entry, decode, encode
from ramkit.cache.core.purging import PurgeTable, Verdict, message, slot

RESOURCES = 9
PATHS = [f"/s{number % 3}/r{number}" for number in range(RESOURCES)]
GROUPS = [f"g{number % 4}" for number in range(RESOURCES)]
SLOTS = [
    tuple({slot(name) for name in (*purging.url_names("https", "h", path, ""), purging.group_name(group))})
    for path, group in zip(PATHS, GROUPS, strict=True)
]
Versions = list[int]


@dataclass
class Rules:
    """The algorithm; a test removes one."""

    epoch_at_begin: bool = True
    incarnations: bool = True
    floor_waits: bool = True
    floor_hardens: bool = True
    judged_in_process: bool = True
    table: Callable[[], PurgeTable] = PurgeTable


@dataclass
class Sent:
    epoch: int
    data: bytes
    soft: bool
    #: what the resources it covers were when it was appended; 0 for the others
    covers: Versions


@dataclass
class Log:
    incarnation: int = 1
    birth: int = 100
    epoch: int = 100
    sent: list[Sent] = field(default_factory=list)
    snapshot: tuple[int, bytes, Versions, Versions] | None = None
    #: what was purged under earlier incarnations
    before: Versions = field(default_factory=lambda: [0] * RESOURCES)


@dataclass
class Client:
    floored: bool
    floor: tuple[int, int] = (0, 0)
    #: what it must see at least: its own writes, once purged
    least: Versions = field(default_factory=lambda: [0] * RESOURCES)
    writing: bool = False


@dataclass
class Render:
    resource: int
    incarnation: int
    epoch: int
    version: int = -1
    followers: list[Client] = field(default_factory=list)


class Process:
    def __init__(self, log: Log, rules: Rules) -> None:
        self.log, self.rules = log, rules
        self.restart()

    def restart(self) -> None:
        self.table = self.rules.table()
        self.local: dict[int, Entry] = {}
        self.renders: list[Render] = []
        self.incarnation = self.epoch = 0
        #: what it has read to be purged, hard and at all
        self.hard = self.purged = [0] * RESOURCES

    def read(self, most: int) -> None:
        """Fold up to so many messages."""
        log = self.log
        if self.incarnation != log.incarnation or (log.snapshot and self.epoch < log.snapshot[0]):
            self._begin()
        for sent in [each for each in log.sent if each.epoch > self.epoch][:most]:
            self.take(sent)

    def take(self, sent: Sent) -> None:
        self.epoch = sent.epoch
        self.table.apply(sent.epoch, sent.data)
        self.purged = [*map(max, self.purged, sent.covers)]
        if not sent.soft:
            self.hard = [*map(max, self.hard, sent.covers)]

    def _begin(self) -> None:
        log = self.log
        self.incarnation, self.epoch = log.incarnation, log.birth
        self.hard = self.purged = log.before
        data = None
        if log.snapshot:
            self.epoch, data, self.hard, self.purged = log.snapshot
        self.table.reset(self.incarnation, self.epoch, data)

    def below(self, floor: tuple[int, int]) -> bool:
        return floor != (0, 0) and (floor[0] != self.incarnation or floor[1] > self.epoch)

    def judge(self, entry: Entry, floor: tuple[int, int]) -> Verdict:
        if entry.checked == self.table.version:
            return Verdict.VALID
        if not self.rules.incarnations:
            entry.incarnation = self.incarnation
        known = self.rules.floor_hardens and floor[0] == self.incarnation
        verdict = self.table.judge(entry, floor[1] if known else 0)
        if verdict is Verdict.VALID:
            entry.checked = self.table.version
        return verdict


class Model:
    def __init__(self, seed: int, rules: Rules) -> None:
        self.rng = random.Random(seed)
        self.rules = rules
        self.log = Log()
        self.truth: Versions = [1] * RESOURCES
        self.shared: dict[int, bytes] = {}
        self.processes = [Process(self.log, rules) for _ in range(3)]
        self.clients = [Client(floored=number % 2 == 0) for number in range(6)]
        #: writes whose purge is not in the log yet
        self.writes: list[tuple[Client, Process, int]] = []
        self.serial = count()
        self.hits = self.stale_for_writer = self.stale_for_reader = 0

    def run(self, steps: int) -> None:
        acts: list[tuple[Callable[[], None], float]] = [
            (self.request, 60), (self.render_on, 40), (self.write, 5), (self.append, 7), (self.follow, 10),
            (self.evict, 2), (self.publish, 0.3), (self.lose, 0.1), (self.restart, 0.1),
        ]  # fmt: skip
        for act in self.rng.choices([act for act, _ in acts], [weight for _, weight in acts], k=steps):
            act()

    # -- what happens -------------------------------------------------------------------------------

    def request(self) -> None:
        client = self.rng.choice(self.clients)
        if not client.writing:
            self.serve(client, self.rng.choice(self.processes), self.rng.randrange(RESOURCES))

    def serve(self, client: Client, process: Process, resource: int) -> None:
        if not process.incarnation:
            process.read(10**9)
        if client.floored and self.rules.floor_waits and process.below(client.floor):
            process.read(10**9)
            if process.below(client.floor):
                client.floor = (process.incarnation, process.epoch)
        entry = process.local.get(resource)
        if entry is not None and not self.rules.judged_in_process:
            return self.hit(client, process, resource, entry, Verdict.VALID)
        if entry is None or process.judge(entry, client.floor) is not Verdict.VALID:
            entry = self.fetch(process, resource) or entry
        verdict = Verdict.GONE if entry is None else process.judge(entry, client.floor)
        if entry is not None and verdict is not Verdict.GONE:
            self.hit(client, process, resource, entry, verdict)
            if verdict is Verdict.VALID:
                return None
        self.miss(process, resource, None if verdict is Verdict.STALE else client)
        return None

    def fetch(self, process: Process, resource: int) -> Entry | None:
        data = self.shared.get(resource)
        entry = decode(data) if data is not None else None
        known = process.local.get(resource)
        if entry is not None and known is not None and known.stored == entry.stored:
            return known
        if entry is not None:
            process.local[resource] = entry
        return entry

    def miss(self, process: Process, resource: int, client: Client | None) -> None:
        render = next((each for each in process.renders if each.resource == resource), None)
        if render is None:
            process.renders.append(Render(resource, process.incarnation, process.epoch))
        elif client is not None:
            render.followers.append(client)

    def render_on(self) -> None:
        """Some render reads the data, or ends."""
        process = self.rng.choice(self.processes)
        if not process.renders:
            return
        render = self.rng.choice(process.renders)
        if render.version < 0:
            render.version = self.truth[render.resource]
            return
        process.renders.remove(render)
        epoch = render.epoch if self.rules.epoch_at_begin else process.epoch
        resource = render.resource
        stored = float(next(self.serial))
        times, body = (stored,) * 4, b"%d" % render.version
        entry = Entry(render.incarnation, epoch, SLOTS[resource], PATHS[resource], *times, body=body)
        if process.judge(entry, (0, 0)) is not Verdict.GONE:
            process.local[resource] = entry
            self.shared[resource] = encode(entry)
        for client in render.followers:
            verdict = process.judge(entry, client.floor)
            if verdict is Verdict.GONE or process.below(client.floor):
                self.serve(client, process, resource)
            else:
                self.hit(client, process, resource, entry, verdict)

    def write(self) -> None:
        client = self.rng.choice(self.clients)
        if not client.writing:
            client.writing = True
            resource = self.rng.randrange(RESOURCES)
            self.truth[resource] += 1
            self.writes.append((client, self.rng.choice(self.processes), resource))

    def append(self) -> None:
        """The purge of some write gets into the log, and its writer's process folds it."""
        if not self.writes:
            return
        client, process, resource = self.writes.pop(self.rng.randrange(len(self.writes)))
        soft, log = self.rng.random() < 0.5, self.log
        names, patterns, covered = self.purge_of(resource)
        log.epoch += self.rng.randrange(1, 4)
        covers = [version if is_in else 0 for version, is_in in zip(self.truth, covered, strict=True)]
        data = message(names, patterns=patterns, soft=soft)
        log.sent.append(Sent(log.epoch, data, soft, covers))
        process.read(10**9)
        client.writing = False
        if client.floored:
            client.floor = (log.incarnation, log.epoch)
            client.least = [*map(max, client.least, covers)]

    def purge_of(self, resource: int) -> tuple[list[str], list[str], list[bool]]:
        path, group = PATHS[resource], GROUPS[resource]
        section = path[:3]
        match self.rng.randrange(4):
            case 0:
                return [purging.path_name(path)], [], [each == path for each in PATHS]
            case 1:
                return [purging.group_name(group)], [], [each == group for each in GROUPS]
            case 2:
                return [purging.prefix_name(section)], [], [each.startswith(section + "/") for each in PATHS]
            case _:
                others = [f"/none{next(self.serial)}*" for _ in range(self.rng.randrange(4))]
                pattern = self.rng.choice((section + "/*", "*" + path[-3:], path, path[:-1] + "?"))
                return [], [*others, pattern], [fnmatchcase(each, pattern) for each in PATHS]

    def follow(self) -> None:
        self.rng.choice(self.processes).read(self.rng.randrange(1, 4))

    def evict(self) -> None:
        tier = self.rng.choice([self.shared, *(process.local for process in self.processes)])
        if tier:
            del tier[self.rng.choice(list(tier))]

    def publish(self) -> None:
        """A process that has read all writes a snapshot, and what it covers is trimmed."""
        process, log = self.rng.choice(self.processes), self.log
        process.read(10**9)
        log.snapshot = (process.epoch, process.table.snapshot(), process.hard, process.purged)
        log.sent = [sent for sent in log.sent if sent.epoch > process.epoch]

    def lose(self) -> None:
        """The log is gone, sometimes with the store; a new one may begin with lower epochs."""
        log = self.log
        for sent in log.sent:
            log.before = [*map(max, log.before, sent.covers)]
        if log.snapshot:
            log.before = [*map(max, log.before, log.snapshot[3])]
        log.incarnation += 1
        log.birth = log.epoch = self.rng.randrange(1, log.epoch + 50)
        log.sent, log.snapshot = [], None
        if self.rng.random() < 0.3:
            self.shared.clear()

    def restart(self) -> None:
        process = self.rng.choice(self.processes)
        for render in process.renders:
            render.followers.clear()
        process.restart()

    # -- what is looked at --------------------------------------------------------------------------

    def hit(self, client: Client, process: Process, resource: int, entry: Entry, verdict: Verdict) -> None:
        self.hits += 1
        version = int(entry.body)
        if client.floored and version < client.least[resource]:
            self.stale_for_writer += 1
        read = process.hard if verdict is Verdict.STALE else process.purged
        if version < read[resource]:
            self.stale_for_reader += 1


# -- the model with everything in it ------------------------------------------------------------------


def test_nobody_who_carries_the_floor_or_has_read_the_log_sees_what_was_purged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hits = lost = 0
    for seed in range(32):
        # Few bans in every other run: they overflow while there are entries that are older.
        monkeypatch.setattr(purging, "MAX_BANS", 4 if seed % 2 else 64)
        model = Model(seed, Rules())
        model.run(8000)
        assert (model.stale_for_writer, model.stale_for_reader) == (0, 0), f"seed {seed}"
        hits += model.hits
        lost += model.log.incarnation > 2
    print(f"{hits} judged hits, none stale")
    assert hits > 50_000
    assert lost > 20, "logs were hardly lost"


# -- and with one rule removed ------------------------------------------------------------------------


class _ForgetsBans(PurgeTable):
    """The oldest ban is dropped, not folded into the birth epoch."""

    def _ban(self, epoch: int, pattern: str, positions: dict[str, int], *, soft: bool) -> None:
        birth = self._birth
        super()._ban(epoch, pattern, positions, soft=soft)
        self._birth = birth


class _ForgetsFirstSoft(PurgeTable):
    """Only the last soft epoch of a slot is looked at."""

    def _purged(self, each: int, epoch: int, floor: int) -> bool:
        return self._hard[each] > epoch or floor >= self._soft[each]


class _IgnoresSnapshots(PurgeTable):
    """It begins where it is told, and takes it that nothing was purged before."""

    def reset(self, incarnation: int, epoch: int, snapshot: bytes | None) -> None:
        super().reset(incarnation, epoch, None)
        self._birth = 0


@pytest.mark.parametrize(
    ("rules", "who"),
    [
        (Rules(epoch_at_begin=False), "both"),
        (Rules(incarnations=False), "both"),
        (Rules(floor_waits=False), "writer"),
        (Rules(floor_hardens=False), "writer"),
        (Rules(judged_in_process=False), "both"),
        (Rules(table=_ForgetsBans), "both"),
        (Rules(table=_ForgetsFirstSoft), "writer"),
        (Rules(table=_IgnoresSnapshots), "both"),
    ],
    ids=["epoch-at-end", "no-incarnation", "floor-ignored", "soft-for-its-purger", "in-process-unjudged",
         "bans-forgotten", "first-soft-forgotten", "no-snapshot"],
)  # fmt: skip
def test_without_one_rule_there_are_stale_hits(
    rules: Rules, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "MAX_BANS", 4)
    writer = reader = 0
    for seed in range(60):
        model = Model(seed, rules)
        model.run(8000)
        writer += model.stale_for_writer
        reader += model.stale_for_reader
        if writer and (reader or who == "writer"):
            return
    pytest.fail(f"the model saw nothing: {writer} stale hits of writers, {reader} of readers")
