"""Purging by the log over a database with replicas, as a model: what ``test_purging_model`` lets happen, and
commits that are in the primary's log before anybody sees them, replicas that lag, processes that know of both
what they saw last, and clients that write in parallel.

Each answer, cached or rendered, is checked. Who carries a floor sees nothing older than what the database was
when his last write was told; who carries none, nothing that was purged when his process had read of it. With
one rule removed the same model finds stale answers, so it can.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from ramkit.cache.core import purging
from ramkit.cache.core.entry import Entry, encode
from ramkit.cache.core.purging import Verdict, message, slot
from ramkit.db.core.fleet import Fleet, Member, Status
from ramkit.db.core.floors import Codec, Said, known
from ramkit.db.policy import DatabasePolicy
from ramkit.kernel.context import Floor, RequestContext
from tests.cache import test_purging_model as log_only
from tests.cache.test_purging_model import PATHS, RESOURCES, SLOTS, Log, Sent, Versions

DB, CACHE = "main", "cache"
#: of what is known of a response before it was rendered once: all but its group
URL_SLOTS = [tuple({slot(name) for name in purging.url_names("https", "h", path, "")}) for path in PATHS]
POLICY = DatabasePolicy(max_lag=None)
CODEC = Codec([b"s" * 32])
RECORD = 64
ALL = 10**9


@dataclass
class Rules(log_only.Rules):
    """The algorithm; a test removes one, or two that stand in for each other."""

    position_checked: bool = True
    floor_routes: bool = True
    position_before_read: bool = True
    lowest_position: bool = True
    purge_after_commit: bool = True
    purge_carries: bool = True
    purge_routes: bool = True
    purge_keeps_out: bool = True
    floors_merged: bool = True
    member: type[Member] = Member


# -- the database -------------------------------------------------------------------------------------


@dataclass
class Replica:
    lsn: int = 0
    #: records of the log that it has replayed
    replayed: int = 0
    values: Versions = field(default_factory=lambda: [1] * RESOURCES)


class Database:
    """``log``: records of ``(end, resource, version)``, of which marks have no resource. ``values``: what the
    primary shows."""

    def __init__(self, replicas: int) -> None:
        self.log: list[tuple[int, int, int]] = [(RECORD, -1, 0)]
        self.values: Versions = [1] * RESOURCES
        self.replicas = [Replica() for _ in range(replicas)]
        #: resources of transactions that are in the log and not yet visible: their rows are locked
        self.locked: set[int] = set()
        #: steps of the model so far
        self.now = 0.0

    @property
    def names(self) -> list[str]:
        return ["primary", *map(str, range(len(self.replicas)))]

    @property
    def end(self) -> int:
        return self.log[-1][0]

    def record(self, resource: int = -1, version: int = 0) -> int:
        self.log.append((self.end + RECORD, resource, version))
        return self.end

    def replay(self, replica: Replica, most: int) -> None:
        for end, resource, version in self.log[replica.replayed : replica.replayed + most]:
            replica.lsn = end
            replica.replayed += 1
            if resource >= 0:
                replica.values[resource] = version

    def values_of(self, member: Member) -> Versions:
        return self.values if member.name == "primary" else self.replicas[int(member.name)].values

    def status(self, member: Member) -> Status:
        if member.name == "primary":
            return Status(standby=False, lsn=self.end, known=self.end, timeline=1)
        return Status(standby=True, lsn=self.replicas[int(member.name)].lsn, known=self.end)


# -- who asks, and what is under way --------------------------------------------------------------------


@dataclass
class Client:
    floored: bool
    cookies: list[Said] = field(default_factory=list)
    #: a resource
    wrote: int = 0
    least: Versions = field(default_factory=lambda: [0] * RESOURCES)


@dataclass
class Request:
    """``cookies``: those that it brought."""

    client: Client
    context: RequestContext
    cookies: list[Said]
    least: Versions

    @classmethod
    def of(cls, client: Client) -> "Request":
        context = RequestContext()
        said = known(client.cookies, [DB], [CACHE], 0.0)
        for name, lsn in said.positions.items():
            context.floor.raise_position(name, lsn)
        for name, place in said.epochs.items():
            context.floor.raise_epoch(name, *place)
        return cls(client, context, list(client.cookies), list(client.least))

    @property
    def floor(self) -> Floor:
        return self.context.floor


@dataclass
class Render:
    resource: int
    incarnation: int
    epoch: int
    context: RequestContext
    leader: Request | None
    #: what was purged, for all that is known of the response, when it began
    named: Versions
    followers: list[Request] = field(default_factory=list)
    asked: list[Member] = field(default_factory=list)
    reading: Member | None = None
    seen: list[int] = field(default_factory=list)


@dataclass
class Write:
    request: Request
    process: "Process"
    resource: int
    steps: list[Callable[["Write"], bool]]
    purge: tuple[list[str], list[str], list[bool]] | None
    soft: bool
    sent: Sent | None = None
    covers: Versions = field(default_factory=lambda: [0] * RESOURCES)


@dataclass
class NamedSent(Sent):
    """``by_url``: not by a group, of which a process knows only once it has rendered the response."""

    by_url: bool = True


class Process(log_only.Process):
    rules: Rules

    def __init__(self, log: Log, rules: Rules, database: Database) -> None:
        self.database = database
        super().__init__(log, rules)

    def restart(self) -> None:
        super().restart()
        self.rendering: list[Render] = []
        self.named: Versions = [0] * RESOURCES
        self.fleet = Fleet([self.rules.member(name) for name in self.database.names], POLICY)
        for member in self.fleet.members:
            self.look(member)

    def look(self, member: Member) -> None:
        self.fleet.heard(member, self.database.status(member), self.database.now)

    def _begin(self) -> None:
        self.named = [0] * RESOURCES  # of a log that is lost nobody is sure to know what was written then
        super()._begin()

    def take(self, sent: Sent) -> None:
        super().take(sent)
        self.cover(sent)

    def cover(self, sent: Sent) -> None:
        self.purged = [*map(max, self.purged, sent.covers)]
        if not sent.soft:
            self.hard = [*map(max, self.hard, sent.covers)]
        if getattr(sent, "by_url", False):
            self.named = [*map(max, self.named, sent.covers)]

    def judge_for(self, entry: Entry, floor: Floor) -> Verdict:
        if self.rules.position_checked and entry.misses(floor.positions):
            return Verdict.GONE
        return self.judge(entry, floor.epochs.get(CACHE, (0, 0)))

    def overtaken(self, entry: Entry) -> bool:
        if self.table.judge(entry) is Verdict.GONE:
            return True
        return self.rules.purge_keeps_out and entry.misses(self.table.written(entry.slots, entry.subject))

    def require(self, context: RequestContext, slots: tuple[int, ...], subject: str) -> None:
        if self.rules.purge_routes:
            context.require(self.table.written(slots, subject))


class Model(log_only.Model):
    rules: Rules
    processes: list[Process]  # type: ignore[assignment]  # narrowed: all that this model makes
    often: ClassVar[dict[str, float]] = {
        "request": 60, "render_on": 120, "write": 5, "write_on": 25, "follow": 10, "replay": 8, "look": 12,
        "elsewhere": 1, "evict": 2, "publish": 0.3, "lose": 0.1, "restart": 0.1,
    }  # fmt: skip

    def __init__(self, seed: int, rules: Rules) -> None:
        super().__init__(seed, rules)
        self.database = Database(self.replicas_of(seed))
        self.processes = [Process(self.log, rules, self.database) for _ in range(3)]
        self.people = [Client(floored=number % 2 == 0) for number in range(6)]
        self.writing: list[Write] = []
        self.rendered = self.stored = 0

    def replicas_of(self, seed: int) -> int:
        return seed % 3

    def run(self, steps: int) -> None:
        acts = [getattr(self, name) for name in self.often]
        for act in self.rng.choices(acts, [*self.often.values()], k=steps):
            self.database.now += 1
            act()

    # -- the database and its processes --------------------------------------------------------------

    def replay(self) -> None:
        if self.database.replicas:
            self.database.replay(self.rng.choice(self.database.replicas), self.rng.choice((1, 1, 2, 3, ALL)))

    def look(self) -> None:
        process = self.rng.choice(self.processes)
        process.look(self.rng.choice(process.fleet.members))

    def elsewhere(self) -> None:
        """Something is written that nobody is shown."""
        self.database.record()

    # -- answers ---------------------------------------------------------------------------------------

    def request(self) -> None:
        process = self.rng.choice(self.processes)
        request = self.asked(process)
        # One looks at what one wrote.
        mine = request.client.floored and self.rng.random() < 0.4
        self.answer(request, process, request.client.wrote if mine else self.rng.randrange(RESOURCES))

    def asked(self, process: Process) -> Request:
        return Request.of(self.rng.choice(self.people))

    def answer(self, request: Request, process: Process, resource: int) -> None:
        floor = request.floor
        if not process.incarnation:
            process.read(ALL)
        if process.below(floor.epochs.get(CACHE, (0, 0))):
            process.read(ALL)
            if process.below(floor.epochs[CACHE]):
                floor.epochs[CACHE] = (process.incarnation, process.epoch)
        entry = process.local.get(resource)
        if entry is None or process.judge_for(entry, floor) is not Verdict.VALID:
            entry = self.fetch(process, resource) or entry
        if entry is not None:
            process.require(request.context, entry.slots, entry.subject)
        verdict = Verdict.GONE if entry is None else process.judge_for(entry, floor)
        if entry is not None and verdict is not Verdict.GONE:
            self.served(request, process, resource, entry, verdict)
            if verdict is Verdict.VALID:
                return
        render = next((each for each in process.rendering if each.resource == resource), None)
        if render is not None and verdict is Verdict.GONE:
            render.followers.append(request)
        elif render is None:
            self.begin(process, resource, request if verdict is Verdict.GONE else None)

    def begin(self, process: Process, resource: int, leader: Request | None) -> None:
        context = leader.context if leader is not None else RequestContext()
        process.require(context, URL_SLOTS[resource], PATHS[resource])
        process.rendering.append(
            Render(resource, process.incarnation, process.epoch, context, leader, process.named)
        )

    def render_on(self) -> None:
        """Some render chooses a server, or reads from it; or it ends, after two reads of one resource."""
        process = self.rng.choice(self.processes)
        if not process.rendering:
            return
        render = self.rng.choice(process.rendering)
        if len(render.seen) == 2 and render.reading is None:
            self.end(process, render)
        elif render.reading is None:
            member = render.reading = self.choose(process, render.context)
            render.asked.append(member)
            if self.rules.position_before_read:
                self.tell(render, member)
        else:
            render.seen.append(self.database.values_of(render.reading)[render.resource])
            render.reading = None

    def choose(self, process: Process, context: RequestContext) -> Member:
        for each in process.fleet.members:
            each.busy = self.rng.randrange(3)
        wanted = context.wanted(DB) if self.rules.floor_routes else context.required.get(DB, -1)
        member = process.fleet.reader(wanted)
        assert member is not None
        return member

    def tell(self, render: Render, member: Member) -> None:
        """What a read that begins now cannot have missed: ``Servers._position``."""
        if render.context.wanted(DB) > member.position and not member.standby:
            member.lsn = max(member.lsn, self.database.end)
        if self.rules.lowest_position:
            render.context.read_at(DB, member.position)
        else:
            render.context.positions = {**render.context.positions, DB: member.position}

    def end(self, process: Process, render: Render) -> None:
        process.rendering.remove(render)
        if not self.rules.position_before_read:
            for member in render.asked:
                self.tell(render, member)
        resource, times, body = render.resource, self.times(), b"%d" % min(render.seen)
        entry = Entry(render.incarnation, render.epoch, SLOTS[resource], PATHS[resource], *times, body=body)
        entry.positions = dict(render.context.positions)
        self.rendered += 1
        kept = not process.overtaken(entry)
        if kept:
            self.keep(process, resource, entry)
        if render.leader is not None:
            self.checked(render.leader, min(render.seen), render.named[resource], resource)
        for request in render.followers:
            verdict = process.judge_for(entry, request.floor)
            if not kept or verdict is Verdict.GONE or process.below(request.floor.epochs.get(CACHE, (0, 0))):
                self.answer(request, process, resource)
            else:
                self.served(request, process, resource, entry, verdict)

    def times(self) -> tuple[float, float, float, float]:
        """Of a new entry: when it is stored, and until when it is good."""
        return (float(next(self.serial)),) * 4

    def keep(self, process: Process, resource: int, entry: Entry) -> None:
        self.stored += 1
        process.local[resource] = entry
        self.shared[resource] = encode(entry)

    def served(
        self, request: Request, process: Process, resource: int, entry: Entry, verdict: Verdict
    ) -> None:
        self.hits += 1
        read = process.hard if verdict is Verdict.STALE else process.purged
        self.checked(request, int(entry.body), read[resource], resource)

    def checked(self, request: Request, version: int, purged: int, resource: int) -> None:
        if request.client.floored and version < request.least[resource]:
            self.stale_for_writer += 1
        if version < purged:
            self.stale_for_reader += 1

    # -- writes ----------------------------------------------------------------------------------------

    def write(self) -> None:
        resource = self.rng.randrange(RESOURCES)
        purge = self.purge_of(resource) if self.rng.random() < 0.7 else None
        steps: list[Callable[[Write], bool]] = [
            self.commit, self.appear, self.take_position, self.purge, self.told,
        ]  # fmt: skip
        if not self.rules.purge_after_commit:
            steps = [self.purge, self.commit, self.appear, self.take_position, self.told]
        process = self.rng.choice(self.processes)
        soft = self.rng.random() < 0.5
        self.writing.append(Write(self.asked(process), process, resource, steps, purge, soft))

    def write_on(self) -> None:
        if self.writing:
            write = self.rng.choice(self.writing)
            if write.steps[0](write):
                del write.steps[0]
            if not write.steps:
                self.writing.remove(write)

    def commit(self, write: Write) -> bool:
        """It is in the log: replicas may show it, the primary does not yet."""
        database, resource = self.database, write.resource
        if resource in database.locked:
            return False
        database.locked.add(resource)
        database.record(resource, database.values[resource] + 1)
        return True

    def appear(self, write: Write) -> bool:
        self.database.values[write.resource] += 1
        self.database.locked.remove(write.resource)
        return True

    def take_position(self, write: Write) -> bool:
        """``Session.mark``: the end of the log, and what comes after it."""
        end, fleet = self.database.end, write.process.fleet
        write.request.floor.raise_position(DB, end)
        fleet.members[0].lsn = max(fleet.members[0].lsn, self.database.record())
        write.request.least = list(self.database.values)
        if write.purge is not None:
            write.covers = [
                version if covered else 0
                for version, covered in zip(self.database.values, write.purge[2], strict=True)
            ]
        if write.sent is not None:  # it went out before: from here on it has to hold
            write.sent.covers = write.covers
            for process in self.processes:
                if process.incarnation == self.log.incarnation and process.epoch >= write.sent.epoch:
                    process.cover(write.sent)
        return True

    def purge(self, write: Write) -> bool:
        if write.purge is None:
            return True
        names, patterns, _ = write.purge
        log, floor = self.log, write.request.floor
        log.epoch += self.rng.randrange(1, 4)
        positions = floor.positions if self.rules.purge_carries else None
        data = message(names, patterns=patterns, soft=write.soft, positions=positions)
        by_url = not any(name.startswith("g:") for name in names)
        write.sent = NamedSent(log.epoch, data, write.soft, write.covers, by_url)
        log.sent.append(write.sent)
        write.process.read(ALL)
        floor.raise_epoch(CACHE, log.incarnation, log.epoch)
        return True

    def told(self, write: Write) -> bool:
        """The response: a cookie of its own, and those that came with the request are deleted."""
        request, client = write.request, write.request.client
        if client.floored:
            floor, now = request.floor, self.database.now
            said = CODEC.decode(CODEC.encode(Said(floor.positions, floor.epochs, {}, now)))
            assert said is not None
            received = {id(each) for each in request.cookies} if self.rules.floors_merged else None
            client.cookies = [
                each for each in client.cookies if received is not None and id(each) not in received
            ]
            client.cookies.append(said)
            client.least = [*map(max, client.least, request.least)]
            client.wrote = write.resource
        return True

    # -- what the log's model has of its own ------------------------------------------------------------

    def lose(self) -> None:
        super().lose()
        self.log.before = [0] * RESOURCES

    def restart(self) -> None:
        self.rng.choice(self.processes).restart()


# -- the model with everything in it ------------------------------------------------------------------

SEEDS = 200 if os.environ.get("RAMKIT_SOAK") else 16


def test_nobody_reads_older_than_they_wrote_or_than_their_process_has_read_to_be_purged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hits = rendered = stored = lost = 0
    for seed in range(SEEDS):
        monkeypatch.setattr(purging, "MAX_BANS", 4 if seed % 2 else 64)
        model = Model(seed, Rules())
        model.run(16_000)
        assert (model.stale_for_writer, model.stale_for_reader) == (0, 0), f"seed {seed}"
        hits, rendered, stored = hits + model.hits, rendered + model.rendered, stored + model.stored
        lost += model.log.incarnation > 2
    print(f"{hits} hits, {rendered} renders, {stored} of them stored: none stale")
    assert hits > 1000 * SEEDS
    assert stored > rendered / 2
    assert lost > SEEDS / 2, "logs were hardly lost"


# -- and with one rule removed ------------------------------------------------------------------------


class _ClaimsItsEnd(Member):
    """A commit that is in the log at its end counts as visible."""

    __slots__ = ()

    @property
    def position(self) -> int:
        return self.lsn


@pytest.mark.parametrize(
    ("rules", "who"),
    [
        (Rules(position_checked=False), "writer"),
        (Rules(floor_routes=False), "writer"),
        (Rules(position_before_read=False), "writer"),
        (Rules(lowest_position=False), "writer"),
        (Rules(member=_ClaimsItsEnd), "writer"),
        (Rules(floors_merged=False), "writer"),
        (Rules(purge_after_commit=False), "reader"),
        (Rules(purge_carries=False), "reader"),
        (Rules(purge_routes=False), "reader"),
        (Rules(purge_keeps_out=False), "reader"),
    ],
    ids=["position-unchecked", "read-below-the-floor", "position-after-the-read", "highest-position",
         "not-strictly-below", "last-cookie-wins", "purge-before-commit", "purge-without-position",
         "render-below-the-purge", "stored-below-the-purge"],
)  # fmt: skip
def test_without_one_rule_there_are_stale_answers(rules: Rules, who: str) -> None:
    for seed in range(60):
        model = Model(seed, rules)
        model.run(16_000)
        if model.stale_for_writer if who == "writer" else model.stale_for_reader:
            return
    pytest.fail(f"the model saw no stale answer of a {who}")
