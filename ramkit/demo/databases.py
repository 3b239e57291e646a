"""Steps of the tour: replicas that lag behind, and a primary that dies."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import httpx

from ramkit.demo.client import Client, Reply
from ramkit.demo.outage import Server
from ramkit.demo.report import Report

__all__ = ["Databases", "Standby"]

_PARIS, _LARGEST = "/cities/2988507", "/largest?country=FR"
#: Clients that go on reading, and the seconds that each waits between requests.
_READERS, _PAUSE = 4, 0.01
#: Seconds within which somebody has to take writes again once another server was promoted.
_WITHIN = 15.0


class Standby(Protocol):
    """A streaming replica that the demo has started itself."""

    dsn: str

    def pause(self) -> None:
        """Stop the replay."""
        ...

    def resume(self) -> None:
        """Let the replay go on."""
        ...

    def caught_up(self) -> None:
        """Wait until all that the primary has committed is visible."""
        ...

    def promote(self) -> None:
        """Make it the primary."""
        ...

    def follow(self, primary: Any) -> None:
        """Replicate from another server."""
        ...


class Databases:
    """A primary and its replicas, of which the workers find out by themselves which is which."""

    def __init__(self, client: Client, report: Report, primary: Server, standbys: Sequence[Standby]) -> None:
        self._client, self._report = client, report
        self._primary, self._standbys = primary, standbys

    async def paused(self) -> None:
        """The replay is paused: what is committed is not visible on any replica."""
        self._report.step(
            "The replicas are paused, and somebody writes",
            "What lists the largest cities is cached, and nothing purges it. Who has written nothing goes on "
            "reading that; who wrote reads what was written, from the primary.",
        )
        writer, stranger = self._client.other(), self._client.other()
        before = _population(await stranger.get(_LARGEST, worker=0))
        await stranger.get(_LARGEST, worker=1)
        await self._each("pause")
        try:
            reply = await writer.put(_PARIS, {"population": before + 1000}, worker=0)
            self._report.reply(reply)
            self._report.expect("status", 200, reply.status)
            replies = [await stranger.get(_LARGEST, worker=worker) for worker in (0, 1)]
            self._report.reply(replies[0])
            self._report.expect(
                "a stranger reads, in both workers", [(before, "HIT")] * 2, [*map(_seen, replies)]
            )
            replies = [await writer.get(_LARGEST, worker=worker) for worker in (0, 1)]
            self._report.reply(replies[0])
            self._report.expect(
                "who wrote reads, in both workers", [before + 1000] * 2, [*map(_population, replies)]
            )
        finally:
            await self._each("resume")
        await self._each("caught_up")
        reply = await stranger.get(_LARGEST, worker=1)
        self._report.reply(reply)
        self._report.expect("a stranger reads now", (before + 1000, "HIT"), _seen(reply))

    async def killed(self) -> None:
        """SIGKILL to the primary; a replica is promoted, as an operator would, and the other follows it."""
        self._report.step(
            "The primary is killed, and a replica promoted, while requests go on",
            "Reads go on. The workers find out by themselves who takes writes now.",
        )
        errors: list[str] = []
        over = asyncio.Event()
        readers = [asyncio.create_task(self._read_on(number, errors, over)) for number in range(_READERS)]
        try:
            reply, seconds = await self._fail_over()
        finally:
            over.set()
            counts = await asyncio.gather(*readers)
        self._report.reply(reply)
        self._report.expect("status of a write, in the end", 200, reply.status)
        self._report.note(f"{seconds:.1f} s without writes, {sum(counts)} reads meanwhile")
        self._report.expect("reads that failed", [], errors[:3])

    async def _fail_over(self) -> tuple[Reply, float]:
        """The first write that went through, how long there was none, and whether it is read everywhere."""
        loop, writer = asyncio.get_running_loop(), self._client.other()
        begun = loop.time()
        await asyncio.to_thread(self._primary.stop)
        promoted, *others = self._standbys
        await asyncio.to_thread(promoted.promote)
        for each in others:
            await asyncio.to_thread(each.follow, promoted)
        while True:
            reply = await writer.put(_PARIS, {"population": 2_222_222}, worker=0)
            if reply.status == 200 or loop.time() - begun > _WITHIN:
                break
            await asyncio.sleep(_PAUSE)
        seconds = loop.time() - begun
        seen = [(await writer.get(_PARIS, worker=worker)).json["population"] for worker in (0, 1)]
        self._report.expect("who wrote reads it, in both workers", [2_222_222] * 2, seen)
        return reply, seconds

    async def _read_on(self, worker: int, errors: list[str], over: asyncio.Event) -> int:
        """Reads that no cache answers: each has a query of its own."""
        client, number = self._client.other(), 0
        while not over.is_set():
            number += 1
            try:
                reply = await client.get(f"/cities/2911298?n={worker}.{number}", worker=worker % 2)
            except httpx.HTTPError as error:
                errors.append(repr(error))
            else:
                if reply.status != 200:
                    errors.append(f"{reply.request}: {reply.status}")
            await asyncio.sleep(_PAUSE)
        return number

    async def _each(self, what: str) -> None:
        await asyncio.gather(*(asyncio.to_thread(getattr(each, what)) for each in self._standbys))


def _population(reply: Reply) -> int:
    """That of Paris."""
    rows: list[dict[str, Any]] = reply.json
    return next((int(row["population"]) for row in rows if row["name"] == "Paris"), -1)


def _seen(reply: Reply) -> tuple[int, str]:
    return _population(reply), reply.cache
