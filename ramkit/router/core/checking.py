"""All that is wrong with a value, where msgspec tells the first.

What it costs is bounded, to calculate and to tell: 100 faults, 16 levels, 10,000 values looked at one by
one, names of 200 characters. What lies beyond is told as msgspec has it, which names the first of a whole.
"""

import types
from itertools import repeat
from typing import Annotated, Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin

import msgspec

__all__ = ["Fault", "faults_of"]

_MOST, _DEPTH, _LOOKS, _NAME = 100, 16, 10_000, 200
_LISTS = (list, set, frozenset, tuple)


class Fault(NamedTuple):
    """``pointer``: where in the value, a JSON pointer (RFC 6901). ``detail``: what is wanted there."""

    pointer: str
    detail: str


def faults_of(value: Any, wanted: Any, *, strict: bool = True) -> list[Fault]:
    """None for a value that fits. ``strict=False`` takes text for numbers, as queries have it."""
    check = _Check(strict)
    check.look(value, wanted, "", _DEPTH)
    return check.faults


class _Check:
    __slots__ = ("_looks", "_strict", "faults")

    def __init__(self, strict: bool) -> None:  # noqa: FBT001 - of this module alone
        self._strict, self._looks = strict, _LOOKS
        self.faults: list[Fault] = []

    def look(self, value: Any, wanted: Any, pointer: str, depth: int) -> None:
        if len(self.faults) >= _MOST or self._looks <= 0:
            return
        self._looks -= 1
        try:
            msgspec.convert(value, wanted, strict=self._strict, str_keys=True)
            return
        except (msgspec.ValidationError, RecursionError) as error:
            told = str(error)
        known = len(self.faults)
        if depth:
            self._inside(value, wanted, pointer, depth - 1)
        if len(self.faults) == known:
            self.faults.append(Fault(pointer, told))

    def _inside(self, value: Any, wanted: Any, pointer: str, depth: int) -> None:
        wanted = _plain(wanted, value)
        origin, arguments = get_origin(wanted) or wanted, get_args(wanted)
        if isinstance(value, dict):
            fields = cast(dict[str, Any], value)
            if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
                self._struct(fields, wanted, pointer, depth)
            elif origin is dict and len(arguments) == 2:
                for name, each in fields.items():
                    if len(name) <= _NAME:
                        self.look(each, arguments[1], f"{pointer}/{_escaped(name)}", depth)
        elif isinstance(value, list) and origin in _LISTS and arguments:
            entries: list[Any] = value  # pyright: ignore[reportUnknownVariableType]  # of any kind
            kinds = arguments if origin is tuple and arguments[-1] is not ... else repeat(arguments[0])
            for index, (each, kind) in enumerate(zip(entries, kinds, strict=False)):
                self.look(each, kind, f"{pointer}/{index}", depth)
                if len(self.faults) >= _MOST or self._looks <= 0:
                    return

    def _struct(self, value: dict[str, Any], wanted: Any, pointer: str, depth: int) -> None:
        known: set[str] = set()
        for field in msgspec.structs.fields(wanted):
            name = field.encode_name
            known.add(name)
            if name in value:
                self.look(value[name], field.type, f"{pointer}/{_escaped(name)}", depth)
            elif field.required:
                self.faults.append(Fault(f"{pointer}/{_escaped(name)}", "is required"))
        config = (get_origin(wanted) or wanted).__struct_config__
        if config.forbid_unknown_fields:
            for name in [*value][:_MOST]:
                if name not in known and name != config.tag_field and len(name) <= _NAME:
                    self.faults.append(Fault(f"{pointer}/{_escaped(name)}", "is unknown"))


def _plain(wanted: Any, value: Any) -> Any:
    """Without what is said about a type; of alternatives the one that alone could be meant."""
    while True:
        origin = get_origin(wanted)
        if origin is Annotated:
            wanted = get_args(wanted)[0]
        elif origin is Union or origin is types.UnionType:
            shape = dict if isinstance(value, dict) else list
            fitting = [each for each in get_args(wanted) if _could_be(each, shape)]
            if len(fitting) != 1:
                return None
            wanted = fitting[0]
        elif isinstance(wanted, TypeVar):
            return None
        else:
            return wanted


def _could_be(wanted: Any, shape: type) -> bool:
    while get_origin(wanted) is Annotated:
        wanted = get_args(wanted)[0]
    origin = get_origin(wanted) or wanted
    if shape is dict:
        return origin is dict or (isinstance(origin, type) and issubclass(origin, msgspec.Struct))
    return origin in _LISTS


def _escaped(name: object) -> str:
    """RFC 6901 §3."""
    return str(name).replace("~", "~0").replace("/", "~1")
