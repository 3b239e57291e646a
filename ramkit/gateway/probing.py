"""Active health checks: each server is asked from time to time whether it is well."""

import asyncio
from collections.abc import Callable, Collection

from ramkit.gateway.core.members import Group, Member
from ramkit.gateway.errors import GatewayError, IdleTimeout
from ramkit.gateway.exchange import Parts
from ramkit.gateway.policy import HealthCheck
from ramkit.gateway.port import Request

__all__ = ["probe"]

#: Seconds between two looks at whose turn it is.
_TICK = 0.1


async def probe(groups: Collection[Group], current: Callable[[], bool], parts: Parts) -> None:
    """Check the servers of these groups while they are ``current``."""
    async with asyncio.TaskGroup() as checks:
        while current():
            for group in groups:
                health = group.upstream.health
                if health is not None:
                    for member in group.due(parts.tracker.clock.monotonic()):
                        checks.create_task(_check(group, member, health, parts))
            await asyncio.sleep(_TICK)


async def _check(group: Group, member: Member, health: HealthCheck, parts: Parts) -> None:
    healthy = False
    try:
        async with asyncio.timeout(health.timeout):
            healthy = 200 <= await _status(member, health, parts) < 300
    except (TimeoutError, GatewayError):
        pass
    group.probed(member, parts.tracker.clock.monotonic(), healthy)


async def _status(member: Member, health: HealthCheck, parts: Parts) -> int:
    host = f"[{member.host}]" if ":" in member.host else member.host
    fields = [(b"host", f"{host}:{member.port}".encode()), (b"user-agent", b"ramkit-gateway")]
    # On a connection of its own: what is asked is whether the server takes one.
    link = await parts.transport.connect(member, health.timeout, idempotent=True, fresh=True)
    try:
        await link.send(Request(b"GET", health.path.encode(), fields))
        head = await link.head()
        while head.status < 200:
            head = await link.head()
        return head.status
    finally:
        link.done(IdleTimeout("the check is over"))
