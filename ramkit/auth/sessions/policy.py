"""How long sessions live and how large they get."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import cast

from ramkit.kernel.errors import ConfigurationError

__all__ = ["Lifetime"]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds: ``idle`` since the last request with the session, ``absolute`` since its beginning.

    ``extend_after``: a session that is only read is extended when it was not for so long; at most a quarter
    of ``idle``.
    """

    idle: float = 3600
    absolute: float = 604_800
    _: KW_ONLY
    extend_after: float = 60

    def __post_init__(self) -> None:
        for name, argument in (("idle", "ttl"), ("absolute", "absolute"), ("extend_after", "extend_after")):
            value = cast(object, getattr(self, name))
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
                raise ConfigurationError(argument, f"{value!r} is no number of seconds above 0")
        if self.absolute < self.idle:
            raise ConfigurationError("absolute", f"{self.absolute:g} s are less than ttl, {self.idle:g}")
        object.__setattr__(self, "extend_after", min(self.extend_after, self.idle / 4))
