"""The last steps of the tour: Valkey hangs, and is stopped and started, while requests go on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

import httpx

from ramkit.demo.client import Client, Reply
from ramkit.demo.report import Report

__all__ = ["Outages", "Server"]

_WRITTEN, _USED = "/cities/2643743", "/countries"
_PATHS = (_WRITTEN, "/cities?country=GB", "/countries/GB", _USED)
#: Clients that go on asking, and the seconds that each waits between requests.
_READERS, _PAUSE = 6, 0.01
#: Seconds that Valkey stays away, and within which everything has to be as before once it is back.
_AWAY, _BACK_WITHIN = 1.5, 15.0


class Server(Protocol):
    """A Valkey that the demo has started itself."""

    def pause(self) -> None:
        """SIGSTOP."""
        ...

    def resume(self) -> None:
        """SIGCONT."""
        ...

    def stop(self) -> None:
        """End the process."""
        ...

    def start(self) -> object:
        """Start it again, on the same port, with nothing in it."""
        ...


@dataclass(slots=True)
class _Load:
    """What the readers saw."""

    seconds: list[float] = field(default_factory=list[float])
    errors: list[str] = field(default_factory=list[str])


class Outages:
    """Takes Valkey away in two ways. Raises ``httpx.HTTPError`` when the writer gets no answer."""

    def __init__(self, client: Client, report: Report, server: Server) -> None:
        self._client, self._report, self._server = client, report, server
        self._population = 9_000_000

    async def hangs(self) -> None:
        """SIGSTOP: the connections are there, and no answer comes."""
        self._report.step(
            "Valkey hangs while requests go on",
            "It is sent SIGSTOP. Each worker waits one deadline for it, then does without; nobody sees an "
            "error, and who writes meanwhile reads what was written.",
        )

        async def away() -> None:
            self._server.pause()
            try:
                await self._write_and_read()
                await asyncio.sleep(_AWAY)
            finally:
                self._server.resume()

        await self._outage(away)

    async def restarts(self) -> None:
        """The process ends, and another one starts on its port, empty."""
        self._report.step(
            "Valkey is stopped and started while requests go on",
            "It comes back with nothing in it. The workers notice that the log of purges is another one, "
            "and nothing that was stored before is served again.",
        )

        async def away() -> None:
            self._server.stop()
            try:
                await self._write_and_read()
                await asyncio.sleep(_AWAY)
            finally:
                self._server.start()

        await self._outage(away)

    async def _outage(self, away: Callable[[], Awaitable[None]]) -> None:
        load = await self._under_load(away)
        self._report.expect(f"errors in {len(load.seconds)} requests", [], load.errors[:3])
        slowest, usual = max(load.seconds, default=0), median(load.seconds or [0])
        self._report.note(f"slowest: {slowest * 1000:.0f} ms, median: {usual * 1000:.1f} ms")
        self._report.check("the cache is in use again, in both workers", holds=await self._in_use())
        self._report.check("everybody reads what was written, in both workers", holds=await self._purged())

    async def _write_and_read(self) -> None:
        self._population += 1
        writer = self._client.other()
        reply = await writer.put(_WRITTEN, {"population": self._population}, worker=0)
        self._report.reply(reply)
        self._report.expect("status", 200, reply.status)
        seen: list[int] = []
        for worker in (0, 1):
            reply = await writer.get(_WRITTEN, worker=worker)
            self._report.reply(reply)
            seen.append(reply.json["population"])
        self._report.expect("who wrote reads it, in both workers", [self._population] * 2, seen)

    async def _under_load(self, work: Callable[[], Awaitable[None]]) -> _Load:
        load, over = _Load(), asyncio.Event()
        readers = [asyncio.create_task(self._read_on(number % 2, load, over)) for number in range(_READERS)]
        try:
            await work()
        finally:
            over.set()
            await asyncio.gather(*readers)
        return load

    async def _read_on(self, worker: int, load: _Load, over: asyncio.Event) -> None:
        client, number = self._client.other(), 0
        while not over.is_set():
            number += 1
            try:
                reply = await client.get(_PATHS[number % len(_PATHS)], worker=worker)
            except httpx.HTTPError as error:
                load.errors.append(repr(error))
            else:
                load.seconds.append(reply.seconds)
                if reply.status != 200:
                    load.errors.append(f"{reply.request}: {reply.status}")
            await asyncio.sleep(_PAUSE)

    async def _in_use(self) -> bool:
        return await self._until(_USED, lambda reply: reply.cache == "HIT")

    async def _purged(self) -> bool:
        """The purge was queued while Valkey was away. Sent, it holds for those without a floor, too."""
        return await self._until(_WRITTEN, lambda reply: bool(reply.json["population"] == self._population))

    async def _until(self, path: str, seen: Callable[[Reply], bool]) -> bool:
        """Ask every worker, as somebody new, until it answers so; whether all did, in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _BACK_WITHIN
        for worker in self._client.workers:
            while not seen(await self._client.other().get(path, worker=worker)):
                if loop.time() > until:
                    return False
                await asyncio.sleep(_PAUSE)
        return True
