"""Limits outside of HTTP, and what the middleware asks."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, cast

from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError, Unavailable
from ramkit.kernel.observers import Observer, notify, observers_of
from ramkit.limits.core import Charge, Decision, admits, decided
from ramkit.limits.errors import LimitUnavailable
from ramkit.limits.events import RateLimitDecision
from ramkit.limits.keys import store_key
from ramkit.limits.policy import Policy, whole
from ramkit.limits.port import LimitStore

__all__ = ["Asked", "Limiter", "passes"]


class Asked(NamedTuple):
    """One policy, whose key, and how many units."""

    policy: Policy
    key: str | bytes | None
    cost: int


class Limiter:
    """Decides by policies, wherever it is asked.

    ``store``: ``"memory://"``, a Redis URL, a ``LimitStore``, or another ``Limiter`` whose store is shared.
    ``policies``: those that ``check`` knows by name. ``prefix`` begins all keys in Redis. ``processes``:
    how many share the limits; while the store does not answer, each admits that part of the rate under
    ``on_failure="local"``, beginning with an unused quota. Works on any loop; ``aclose`` closes the store
    that it made.
    """

    def __init__(
        self,
        store: "str | LimitStore | Limiter" = "memory://",
        policies: Iterable[Policy] = (),
        *,
        prefix: str = "rk:",
        processes: int = 1,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        if not whole(processes) or processes < 1:
            raise ConfigurationError("processes", f"{processes!r} is no whole number of at least 1")
        self.policies: dict[str, Policy] = {}
        for policy in policies:
            if not isinstance(cast(object, policy), Policy):
                raise ConfigurationError("policies", f"{policy!r} is no Policy")
            if policy.name in self.policies:
                raise ConfigurationError("policies", f"two are named {policy.name!r}")
            self.policies[policy.name] = policy
        clock = clock if clock is not None else SystemClock()
        self._observers = observers_of(observers)
        self._own = isinstance(store, str)
        if isinstance(store, Limiter):
            self.store: LimitStore = store.store
        else:
            self.store = _opened(store, prefix, clock, self._observers) if isinstance(store, str) else store
        self._local = _memory(clock)
        self._processes = processes

    async def start(self) -> None:
        """Refuse a store that may forget limits; it opens with its first use."""
        start = getattr(self.store, "start", None)
        if start is not None:
            await start()

    async def aclose(self) -> None:
        """Close the store if it was made here."""
        if self._own:
            await self.store.aclose()

    async def check(self, policy: str | Policy, key: str | bytes | None, *, cost: int = 1) -> Decision:
        """Take ``cost`` units of a key, if they are there; with 0 only look. The decision of a ``dry_run``
        policy says what it would have been. Raises ``LimitUnavailable`` (503) as the policy has it."""
        if isinstance(policy, str):
            known = self.policies.get(policy)
            if known is None:
                raise ConfigurationError("policy", f"there is no policy {policy!r}")
            policy = known
        if not isinstance(cast(object, cost), int) or cost < 0:
            raise ConfigurationError("cost", f"{cost!r} is no whole number of at least 0")
        (decision,) = await self.decide((Asked(policy, key, cost),))
        if decision.source == "closed" and not policy.dry_run:
            raise LimitUnavailable("A rate limit cannot be checked.")
        return decision

    async def decide(self, asked: Sequence[Asked]) -> Sequence[Decision]:
        """All of them in one round trip, all or nothing: if one refuses, none is charged. Those of
        ``dry_run`` policies are each decided for itself."""
        if len(asked) == 1 or len(groups := _grouped(asked)) == 1:
            decisions = await self._decide(asked)
        else:
            parts = await asyncio.gather(*map(self._decide, groups))
            found = {decision.policy.name: decision for part in parts for decision in part}
            decisions = [found[each.policy.name] for each in asked]
        if self._observers:
            for decision in decisions:
                notify(self._observers, _event(decision))
        return decisions

    async def _decide(self, group: Sequence[Asked]) -> Sequence[Decision]:
        if len(group) == 1:  # as below, without the lists
            policy, key, cost = group[0]
            charge = _charge(policy, key, cost)
            try:
                backlog = (await self.store.take((charge,)))[0]
            except Unavailable:
                return await self._without_store(group)
            return (
                decided(policy, charge, backlog, policy.interval, "store", charged=admits(backlog, charge)),
            )
        charges = [_charge(*each) for each in group]
        try:
            backlogs = await self.store.take(charges)
        except Unavailable:
            return await self._without_store(group)
        return _decisions(group, charges, backlogs)

    async def _without_store(self, group: Sequence[Asked]) -> list[Decision]:
        if any(each.policy.on_failure == "closed" for each in group):
            return [_undecided(each.policy, closed=True) for each in group]
        local = [each for each in group if each.policy.on_failure == "local"]
        charges = [_share(each, self._processes) for each in local]
        backlogs = await self._local.take(charges)
        found = iter(_decisions(local, charges, backlogs, self._processes))
        return [
            next(found) if each.policy.on_failure == "local" else _undecided(each.policy, closed=False)
            for each in group
        ]


def _undecided(policy: Policy, *, closed: bool) -> Decision:
    return Decision(
        policy,
        allowed=not closed,
        remaining=0 if closed else policy.quota,
        retry_after=1.0 if closed else 0.0,
        reset=0.0,
        source="closed" if closed else "open",
    )


def passes(decisions: Iterable[Decision]) -> bool:
    """Whether the request is admitted: a policy in ``dry_run`` refuses nobody."""
    return all(decision.allowed or decision.policy.dry_run for decision in decisions)


def _grouped(asked: Sequence[Asked]) -> list[Sequence[Asked]]:
    """Those that bind together; each that does not alone."""
    dry = [each for each in asked if each.policy.dry_run]
    if not dry:
        return [asked]
    binding = [each for each in asked if not each.policy.dry_run]
    return [*([binding] if binding else []), *([each] for each in dry)]


def _charge(policy: Policy, key: str | bytes | None, cost: int) -> Charge:
    """What costs more than the quota is refused, whatever it costs: no store has to know larger numbers."""
    if cost > policy.quota:
        cost = policy.quota + 1
    return Charge(store_key(policy.name, key), cost * policy.interval, policy.limit)


def _share(asked: Asked, processes: int) -> Charge:
    """The rate is divided by the processes. The quota is, too, but not below what this request costs."""
    policy, key, cost = asked
    name, increment, limit = _charge(policy, key, cost)
    increment *= processes
    if cost <= policy.quota:
        limit = max(limit, increment)
    return Charge(name, increment, limit)


def _decisions(
    group: Sequence[Asked], charges: Sequence[Charge], backlogs: Sequence[int], share: int = 0
) -> list[Decision]:
    """``share``: by how much the rate was divided; 0 for the store's whole."""
    charged = all(map(admits, backlogs, charges))
    source: Literal["store", "local"] = "local" if share else "store"
    return [
        decided(policy, charge, backlog, policy.interval * (share or 1), source, charged=charged)
        for (policy, _, _), charge, backlog in zip(group, charges, backlogs, strict=True)
    ]


def _event(decision: Decision) -> RateLimitDecision:
    policy, allowed, _, _, _, source = decision
    result: str
    if source in ("open", "closed"):
        result = source
    elif allowed:
        result = "allowed"
    else:
        result = "dry_run" if policy.dry_run else "refused"
    return RateLimitDecision(policy.name, result, source)


def _memory(clock: Clock) -> LimitStore:
    from ramkit.limits.backends.memory import MemoryStore

    return MemoryStore(clock=clock)


def _opened(store: str, prefix: str, clock: Clock, observers: Any) -> LimitStore:
    if store == "memory://":
        return _memory(clock)
    if not store.partition("://")[0].startswith(("redis", "unix")):
        raise ConfigurationError("store", f"{store!r} is neither memory:// nor a Redis URL")
    from ramkit.limits.backends.redis import RedisStore

    return RedisStore(store, prefix=prefix, clock=clock, observers=observers)
