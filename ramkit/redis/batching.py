"""What goes out together: calls are made into as few commands as they allow. No I/O."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import hiredis

from ramkit.redis.script import Script

__all__ = ["Call", "Command", "pack", "plan", "take"]

#: keys in one MGET or vector script, calls in one pipeline, bytes sent in one: what keeps one batch
#: well within the deadline, and Redis free for others in between
KEYS, CALLS, BYTES = 128, 512, 1 << 20
#: calls that are worth two round trips at the same time
SHARED = 32


class Call:
    """One caller's command and the future on which it waits: a plain GET of ``key``, which may be repeated,
    or with ``args`` something else.

    ``slot``: on a cluster, the key's. ``whole``: the script's source goes along, because the server does
    not have it.
    """

    # One is made for each request, and most never change these.
    args: Sequence[bytes] = ()
    read = True
    script: Script | None = None
    slot = -1
    queued = 0.0
    tries = 0
    whole = asking = probe = False

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        key: Any = None,
        *,
        args: Sequence[bytes] | None = None,
        script: Script | None = None,
    ) -> None:
        self.future = future
        self.key = key
        if args is not None:
            self.read, self.args, self.script = False, args, script

    def size(self) -> int:
        """Bytes it sends, about."""
        return sum(map(len, self.args))

    def succeed(self, reply: Any) -> None:
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: BaseException) -> None:
        """An abandoned future's error is nobody's: it is marked as seen, so asyncio does not log it."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()


class Command:
    """One command of a pipeline and the calls that its reply answers (``index``: with which element)."""

    __slots__ = ("args", "asking", "calls", "index")

    def __init__(
        self, args: Sequence[Any], calls: list[Call], index: list[int] | None = None, *, asking: bool = False
    ) -> None:
        self.args = args
        self.calls = calls
        self.index = index
        self.asking = asking

    def deliver(self, reply: Any, refused: Callable[[Call, Exception], None]) -> None:
        """Hand each call its part; errors go to ``refused``, which answers or repeats the call."""
        if isinstance(reply, Exception):
            for call in self.calls:
                refused(call, reply)
        elif self.index is None:
            self.calls[0].succeed(reply)
        elif type(reply) is list:
            self._spread(reply, self.index, refused)  # pyright: ignore[reportUnknownArgumentType] - a reply's elements are of any kind
        else:
            for call in self.calls:
                call.fail(TypeError(f"{call.script} did not reply with a list"))

    def _spread(
        self, replies: list[Any], index: list[int], refused: Callable[[Call, Exception], None]
    ) -> None:
        if len(replies) <= max(index):
            replies += [TypeError(f"{self.calls[0].script} replied not once a key")] * len(index)
        for call, at in zip(self.calls, index, strict=True):
            one, future = replies[at], call.future
            if isinstance(one, Exception):
                refused(call, one)
            elif not future.done():
                future.set_result(one)


def take(queue: list[Call], *, shared: bool = False) -> list[Call]:
    """Remove from the front of the queue what goes in one pipeline: half of a long one if it is ``shared``
    with an idle connection, so that Redis works on one half while this process works on the other."""
    most = min(CALLS, len(queue) // 2) if shared and len(queue) >= SHARED else CALLS
    count, size = 0, 0
    for call in queue:
        count += 1
        size += call.size() if call.args else 0
        if count >= most or size >= BYTES:
            break
    batch = queue[:count]
    del queue[:count]
    return batch


def plan(batch: Iterable[Call]) -> list[Command]:
    """The commands for these calls: reads of one slot in one MGET, vector scripts of one kind (and
    slot) in one call, the rest one by one. Calls whose callers are gone are left out."""
    commands: list[Command] = []
    reads: dict[int, list[Call]] = {}
    vectors: dict[tuple[Script, int, int], list[Call]] = {}
    for call in batch:
        if call.future.done():
            continue
        if call.asking or (call.read and call.tries > 1):
            # after a redirection in mid-migration only a single key is answered for certain
            commands.append(_single(call))
        elif call.read:
            reads.setdefault(call.slot, []).append(call)
        elif call.script is not None and call.script.vector:
            vectors.setdefault((call.script, call.slot, call.whole), []).append(call)
        else:
            commands.append(_single(call))
    for calls in reads.values():
        commands += [_read(calls[at : at + KEYS]) for at in range(0, len(calls), KEYS)]
    for calls in vectors.values():
        commands += [_vector(calls[at : at + KEYS]) for at in range(0, len(calls), KEYS)]
    return commands


def _read(calls: list[Call], *, asking: bool = False) -> Command:
    """MGET also for one key: GET would answer a key that holds no string with an error."""
    keys: dict[Any, int] = {}
    index = [keys.setdefault(call.key, len(keys)) for call in calls]
    return Command((b"MGET", *keys), calls, index, asking=asking)


def _script(script: Script, keys: Sequence[Any], args: Iterable[Any], *, whole: bool) -> tuple[Any, ...]:
    head = (b"EVAL", script.source) if whole else (b"EVALSHA", script.sha)
    return (*head, len(keys), *keys, *args)


def _single(call: Call) -> Command:
    if call.read:
        return _read([call], asking=call.asking)
    if call.script is None:
        return Command(call.args, [call], asking=call.asking)
    keys: Sequence[Any] = call.key
    args = _script(call.script, keys, call.args, whole=call.whole)
    return Command(args, [call], [0] if call.script.vector else None, asking=call.asking)


def _vector(calls: list[Call]) -> Command:
    script = calls[0].script
    if script is None:
        raise TypeError("a vector is made of scripts")
    keys = [key for call in calls for key in call.key]
    args = (arg for call in calls for arg in call.args)
    return Command(_script(script, keys, args, whole=calls[0].whole), calls, list(range(len(calls))))


#: hiredis types its argument in part only
_packed: Callable[[tuple[Any, ...]], bytes] = cast(Any, hiredis).pack_command


def pack(commands: Iterable[Command]) -> bytes:
    """RESP arrays of bulk strings, one after another."""
    out: list[bytes] = []
    for command in commands:
        if command.asking:
            out.append(b"*1\r\n$6\r\nASKING\r\n")
        out.append(_packed(tuple(command.args)))
    return b"".join(out)


def encode(arg: Any) -> bytes:
    """An argument's bytes. Bytes-like, str (UTF-8), int and float; anything else is a TypeError."""
    if isinstance(arg, (bytes, bytearray, memoryview)):
        return bytes(arg)  # pyright: ignore[reportUnknownArgumentType]  # a memoryview of anything
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, (int, float)) and not isinstance(arg, bool):
        return repr(arg).encode()
    raise TypeError(f"Redis takes bytes, str, int and float, not {type(arg).__name__}")


def command(*args: Any) -> bytes:
    """One command as it is sent."""
    return pack([Command(args, [])])


def script_command(script: Script, keys: Sequence[Any], args: Sequence[Any], *, whole: bool = False) -> bytes:
    """One script call as it is sent; ``whole``: with its source."""
    return command(*_script(script, keys, args, whole=whole))
