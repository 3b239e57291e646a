"""The demo itself, once its packages are known to be there."""

import asyncio
import secrets
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from ramkit.demo.client import Client
from ramkit.demo.data import world
from ramkit.demo.errors import DemoError
from ramkit.demo.processes import Workers, address, listen, loopback
from ramkit.demo.report import Report
from ramkit.demo.servers import start_servers
from ramkit.demo.signals import Signals
from ramkit.demo.tour import Tour, take
from ramkit.demo.worker import WorkerConfig

__all__ = ["Demo"]


class Demo:
    """Servers, a port, data, workers, tour, serving. ``stack`` takes what has to be ended.

    Raises ``DemoError``.
    """

    def __init__(
        self, stack: ExitStack, *, port: int | None, redis: str | None, postgres: str | None
    ) -> None:
        self._report = Report()
        self._public = stack.enter_context(closing(_public_socket(port)))
        self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="ramkit-demo-")))
        self._servers = start_servers(stack, redis, postgres)

    async def run(self, signals: Signals, *, once: bool) -> int:
        """Tour, then serve until a signal comes. Raises ``DemoError``, ``Interrupted``."""
        signals.cancel_current_task()
        try:
            return await self._run(signals, once=once)
        except asyncio.CancelledError:
            raise signals.interrupted() from None

    async def _run(self, signals: Signals, *, once: bool) -> int:
        servers, report, begun = self._servers, self._report, perf_counter()
        replicas = [each.dsn for each in servers.standbys]
        config = WorkerConfig(
            servers.postgres,
            replicas,
            servers.redis,
            servers.prefix,
            secret=secrets.token_hex(32),
            folder=str(self._folder),
        )
        async with servers.cleaned(), world(servers.postgres) as (countries, cities):
            report.line(f"{countries} countries and {cities} cities are in Postgres.")
            await asyncio.gather(*(asyncio.to_thread(each.caught_up) for each in servers.standbys))
            async with Workers(config, self._public, note=report.line) as workers:
                where = address(self._public)
                report.line(f"Two workers serve http://{where} after {perf_counter() - begun:.1f} s.")
                async with Client.opened(where, workers.addresses) as client:
                    shown = await workers.watch(take(Tour(client, report, self._folder, servers)))
                self._summary()
                if not once:
                    report.line(f"\nServing http://{where} until Ctrl-C.")
                    await workers.watch(signals.stopped())
        return 0 if shown else 1

    def _summary(self) -> None:
        if not self._report.failures:
            self._report.line("\nEverything was as it should be.")
        else:
            self._report.line("\nThis was not as it should be:")
        for failure in self._report.failures:
            self._report.line(f"  {failure}")


def _public_socket(port: int | None) -> socket.socket:
    try:
        return listen(loopback(), port)
    except OSError as error:
        raise DemoError(f"port {port} cannot be used: {error.strerror}; choose another by --port") from error
