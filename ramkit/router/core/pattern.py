"""Paths as routes name them: ``/users/:id``, ``/users/{id:int}``, ``/files/*``."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ramkit.kernel.errors import ConfigurationError

__all__ = ["CONVERTERS", "Parameter", "Pattern", "join", "parse"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: of a path that is literally there: what a template gives a meaning to, and what is no path
_SPECIAL = re.compile(r"[{}*%?#\x00-\x20\x7f]")
_DIGITS = re.compile(r"[0-9]{1,19}")
_DECIMAL = re.compile(r"[0-9]{1,300}(?:\.[0-9]{1,300})?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: what a tail is called that has no name
_TAIL = "path"


def _integer(text: str) -> int | None:
    return int(text) if _DIGITS.fullmatch(text) else None


def _number(text: str) -> float | None:
    number = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def _uuid(text: str) -> UUID | None:
    return UUID(text) if _UUID.fullmatch(text) else None


#: By name: what makes a value of a segment, or None of one that does not fit. In the order in which they
#: are tried where several stand at one place: the narrower before the wider, ``str``, which fits all, last.
CONVERTERS: dict[str, Callable[[str], Any] | None] = {
    "int": _integer,
    "float": _number,
    "uuid": _uuid,
    "str": None,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A segment that varies."""

    name: str
    converter: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """``template``: as it was written. ``tail``: the name of what takes all the rest of the path."""

    template: str
    segments: tuple[str | Parameter, ...]
    tail: str | None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(each for each in self.segments if isinstance(each, Parameter))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters and the tail, as they come in the path."""
        names = tuple(each.name for each in self.parameters)
        return names if self.tail is None else (*names, self.tail)


def join(prefix: str, path: str) -> str:
    """``/`` below a prefix is the prefix itself."""
    return prefix.rstrip("/") + ("" if path == "/" and prefix != "/" else path)


def parse(template: str) -> Pattern:
    """Raises ``ConfigurationError``."""
    if not template.startswith("/"):
        raise ConfigurationError("path", f"{template!r} does not begin with '/'")
    tail: str | None = None
    *inner, last = template[1:].split("/")
    segments: list[str | Parameter] = [_segment(template, text) for text in inner]
    name = _tail_of(template, last)
    if name is None:
        segments.append(_segment(template, last) if last else "")
    else:
        tail = name
    pattern = Pattern(template, tuple(segments), tail)
    for name in pattern.names:
        if pattern.names.count(name) > 1:
            raise ConfigurationError("path", f"{template!r} has two parameters {name!r}")
    return pattern


def _tail_of(template: str, text: str) -> str | None:
    if text.startswith("*"):
        return _name(template, text[1:] or _TAIL)
    if text.startswith("{") and text.endswith(":path}"):
        return _name(template, text[1:-6])
    return None


def _segment(template: str, text: str) -> str | Parameter:
    if text.startswith(":"):
        inner = text[1:]
    elif text.startswith("{") and text.endswith("}"):
        inner = text[1:-1]
    else:
        if not text:
            raise ConfigurationError("path", f"{template!r} has an empty segment")
        if found := _SPECIAL.search(text):
            raise ConfigurationError(
                "path",
                f"{template!r}: {found[0]!r} in {text!r}; a parameter is a whole segment, '*' the last one, "
                "and what a client would encode is written decoded",
            )
        return text
    name, _, converter = inner.partition(":")
    if converter == "path":
        raise ConfigurationError("path", f"{template!r}: {text!r} is not at the end")
    if (converter or "str") not in CONVERTERS:
        raise ConfigurationError(
            "path", f"{template!r}: {converter!r} is none of {', '.join(CONVERTERS)}, path"
        )
    return Parameter(_name(template, name), converter or "str")


def _name(template: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError("path", f"{template!r}: {name!r} is no name")
    return name
