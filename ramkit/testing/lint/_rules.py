"""What all protocols share: the error, messages, and header pairs."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from operator import is_not
from typing import Any, cast

from ramkit.kernel.asgi import RawHeaders

__all__ = [
    "LintError",
    "check_flag",
    "check_headers",
    "check_message",
    "check_optional_str",
    "inspectable",
    "pairs_of",
    "require",
]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_PAIRS: tuple[type, ...] = (str, bytes, bytearray, memoryview, Mapping)
_FORBIDDEN = re.compile(rb"[\r\n\x00]")


class LintError(AssertionError):
    """An offence: ``rule`` is its short name, ``section`` where the specification has it."""

    def __init__(self, rule: str, problem: str, section: str) -> None:
        super().__init__(f"{rule}: {problem} ({section})")
        self.rule = rule
        self.section = section


def require(ok: bool, rule: str, problem: str, section: str) -> None:  # noqa: FBT001  # reads like assert
    """Raises LintError unless ``ok``."""
    if not ok:
        raise LintError(rule, problem, section)


def check_message(message: object) -> None:
    """ASGI, Events: each is a dict with a str ``type``."""
    section = "ASGI, Events"
    require(isinstance(message, dict), "message", f"{type(message).__name__} is no dict", section)
    kind = cast("dict[str, object]", message).get("type")
    require(isinstance(kind, str), "message", f"its type is {kind!r}, not a str", section)


def check_flag(message: Mapping[str, Any], key: str, section: str) -> bool:
    """An optional bool of a message, False if missing."""
    value: object = message.get(key, False)
    require(isinstance(value, bool), "flag", f"{key} is {value!r}, not a bool", section)
    return value is True


def check_optional_str(message: Mapping[str, Any], key: str, section: str) -> None:
    """An optional str of a message, which may be None."""
    value: object = message.get(key)
    require(value is None or isinstance(value, str), "text", f"{key} is {value!r}, not a str", section)


def inspectable(
    message: MutableMapping[str, Any],
) -> tuple[MutableMapping[str, Any], MutableMapping[str, Any]]:
    """A message to look at and one to hand on: both the message itself, unless it has one-shot headers.

    Then the one has lists in place of iterators, and the other fresh iterators over the same.
    """
    found: Any = message.get("headers") if hasattr(message, "get") else None  # apps err
    if not isinstance(found, Iterable) or isinstance(found, str | bytes):
        return message, message
    items = list(cast("Iterable[object]", found))
    pairs = [tuple(cast("Iterator[object]", item)) if isinstance(item, Iterator) else item for item in items]
    if not isinstance(found, Iterator) and not any(map(is_not, items, pairs)):
        return message, message
    again = [
        iter(cast("tuple[object]", pair)) if pair is not item else pair
        for item, pair in zip(items, pairs, strict=True)
    ]
    return {**message, "headers": pairs}, {
        **message,
        "headers": iter(again) if isinstance(found, Iterator) else again,
    }


def _kind(value: object) -> str:
    return type(value).__name__


def pairs_of(headers: Any, section: str) -> RawHeaders:
    """The header pairs of a value that must be an iterable of two-item iterables of bytes."""
    iterable = hasattr(headers, "__iter__") and not isinstance(headers, _NOT_PAIRS)
    require(iterable, "headers", f"{_kind(headers)} is no iterable of pairs", section)
    pairs: RawHeaders = []
    for item in headers:
        require(isinstance(item, Iterable), "header-pair", f"{item!r} is no pair", section)
        pair = tuple(cast("Iterable[Any]", item))
        require(len(pair) == 2, "header-pair", f"{item!r} has {len(pair)} items, not two", section)
        for part in pair:
            require(isinstance(part, bytes), "header-type", f"{part!r} in {item!r} is no bytes", section)
        pairs.append((pair[0], pair[1]))
    return pairs


def check_headers(headers: Any, section: str) -> RawHeaders:
    """The pairs, each a lower-case field name and a value as RFC 9110 §5 allows them."""
    pairs = pairs_of(headers, section)
    for name, value in pairs:
        require(not name.startswith(b":"), "header-pseudo", f"{name!r} is a pseudo header", section)
        require(name == name.lower(), "header-case", f"{name!r} is not in lower case", section)
        require(_TOKEN.fullmatch(name) is not None, "header-name", f"{name!r} is no token", "RFC 9110 §5.1")
        clean = _FORBIDDEN.search(value) is None
        require(clean, "header-value", f"{name!r} has CR, LF or NUL in {value!r}", "RFC 9110 §5.5")
    return pairs
