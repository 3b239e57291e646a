"""Function results on the cache's stores, groups and locks."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from ramkit.cache.core import purging
from ramkit.cache.core.entry import VALUE, Entry
from ramkit.cache.core.serving import State, draw_refresh
from ramkit.cache.flight import Turn
from ramkit.cache.policy import check_names, check_seconds
from ramkit.kernel.context import Floor, RequestContext, Transaction
from ramkit.kernel.errors import ConfigurationError

if TYPE_CHECKING:
    from ramkit.cache.cache import Cache

__all__ = ["MemoizePolicy", "Memoized"]

#: Seconds that a call waits for another one's result before it makes its own.
_WAIT = 10.0


class MemoizePolicy:
    """The arguments of ``Cache.memoize``, checked."""

    __slots__ = ("groups", "key", "stale_if_error", "stale_while_revalidate", "ttl")

    def __init__(
        self,
        ttl: float,
        key: Callable[..., str] | None,
        groups: Iterable[str] | Callable[..., Iterable[str]],
        stale_while_revalidate: float,
        stale_if_error: float,
    ) -> None:
        self.ttl = check_seconds("ttl", ttl, zero=False)
        self.stale_while_revalidate = check_seconds("stale_while_revalidate", stale_while_revalidate)
        self.stale_if_error = check_seconds("stale_if_error", stale_if_error)
        if key is not None and not callable(key):
            raise ConfigurationError("key", f"{key!r} is not a function of the arguments")
        self.key = key
        self.groups = groups if callable(groups) else check_names("groups", groups)


class Memoized:
    """A memoized async function; see ``Cache.memoize``."""

    def __init__(self, cache: "Cache", function: Callable[..., Any], policy: MemoizePolicy) -> None:
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError("function", f"{function!r} is not an async function")
        self._cache, self._function, self._policy = cache, function, policy
        self._name = f"{function.__module__}.{function.__qualname__}"
        if policy.key is None and function.__closure__ and self._name in cache.memoized:
            # Made twice, around other values: their results must not meet.
            raise ConfigurationError("key", f"another {self._name} is memoized already; give each its own")
        cache.memoized.add(self._name)
        self._decoder: msgspec.msgpack.Decoder[Any] | None = None
        self._signature = inspect.signature(function)
        kinds = {parameter.kind for parameter in self._signature.parameters.values()}
        plain = kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        self._arity = len(self._signature.parameters) if plain else -1
        functools.update_wrapper(self, function)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else _Bound(self, instance)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = _Call(self._key(args, kwargs), args, kwargs)
        context = RequestContext.current()
        if context is None:
            context = RequestContext()  # what the function reads has to be known
            with context.active():
                return await self._call(call, context)
        return await self._call(call, context)

    async def _call(self, call: "_Call", context: RequestContext) -> Any:
        cache, floor = self._cache, context.floor
        # What a transaction sees may never be, and the purge that it makes waits for its COMMIT.
        if Transaction.current() is not None or not (cache.settled(floor) or await cache.settle(floor)):
            cache.observed("bypass")
            return await self._function(*call.args, **call.kwargs)
        taken: Entry | Turn | None = await self._find(call.key, floor)
        if taken is None:
            taken = await cache.flights.take(lambda: call.key, lambda: self._find(call.key, floor), _WAIT)
        if not isinstance(taken, Turn):
            try:
                value = self._decode(taken.body)
            except msgspec.MsgspecError:
                # Stored by another version of the program, for another return type: render it anew.
                taken = Turn(cache.flights, call.key)
            else:
                self._served(taken, call, floor)
                context.read_all(taken.positions)
                return value
        cache.observed("miss")
        return await self._render(taken, call, context)

    def _served(self, entry: Entry, call: "_Call", floor: Floor | None) -> None:
        cache = self._cache
        fresh = cache.state(entry, floor) is State.FRESH
        cache.observed("hit" if fresh else "stale")
        if (not fresh or cache.log.now() >= entry.refresh_at) and not cache.flights.flying(call.key):
            cache.spawn(self._refresh(call, entry))

    async def purge(self, *args: Any, **kwargs: Any) -> None:
        """Purge the value of the call with these arguments."""
        await self._cache.purge_names([_call_name(self._key(args, kwargs))])

    async def _find(self, key: bytes, floor: Floor | None) -> Entry | None:
        entry = await self._cache.find(key, floor)
        if entry is None or self._cache.state(entry, floor) not in (State.FRESH, State.STALE):
            return None
        return entry

    async def _render(self, turn: Turn, call: "_Call", context: RequestContext) -> Any:
        cache = self._cache
        # Before anything is read: what is purged from now on, this render may not know.
        place = cache.log.incarnation, cache.log.epoch
        started = cache.clock.monotonic()
        try:
            names = [_call_name(call.key), *self._groups(call)]
            cache.require(context, [purging.slot(name) for name in names], "")
            body = self._encode(await self._function(*call.args, **call.kwargs))
            cost = cache.clock.monotonic() - started
            entry = self._entry(place, names, body, cost)
            entry.positions = dict(context.positions) or None
            if await cache.keep(call.key, entry):
                turn.stored()
            elif cache.state(entry, None) is State.GONE:
                turn.abandon()  # purged while it was made: the next one knows of that
            else:
                turn.unshared()
            return self._decode(body)
        except Exception:
            last = await self._on_error(call.key, context.floor)
            if last is None:
                turn.unshared()
                raise
            turn.stored()
            return self._decode(last.body)
        finally:
            turn.abandon()

    async def _on_error(self, key: bytes, floor: Floor | None) -> Entry | None:
        """stale-if-error (RFC 5861 §4): the last value, and no other try for a moment."""
        cache = self._cache
        entry = await cache.find(key, floor)
        if entry is None or not cache.pardon(entry, floor):
            return None
        await cache.keep(key, entry)
        return entry

    async def _refresh(self, call: "_Call", entry: Entry) -> None:
        turn = await self._cache.lead_refresh(call.key, entry)
        if turn is None:
            return
        context = RequestContext()
        with context.active():
            await self._render(turn, call, context)

    def _groups(self, call: "_Call") -> list[str]:
        groups = self._policy.groups
        if callable(groups):
            groups = check_names("groups", groups(*call.args, **call.kwargs))
        return [purging.group_name(group) for group in groups]

    def _entry(self, place: tuple[int, int], names: Iterable[str], body: bytes, cost: float) -> Entry:
        policy, now = self._policy, self._cache.log.now()
        fresh_until = now + policy.ttl
        return Entry(
            *place,
            slots=tuple(purging.slot(name) for name in names),
            subject="",
            stored=now,
            fresh_until=fresh_until,
            revalidate_until=fresh_until + policy.stale_while_revalidate,
            error_until=fresh_until + policy.stale_if_error,
            refresh_at=draw_refresh(now, fresh_until, cost),
            status=VALUE,
            body=body,
        )

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        said: object
        if self._policy.key is not None:
            said = self._policy.key(*args, **kwargs)
            if not isinstance(said, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without types
                raise TypeError(f"key: {self._policy.key!r} returned {said!r}, not a string")
        elif not kwargs and len(args) == self._arity:
            said = args
        else:
            # The same call written otherwise, f(1) or f(x=1), has the same key.
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            said = (*bound.args, sorted(bound.kwargs.items())) if bound.kwargs else bound.args
        try:
            encoded = msgspec.msgpack.encode((self._name, _told(said)))
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise TypeError(
                f"{self._name}: its arguments make no key ({error}); give memoize key=…"
            ) from error
        return blake2b(b"value" + encoded, digest_size=16).digest()

    def _encode(self, value: Any) -> bytes:
        try:
            return msgspec.msgpack.encode(value)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise TypeError(f"{self._name}: its result cannot be stored: {error}") from error

    def _decode(self, body: bytes) -> Any:
        if self._decoder is None:
            # On first use: annotations may name what is defined after the function.
            self._decoder = msgspec.msgpack.Decoder(get_type_hints(self._function).get("return", Any))
        return self._decoder.decode(body)


@dataclass(slots=True, frozen=True)
class _Call:
    key: bytes
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Bound:
    """A memoized method of one instance, which is its first argument, and so part of the key."""

    def __init__(self, memoized: Memoized, instance: object) -> None:
        self._memoized, self._instance = memoized, instance

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return await self._memoized(self._instance, *args, **kwargs)

    async def purge(self, *args: Any, **kwargs: Any) -> None:
        """Purge the value of the call with these arguments."""
        await self._memoized.purge(self._instance, *args, **kwargs)


_PLAIN = frozenset({int, str, bytes, float, bool, type(None)})


def _told(value: Any) -> Any:
    """The value with the names of its types, where msgspec would have two encode alike: a UUID is not
    its string, a list no tuple, an Admin(1) no Guest(1)."""
    kind: Any = value.__class__
    if kind in _PLAIN:
        return value
    content = value
    if kind in (list, tuple):
        content = [_told(each) for each in value]
    elif kind is dict:
        content = [[_told(name), _told(each)] for name, each in value.items()]
    return [f"{kind.__module__}.{kind.__qualname__}", content]


def _call_name(key: bytes) -> str:
    return "m:" + key.hex()
