"""Lua scripts, kept in ``.lua`` files beside the module that runs them."""

import hashlib
import inspect
from pathlib import Path

__all__ = ["Script"]


class Script:
    """A Lua script: called by its SHA, sent whole when the server does not have it.

    A ``vector`` script takes one key and a fixed number of arguments a call. The calls of one turn go as
    one: all keys in KEYS, the arguments of the first, then of the second, in ARGV; it returns a list of one
    reply a call. With ``several``, calls may have any number of keys and arguments: it finds in ARGV how
    many. An element may be an error reply (``redis.error_reply``), which fails its own call only; an error
    of the script itself fails all calls that went with it.
    """

    __slots__ = ("name", "several", "sha", "source", "vector")

    def __init__(self, name: str, source: str, *, vector: bool = False, several: bool = False) -> None:
        self.name = name
        self.source = source.encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()
        self.vector = vector
        self.several = several

    def __repr__(self) -> str:
        return f"Script({self.name!r})"

    @classmethod
    def load(cls, *files: str, vector: bool = False, several: bool = False) -> "Script":
        """Read files, by paths relative to the module that calls this: one after another, the last
        one gives the name."""
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        base = Path(caller.f_code.co_filename).parent if caller is not None else Path()
        source = "\n".join((base / file).read_text("utf-8") for file in files)
        return cls(Path(files[-1]).stem, source, vector=vector, several=several)
